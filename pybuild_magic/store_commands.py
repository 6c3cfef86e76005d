"""The commands of `%build` that keep the store small, and bring images into it and out of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from .builders import embedded_builder
from .display.collected import collected_line
from .display.table import Document, Table
from .display.words import human_bytes, shorten
from .errors import UsageError
from .options import parse_size
from .store.policy import Plan


def collect_garbage(words: Sequence[str]) -> Table | Document:
    """Make the store as small as its limit now, as it is done after builds; `--dry-run` shows what would go."""
    dry, keep, rest = False, None, list(words)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word == "--dry-run" and not equals:
            dry = True
        elif word == "--keep-storage":
            if not equals and not rest:
                raise UsageError(f"{word} needs a value.")
            keep = parse_size(value if equals else rest.pop(0), word)
        else:
            raise UsageError(f"%build gc takes no {word}.", hint="It takes --dry-run and --keep-storage SIZE.")
    collector = embedded_builder().collector
    if dry:
        return _planned(collector.plan(keep))
    return Document((("", collected_line(collector.run(keep))),))


def _planned(plan: Plan) -> Table:
    rows = tuple(
        (
            step.kind,
            (step.id.partition(":")[2] or step.id)[:12],
            human_bytes(step.size),
            datetime.fromtimestamp(step.last_used).astimezone().strftime("%Y-%m-%d %H:%M"),
            shorten(step.description)[:100],
        )
        for step in plan.steps
    )
    note = f"Would free {human_bytes(plan.freed)} of {human_bytes(plan.total)}."
    if not rows:
        note = f"Nothing would go: the store takes {human_bytes(plan.total)}."
    return Table(("KIND", "ID", "SIZE", "LAST USED", "DESCRIPTION"), rows, note, frozenset({"SIZE"}))
