"""How the parts of a builder say what they do: vertices, their steps, bytes and logs, as one ordered status stream."""

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
"""Seconds between two messages about one counter: as often as a person can read, as BuildKit's own limit."""


def at_work() -> VertexReport | None:
    """Return the vertex that this thread works for: for slow work that knows of no vertex."""
    return getattr(_thread, "report", None)


class Reporter:
    """Turns the calls of many threads into one ordered stream of SolveStatus messages to `sink`."""

    def __init__(self, sink: StatusSink) -> None:
        self._sink = sink
        self._lock = threading.Lock()

    def emit(self, status: SolveStatus) -> None:
        """Send one message; the others wait their turn."""
        status = without_credentials(status)
        with self._lock:
            self._sink(status)

    def announce(self, vertices: Iterable[Vertex]) -> None:
        """Show vertices that have not started, so that displays know the whole graph."""
        announced = tuple(vertices)
        if announced:
            self.emit(SolveStatus(vertexes=announced))

    def vertex(self, digest: str, name: str, inputs: Iterable[str] = ()) -> VertexReport:
        """Return a vertex that starts when the returned object is entered, or told to."""
        return VertexReport(self, Vertex(digest=digest, name=name, inputs=tuple(inputs)))


class StepReport:
    """A counter or a sub-step of a vertex: `update` as often as you like, few of the calls become messages."""

    def __init__(self, reporter: Reporter, status: VertexStatus) -> None:
        self._reporter = reporter
        self._status = status
        self._due = 0.0
        self._current = 0

    def update(self, current: int, total: int = 0) -> None:
        """Say how far it is; dropped when the last message is not `INTERVAL` old."""
        self._current = current
        clock = time.monotonic()
        if clock >= self._due:
            self._due = clock + INTERVAL
            self.send(current=current, total=total or self._status.total)

    def done(self, current: int | None = None, total: int | None = None) -> None:
        """The last message: the final count and the time."""
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
    """One vertex while it runs. As a context manager it starts, and ends with the exception as its error."""

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
        """Say that work has begun (again, when it was interrupted by other work)."""
        self._change(started=now(), completed=None)

    def complete(self, error: str = "") -> None:
        """Say that work has ended, and with what error."""
        at = now()
        self._change(started=self._vertex.started or at, completed=at, error=error)

    def cached(self) -> None:
        """Say that the result was there already: started, completed and CACHED at once."""
        at = now()
        self._change(cached=True, started=self._vertex.started or at, completed=at)

    def status(self, id: str, name: str = "", current: int = 0, total: int = 0) -> None:  # noqa: A002
        """Progress of one part, in bytes when `total` is; many calls become few messages.

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
        """A part with a beginning and an end, such as `exporting layers`."""
        step = self._step(name, name)
        step.send(current=0, total=0)
        yield step
        step.done()

    @contextmanager
    def bound(self) -> Generator[None]:
        """During the block, `at_work` in this thread is this vertex."""
        before = at_work()
        _thread.report = self
        try:
            yield
        finally:
            _thread.report = before

    def log(self, data: bytes, stream: int = 1) -> None:
        """Bytes that the step printed: `stream` is 1 for standard output, 2 for standard error."""
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
        """A warning with the Dockerfile lines it is about."""
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
        """Say that work has ended with `error`; without effect when it has ended already."""
        if self._vertex.completed is None:
            message = error.message if isinstance(error, BuildError) else str(error)
            # BuildKit's own words for a step that its user stopped; displays tell it from an error by them.
            self.complete("context canceled" if isinstance(error, Interrupted) else message or type(error).__name__)

    def _step(self, id: str, name: str) -> StepReport:  # noqa: A002
        at = now()
        status = VertexStatus(id=id, vertex=self._vertex.digest, name=name, timestamp=at, started=at)
        return StepReport(self._reporter, status)

    def _change(self, **fields: object) -> None:
        self._vertex = msgspec.structs.replace(self._vertex, **fields)
        self._reporter.emit(SolveStatus(vertexes=(self._vertex,)))
