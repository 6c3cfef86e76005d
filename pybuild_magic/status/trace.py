"""The status stream folded into steps, which every display and every finished build reads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

import msgspec

from .messages import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning

KEPT_LINES = 5000
"""How many log lines of a step are kept in memory; the store's history has them all."""
KEPT_FIRST = 50
"""How many of a step's first lines stay when later lines push the others out."""
_KEPT_CHARACTERS = 8 << 20
"""The most characters of a step's log that are kept: a bound for output that hardly ever ends a line."""
LONGEST_LINE = 64 << 10
"""The most bytes of a line; a longer line becomes several."""
_LONGEST_BAR = 4 << 10
_LONGEST_TOLD = 4000
"""The most characters of a line in an error."""


StepState = Literal["waiting", "running", "done", "cached", "error", "canceled"]


class LogLine(msgspec.Struct, frozen=True):
    """A line that a step printed: the seconds since the step began, the stream (1 or 2) and the text."""

    seconds: float
    stream: int
    text: str


class Step(msgspec.Struct):
    """A vertex, as far as the stream has described it."""

    digest: str
    name: str = ""
    inputs: tuple[str, ...] = ()
    index: int = 0
    """The number that users see: from 1, in the order in which steps began."""
    cached: bool = False
    started: datetime | None = None
    completed: datetime | None = None
    error: str = ""
    busy: float = 0.0
    """Seconds of work in the periods that have ended."""
    statuses: dict[str, VertexStatus] = {}
    first_lines: list[LogLine] = []
    lines: deque[LogLine] = msgspec.field(default_factory=lambda: deque[LogLine]())
    line_count: int = 0
    """The number of lines printed, including those no longer kept."""
    characters: int = 0
    """The number of characters in the kept lines."""
    partial: dict[int, tuple[bytearray, datetime | None]] = {}
    """By stream: the beginning of a line that has not ended yet, and when it arrived."""

    @property
    def state(self) -> StepState:
        """The state of the step."""
        if self.error:
            return "canceled" if self.error.endswith("context canceled") else "error"
        if self.completed:
            return "cached" if self.cached else "done"
        return "running" if self.started else "waiting"

    def seconds(self, now: datetime | None = None) -> float:
        """Return how long the step has worked; a running step is measured up to `now`."""
        if self.started and not self.completed and now:
            return self.busy + max(0.0, (now - self.started).total_seconds())
        return self.busy

    @property
    def log(self) -> str:
        """The kept lines as one text."""
        return "\n".join(line.text for line in self.lines)

    @property
    def unfinished(self) -> str:
        """The beginning of a line that has not ended yet, such as a progress bar that overprints itself."""
        return next((rest.decode("utf-8", "replace") for rest, _ in self.partial.values()), "")

    @property
    def lost(self) -> int:
        """How many lines are no longer kept."""
        return self.line_count - len(self.lines)


