"""The log of a build in the history, in the form of plain progress."""

from __future__ import annotations

from ..builders import Builder
from ..errors import StoreError
from ..status.trace import Trace
from .plain import Plain
from .terminal import visible_lines


def replayed(builder: Builder, ref: str) -> tuple[str, str]:
    """Return the name of a build and its log, given its ref or the start of it. Raises StoreError."""
    records = [record for record in builder.history(500) if record.ref.startswith(ref)]
    if len(records) != 1:
        raise StoreError(f"The history has {len(records) or 'no'} builds {ref!r}.", hint="%build history lists them.")
    record = records[0]
    lines: list[str] = []
    plain, trace = Plain(lines.append), Trace()
    for message in builder.replay(record):
        trace.update(message)
        plain.tick(trace)
    trace.flush()
    plain.finish(trace, None)
    return record.name or record.ref[:12], visible_lines("".join(lines).removesuffix("\n"))
