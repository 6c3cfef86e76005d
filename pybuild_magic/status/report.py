"""Reporting by the parts of a builder: vertices, their steps, bytes and logs, as one ordered status stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

import msgspec

from ..errors import BuildError, Interrupted
from .messages import (
    SolveStatus,
    StatusSink,
    Vertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
    now,
    without_credentials,
)

_thread = threading.local()
INTERVAL = 0.1
"""Seconds between two messages about one counter: as often as a person can read, and as BuildKit sends them."""


def at_work() -> VertexReport | None:
    """Return the vertex that this thread works for, so that slow code can report to it without being passed it."""
    return getattr(_thread, "report", None)


class Reporter:
    """Turns the calls of many threads into one ordered stream of SolveStatus messages to `sink`."""

    def __init__(self, sink: StatusSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()

    def emit(self, status: SolveStatus) -> None:
        """Send one message; other threads wait their turn."""
        status = without_credentials(status)
        with self._lock:
            self._sink(status)

    def announce(self, vertices: Iterable[Vertex]) -> None:
        """Send vertices that have not started, so that displays know the whole graph."""
        vertexes = tuple(vertices)
        if vertexes:
            self.emit(SolveStatus(vertexes=vertexes))

    def vertex(self, digest: str, name: str, inputs: Iterable[str] = ()) -> VertexReport:
        """Return the report of a vertex, which starts when the report is entered, or when its `start` is called."""
        return VertexReport(self, Vertex(digest=digest, name=name, inputs=tuple(inputs)))


class StepReport:
    """A counter or a sub-step of a vertex. `update` may be called often: few of the calls become messages."""

    def __init__(self, reporter: Reporter, status: VertexStatus) -> None:
        self._reporter = reporter
        self._status = status
        self._due = 0.0
        self._current = 0

    def update(self, current: int, total: int = 0) -> None:
        """Report how far the step is; dropped when the last message is younger than `INTERVAL`."""
        self._current = current
        clock = time.monotonic()
        if clock >= self._due:
            self._due = clock + INTERVAL
            self.send(current=current, total=total or self._status.total)

    def done(self, current: int | None = None, total: int | None = None) -> None:
        """Send the last message, with the final count and the time."""
        at = now()
        self.send(
            current=self._current if current is None else current,
            total=self._status.total if total is None else total,
            timestamp=at,
            completed=at,
        )

    def send(
        self,
        *,
        current: int,
        total: int,
        timestamp: datetime | None = None,
        completed: datetime | None = None,
    ) -> None:
        """Send one message now."""
        self._status = msgspec.structs.replace(
            self._status,
            current=current,
            total=total,
            timestamp=timestamp or now(),
            completed=completed,
        )
        self._reporter.emit(SolveStatus(statuses=(self._status,)))


class VertexReport:
    """A vertex at work. As a context manager, it starts the vertex and ends it, with an exception as its error."""

    def __init__(self, reporter: Reporter, vertex: Vertex) -> None:
        self._reporter = reporter
        self._vertex = vertex
        self._steps: dict[str, StepReport] = {}

    @property
    def digest(self) -> str:
        """The vertex's digest, as its messages carry it."""
        return self._vertex.digest

    @property
    def name(self) -> str:
        """The vertex's name."""
        return self._vertex.name

    def start(self) -> None:
        """Report that work has begun, or has begun again after other work interrupted it."""
        self._change(started=now(), completed=None)

    def complete(self, error: str = "") -> None:
        """Report that work has ended, and with which error, if any."""
        at = now()
        self._change(started=self._vertex.started or at, completed=at, error=error)

    def cached(self) -> None:
        """Report that the result was there already: started, completed and CACHED at once."""
        at = now()
        self._change(cached=True, started=self._vertex.started or at, completed=at)

    def status(self, id: str, name: str = "", current: int = 0, total: int = 0) -> None:  # noqa: A002
        """Report the progress of a part, in bytes when `total` counts bytes; many calls become few messages.

        The part is complete, and no longer rate-limited, when `current` reaches a `total` that is not 0.
        """
        step = self._steps.get(id)
        if step is None:
            step = self._steps[id] = self._step(id, name)
        if total and current >= total:
            step.done(current, total)
        else:
            step.update(current, total)

    @contextmanager
    def step(self, name: str) -> Generator[StepReport]:
        """Report a part with a beginning and an end, such as `exporting layers`."""
        step = self._step(name, name)
        step.send(current=0, total=0)
        yield step
        step.done()

    @contextmanager
    def bound(self) -> Generator[None]:
        """Make `at_work` return this vertex, in this thread, during the block."""
        before = at_work()
        _thread.report = self
        try:
            yield
        finally:
            _thread.report = before

    def log(self, data: bytes, stream: int = 1) -> None:
        """Send bytes that the step printed; `stream` is 1 for standard output, 2 for standard error."""
        self._reporter.emit(
            SolveStatus(logs=(VertexLog(vertex=self._vertex.digest, stream=stream, data=data, timestamp=now()),))
        )

    def warn(
        self,
        short: str,
        *,
        detail: Iterable[str] = (),
        url: str = "",
        filename: str = "",
        start: int = 0,
        end: int = 0,
        level: int = 1,
        context: str = "",
        ignorable: tuple[str, ...] = (),
    ) -> None:
        """Send a warning, with the Dockerfile lines that it is about."""
        warning = VertexWarning(
            vertex=self._vertex.digest,
            level=level,
            short=short.encode("utf-8", "surrogateescape"),
            detail=tuple(line.encode("utf-8", "surrogateescape") for line in detail),
            url=url,
            filename=filename,
            start=start,
            end=end,
            context=context,
            ignorable=ignorable,
        )
        self._reporter.emit(SolveStatus(warnings=(warning,)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._vertex.completed is None:
            self.complete() if error is None else self.failed(error)

    def failed(self, error: BaseException) -> None:
        """Report that work has ended with `error`; without effect when it has ended already."""
        if self._vertex.completed is None:
            message = error.message if isinstance(error, BuildError) else str(error)
            # BuildKit's own words for a step that its user stopped, by which displays know it from a failed one.
            self.complete("context canceled" if isinstance(error, Interrupted) else message or type(error).__name__)

    def _step(self, id: str, name: str) -> StepReport:  # noqa: A002
        at = now()
        status = VertexStatus(id=id, vertex=self._vertex.digest, name=name, timestamp=at, started=at)
        return StepReport(self._reporter, status)

    def _change(self, **fields: object) -> None:
        self._vertex = msgspec.structs.replace(self._vertex, **fields)
        self._reporter.emit(SolveStatus(vertexes=(self._vertex,)))
