"""What a daemon says went wrong, as the errors that users see."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from ...errors import BuildError, DockerfileError, RunError, SourceError, SourceRange, UnsupportedError

if TYPE_CHECKING:
    import grpc

_EXIT_CODE = re.compile(r"did not complete successfully: exit code: (\d+)")
_PREFIX = re.compile(r"^(?:failed to solve: |rpc error: code = \w+ desc = )+")
_SOURCE = "errdefs.Source"
_VERTEX = "errdefs.Vertex"
_DETAILS = "grpc-status-details-bin"


class DaemonError(BuildError):
    """A builder that cannot be reached, or that went away."""

    kind = "builder error"


class _Position(msgspec.Struct, frozen=True):
    line: int = 0


class _Range(msgspec.Struct, frozen=True):
    start: _Position = _Position()
    end: _Position = _Position()


class _Info(msgspec.Struct, frozen=True):
    filename: str = ""
    data: bytes = b""


class _Source(msgspec.Struct, frozen=True):
    info: _Info = _Info()
    ranges: list[_Range] = []


class _Vertex(msgspec.Struct):
    digest: str = ""


class Details(msgspec.Struct, frozen=True):
    """The details of a failed call."""

    location: SourceRange | None = None
    vertex: str = ""
    """Digest of the step that failed."""


def details(error: grpc.RpcError) -> Details:
    """The place in the Dockerfile and the step that a daemon gives with its error."""
    from .proto.control_pb2 import RpcStatus

    location, vertex = None, ""
    for key, value in _trailers(error):
        if key != _DETAILS or not isinstance(value, bytes):
            continue
        try:
            status = RpcStatus.FromString(value)
            for detail in status.details:
                kind = detail.type_url.rpartition("/")[2].partition("+")[0]
                if kind.endswith(_SOURCE) and location is None:
                    location = _location(msgspec.json.decode(detail.value, type=_Source))
                elif kind.endswith(_VERTEX) and not vertex:
                    vertex = msgspec.json.decode(detail.value, type=_Vertex).digest
        except Exception:  # noqa: S112 - an error whose details cannot be read is still that error
            continue
    return Details(location, vertex)


def _trailers(error: Any) -> list[tuple[str, str | bytes]]:
    return list(error.trailing_metadata() or ()) if hasattr(error, "trailing_metadata") else []


def _location(source: _Source) -> SourceRange | None:
    if not source.ranges or not source.info.filename:
        return None
    lines = [(found.start.line, max(found.start.line, found.end.line)) for found in source.ranges]
    start, end = min(first for first, _ in lines), max(last for _, last in lines)
    return SourceRange(source.info.filename, start, end, source.info.data.decode("utf-8", "replace"))


def message_of(error: grpc.RpcError) -> str:
    """The daemon's own sentence."""
    text = str(error.details() or "") if hasattr(error, "details") else str(error)
    return _PREFIX.sub("", text) or f"the call failed ({_code(error)})"


def _code(error: Any) -> str:
    return error.code().name if hasattr(error, "code") else type(error).__name__


def is_unavailable(error: grpc.RpcError) -> bool:
    """Whether the connection is what failed."""
    return _code(error) == "UNAVAILABLE"


def is_unimplemented(error: grpc.RpcError) -> bool:
    """Whether the daemon does not know the call."""
    return _code(error) == "UNIMPLEMENTED"


def solve_error(error: grpc.RpcError, logs: dict[str, list[str]]) -> BuildError:
    """A failed solve. `logs` are the last lines of each step, by its digest."""
    found = details(error)
    message = message_of(error)
    last = logs.get(found.vertex, [])
    exit_code = _EXIT_CODE.search(message)
    if exit_code:
        return RunError(message, int(exit_code[1]), location=found.location, logs=last)
    if message.startswith("dockerfile parse error"):
        return DockerfileError(message, location=found.location)
    if "failed to resolve source metadata" in message:
        return SourceError(message, location=found.location)
    if is_unimplemented(error):
        return UnsupportedError(message, location=found.location, logs=last)
    return BuildError(message, location=found.location, logs=last)
