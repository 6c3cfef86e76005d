"""Progress as plain text, in the layout of `docker buildx build --progress=plain`, and as rawjson."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from itertools import islice

import msgspec

from ..errors import BuildError
from ..status.messages import SolveStatus, VertexStatus
from ..status.trace import Step, Trace
from .terminal import colored, printable_json, visible, visible_lines
from .words import plural

Write = Callable[[str], object]

_UNITS = ("B", "kB", "MB", "GB", "TB")
_PATIENCE = 5.0
"""Seconds for which a running step that prints keeps the screen before another running step may take over."""


class RawJson:
    """Each message of the stream as one line of JSON, as `--progress=rawjson` prints it."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._encode = msgspec.json.Encoder().encode

    def update(self, status: SolveStatus) -> None:
        """Print one message."""
        self._write(printable_json(self._encode(status).decode()) + "\n")

    def tick(self, trace: Trace) -> None:
        """Do nothing: no output is held back."""

    def finish(self, trace: Trace, error: BuildError | None, result: object = None) -> None:
        """Do nothing: the stream contains everything."""


class Plain:
    """Appended lines only: suitable for terminals, logs and notebooks without widgets."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._current: Step | None = None
        self._since = 0.0
        self._printed: dict[str, _Printed] = {}

    def update(self, status: SolveStatus) -> None:
        """Do nothing: `tick` prints the news."""

    def tick(self, trace: Trace) -> None:
        """Print the news. Called a few times a second, so that messages in quick succession become one line."""
        changed = trace.take_changed()
        changed.sort(key=lambda step: (step is not self._current, step.completed is None, step.index))
        for step in changed:
            if step.index and (step.completed or self._may_show(step)):
                self._show(step)
        if self._current is None:
            self._show_waiting(trace)

    def finish(self, trace: Trace, error: BuildError | None, result: object = None) -> None:  # noqa: ARG002
        """Print remaining output, and the build's warnings."""
        self.tick(trace)
        for step in trace.visible():
            seen = self._printed.get(step.digest)
            if seen is None or not seen.ended or seen.lines < step.line_count:
                self._show(step)
        if trace.warnings:
            count = len(trace.warnings)
            lines = [visible(warning.short.decode("utf-8", "replace")) for warning in trace.warnings]
            self._write(f"\n {plural(count, 'warning')} found:\n" + "".join(f" - {line}\n" for line in lines))

    def _may_show(self, step: Step) -> bool:
        return self._current in (None, step) or time.monotonic() - self._since > _PATIENCE

    def _show_waiting(self, trace: Trace) -> None:
        for step in trace.running():
            seen = self._printed.get(step.digest)
            if step.index and (seen is None or seen.lines < step.line_count):
                self._show(step)
                return

    def _show(self, step: Step) -> None:
        seen = self._printed.setdefault(step.digest, _Printed())
        out: list[str] = []
        if step is not self._current:
            if self._current is not None:
                out.append(f"#{self._current.index} ...")
            if len(self._printed) > 1 or seen.shown:
                out.append("")
            out.append(f"#{step.index} {visible(step.name)}")
            self._current, self._since = step, time.monotonic()
        seen.shown = True
        counters = [seen.counter(status) for status in step.statuses.values()]
        out += [f"#{step.index} {text}" for text in counters if text]
        if step.lost > seen.lines:
            out.append(f"#{step.index} … {plural(step.lost - seen.lines, 'line')} came too fast to be shown")
        fresh = min(step.line_count - seen.lines, len(step.lines))
        lines = islice(step.lines, len(step.lines) - fresh, None)
        for line in lines:
            painted, seen.colors[line.stream] = colored(line.text, seen.colors.get(line.stream, ""))
            out.append(f"#{step.index} {line.seconds:.3f} {painted}")
        seen.lines = step.line_count
        if step.completed and not seen.ended:
            seen.ended = True
            out.append(f"#{step.index} {_ending(step)}")
        if step.completed:
            self._current = None
        if out:
            self._write("\n".join(out) + "\n")


def _ending(step: Step) -> str:
    match step.state:
        case "error":
            return f"ERROR: {visible_lines(step.error)}"
        case "canceled":
            return "CANCELED"
        case "cached":
            return "CACHED"
        case _:
            return f"DONE {step.seconds():.1f}s"


class _Printed:
    """The printed part of a step."""

    def __init__(self) -> None:
        self.shown = False
        self.ended = False
        self.lines = 0
        self.colors: dict[int, str] = {}
        """The colours in which the next line begins, by stream."""
        self._counters: dict[str, tuple[int, datetime | None, bool]] = {}

    def counter(self, status: VertexStatus) -> str:
        """Return the line for a counter, or "" if it has moved too little for a line."""
        current, at, ended = self._counters.get(status.id, (-1, None, False))
        if ended:
            return ""
        if at is not None and status.completed is None:
            moved = (status.current - current) / status.total if status.total else 0.0
            elapsed = (status.timestamp - at).total_seconds() if status.timestamp else 0.0
            if moved < 0.05 and elapsed < _PATIENCE:
                return ""
        self._counters[status.id] = (status.current, status.timestamp, status.completed is not None)
        text = visible(status.id)
        if status.total:
            text += f" {_bytes(status.current)} / {_bytes(status.total)}"
        elif status.current:
            text += f" {_bytes(status.current)}"
        end = status.completed or status.timestamp
        if status.started and end and (seconds := (end - status.started).total_seconds()) > 0.01:
            text += f" {seconds:.1f}s"
        return f"{text} done" if status.completed else text


def _bytes(count: float) -> str:
    """Return a size as BuildKit prints it in plain progress: two decimals, no space."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f}{_UNITS[unit]}" if unit == 0 else f"{count:.2f}{_UNITS[unit]}"