class Trace:
    """The state of a whole build. Feed the stream to `update`; `take_changed` returns what a display must redraw."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.warnings: list[VertexWarning] = []
        self.seconds = 0.0
        """How long the build took: by the builder's history, or from the creation of this object to the end of the
        stream.
        """
        self._created = time.monotonic()
        self._began = 0
        self._changed: set[str] = set()

    def update(self, status: SolveStatus) -> None:
        """Take one message in."""
        changed = self._changed
        for vertex in status.vertexes:
            self._vertex(vertex)
            changed.add(vertex.digest)
        for counter in status.statuses:
            step = self._step(counter.vertex)
            step.statuses[counter.id] = counter
            changed.add(counter.vertex)
        for log in status.logs:
            self._log(log)
            changed.add(log.vertex)
        for log in status.logs:
            if (step := self.steps[log.vertex]).completed:
                self._end_lines(step)
        self.warnings += status.warnings

    def take_changed(self) -> list[Step]:
        """Return the steps that changed since the last call."""
        changed, self._changed = self._changed, set()
        return [self.steps[digest] for digest in changed]

    def flush(self, seconds: float | None = None) -> None:
        """Stop the clock at the end of the stream, at the `seconds` of the builder's history if it has them, and turn
        unfinished lines into lines.
        """
        self.seconds = self.seconds or seconds or time.monotonic() - self._created
        for step in self.steps.values():
            self._end_lines(step)

    @property
    def elapsed(self) -> float:
        """Seconds since the build began, or its duration when it has ended."""
        return self.seconds or time.monotonic() - self._created

    def running(self) -> list[Step]:
        """Return the steps under way."""
        return [step for step in self.steps.values() if step.state == "running"]

    def visible(self) -> Iterable[Step]:
        """Return the steps that have begun, in the order in which they did."""
        return sorted((step for step in self.steps.values() if step.index), key=lambda step: step.index)

    def _step(self, digest: str) -> Step:
        return self.steps.setdefault(digest, Step(digest))

    def _vertex(self, vertex: Vertex) -> None:
        step = self._step(vertex.digest)
        step.name = vertex.name or step.name
        step.inputs = vertex.inputs or step.inputs
        # A step that works after it was CACHED was not cached after all: the cache lacked what it had announced.
        at_work = vertex.started is not None and vertex.completed is None
        step.cached = vertex.cached or (step.cached and not at_work)
        step.error = vertex.error or step.error
        if vertex.started and not step.index:
            self._began += 1
            step.index = self._began
        # A step that begins again before it has ended continues: the time that it has worked still counts.
        start = step.started if step.started and not step.completed else vertex.started
        if vertex.completed and start and vertex.completed != step.completed:
            step.busy += max(0.0, (vertex.completed - start).total_seconds())
        step.started, step.completed = start or step.started, vertex.completed
        if step.completed:
            self._end_lines(step)

    def _end_lines(self, step: Step) -> None:
        for stream, (rest, at) in sorted(step.partial.items()):
            self._line(step, stream, rest, at)
        step.partial = {}

    def _log(self, log: VertexLog) -> None:
        """Take in output, in time and memory proportional to its size, however it is cut into pieces."""
        step = self._step(log.vertex)
        *lines, rest = log.data.split(b"\n")
        open_line = step.partial.pop(log.stream, (bytearray(), None))[0]
        if lines:
            open_line += lines[0]
            self._line(step, log.stream, open_line, log.timestamp)
            step.line_count += max(0, len(lines) - 1 - KEPT_LINES)  # lines that the others would push out at once
            for line in lines[1:][-KEPT_LINES:]:
                self._line(step, log.stream, line, log.timestamp)
            open_line = bytearray()
        open_line += rest
        if b"\r" in rest:
            _overprint(open_line)
        if len(open_line) > LONGEST_LINE:
            *lines, rest = _pieces(open_line)
            for line in lines:
                self._line(step, log.stream, line, log.timestamp)
            open_line = bytearray(rest)
        if open_line:
            step.partial[log.stream] = (open_line, log.timestamp)

    def _line(self, step: Step, stream: int, data: bytes | bytearray, at: datetime | None) -> None:
        seconds = (at - step.started).total_seconds() if at and step.started else 0.0
        data = data.removesuffix(b"\r")
        for piece in _pieces(data) if len(data) > LONGEST_LINE else (data,):
            text = piece.decode("utf-8", "replace")
            step.characters += len(text)
            while step.lines and (len(step.lines) == KEPT_LINES or step.characters > _KEPT_CHARACTERS):
                step.characters -= len(step.lines.popleft().text)
            line = LogLine(max(0.0, seconds), stream, text)
            step.lines.append(line)
            if step.line_count == len(step.first_lines) < KEPT_FIRST:
                step.first_lines.append(line)
            step.line_count += 1


def whole_log(messages: Iterable[SolveStatus], digest: str) -> tuple[list[str], list[float]]:
    """Return all lines that a vertex printed, however many, and for each the seconds since its step began."""
    lines, seconds = list[str](), list[float]()
    rest, started, at = b"", None, 0.0
    for message in messages:
        started = started or next((vertex.started for vertex in message.vertexes if vertex.digest == digest), None)
        for log in message.logs:
            if log.vertex != digest:
                continue
            at = max(0.0, (log.timestamp - started).total_seconds()) if log.timestamp and started else at
            *ended, rest = (rest + log.data).split(b"\n")
            lines += [line.removesuffix(b"\r").decode("utf-8", "replace") for line in ended]
            seconds += [round(at, 1)] * len(ended)
    if rest:
        lines.append(rest.decode("utf-8", "replace"))
        seconds.append(round(at, 1))
    return lines, seconds


def _overprint(line: bytearray) -> None:
    """Cut a line that overprints itself, such as a progress bar, to the part that can still be seen."""
    if len(line) > _LONGEST_BAR:
        del line[: max(line.rfind(b"\r", 0, -1), 0)]


def _pieces(line: bytes | bytearray) -> Iterator[bytes | bytearray]:
    """Yield a long line in pieces of at most `LONGEST_LINE` bytes, cut between characters."""
    at = 0
    while len(line) - at > LONGEST_LINE:
        end = at + LONGEST_LINE
        while end > at + LONGEST_LINE - 4 and line[end] & 0xC0 == 0x80:
            end -= 1
        yield line[at:end]
        at = end
    yield line[at:]


class LastLines:
    """The last lines that a step printed, for its error: bounded, whatever was printed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lines: deque[bytes] = deque(maxlen=count)
        self._open = bytearray()

    def add(self, data: bytes) -> None:
        """Take in what was printed."""
        *whole, rest = data.rsplit(b"\n", self._count + 1)
        if whole:
            self._end(whole[0])
            for line in whole[1:]:
                self._end(line)
        self._open += rest
        if len(self._open) > 2 * LONGEST_LINE:
            del self._open[:-LONGEST_LINE]

    def _end(self, line: bytes) -> None:
        self._lines.append(bytes(self._open[-LONGEST_LINE:]) + line[-LONGEST_LINE:])
        self._open.clear()

    def lines(self) -> list[str]:
        """Return the lines, including one that has not ended; long lines lose their middle."""
        lines = [*self._lines, self._open] if self._open else list(self._lines)
        return [_middle(line.rstrip(b"\r").decode("utf-8", "replace")) for line in lines[-self._count :]]


def _middle(line: str) -> str:
    if len(line) <= _LONGEST_TOLD:
        return line
    half = _LONGEST_TOLD // 2
    return f"{line[:half]} … {len(line) - 2 * half:,} characters … {line[-half:]}"
