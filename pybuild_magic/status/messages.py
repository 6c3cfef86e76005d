"""The messages of a builder at work: BuildKit's SolveStatus, as plain structs that displays consume."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from ..untrusted.redaction import redact


class Vertex(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a build. It is sent again as a whole each time its state changes."""

    digest: str
    name: str = ""
    inputs: tuple[str, ...] = ()
    cached: bool = False
    started: datetime | None = None
    completed: datetime | None = None
    error: str = ""


class VertexStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """Progress within a step, such as pulling a blob: `current` of `total`, in bytes when `total` counts bytes."""

    id: str
    vertex: str
    name: str = ""
    total: int = 0
    current: int = 0
    timestamp: datetime | None = None
    started: datetime | None = None
    completed: datetime | None = None


class VertexLog(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bytes that a step printed; `stream` is 1 for standard output and 2 for standard error."""

    vertex: str
    stream: int
    data: bytes
    timestamp: datetime | None = None


class VertexWarning(msgspec.Struct, frozen=True, omit_defaults=True):
    """A finding of a build check, or another warning; `start` and `end` are Dockerfile lines, or 0."""

    vertex: str
    level: int
    short: bytes
    detail: tuple[bytes, ...] = ()
    url: str = ""
    filename: str = ""
    start: int = 0
    end: int = 0
    context: str = ""
    """For a warning about the content of a context, its directory. This field and the next are ours, not BuildKit's."""
    ignorable: tuple[str, ...] = ()
    """Patterns for the `.dockerignore` of that context."""


class SolveStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of the status stream: only the news since the message before."""

    vertexes: tuple[Vertex, ...] = ()
    statuses: tuple[VertexStatus, ...] = ()
    logs: tuple[VertexLog, ...] = ()
    warnings: tuple[VertexWarning, ...] = ()


def without_credentials(status: SolveStatus) -> SolveStatus:
    """Return the message with credentials redacted from names, errors and warnings. Logs stay as they are."""
    if not status.vertexes and not status.warnings:
        return status
    return msgspec.structs.replace(
        status, vertexes=tuple(map(_vertex, status.vertexes)), warnings=tuple(map(_warning, status.warnings))
    )


def _vertex(vertex: Vertex) -> Vertex:
    if "@" not in vertex.name and "@" not in vertex.error:
        return vertex
    return msgspec.structs.replace(vertex, name=redact(vertex.name), error=redact(vertex.error))


def _warning(warning: VertexWarning) -> VertexWarning:
    short, *detail = (
        redact(text.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        for text in (warning.short, *warning.detail)
    )
    return msgspec.structs.replace(warning, short=short, detail=tuple(detail))


StatusSink = Callable[[SolveStatus], None]
"""Takes each message in order. It is called from any thread, one call at a time, and must return quickly."""


def now() -> datetime:
    """Return the current time in UTC, as the stream carries it."""
    return datetime.now(UTC)
