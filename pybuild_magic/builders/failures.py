"""Errors reported by a daemon, translated for users."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from ..errors import BuildError, DockerfileError, RunError, SourceError, SourceRange, UnsupportedError
from ..net.grpc.rpc import UNIMPLEMENTED, GrpcError
from ..status.stepname import parse_name
from ..untrusted.foreign import number

if TYPE_CHECKING:
    from ..dockerfile.node import SyntaxNode

_EXIT_CODE = re.compile(r"did not complete successfully: exit code: (\d+)")
_PREFIX = re.compile(r"^(?:failed to solve: |rpc error: code = \w+ desc = )+")
_VARIABLE = re.compile(r"\$(?:\w+|\{[^}]*\})")
_SOURCE = "errdefs.Source"
_VERTEX = "errdefs.Vertex"


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


def details(error: GrpcError) -> Details:
    """Return the place in the Dockerfile and the step in the details of a daemon's error."""
    from google.protobuf.message import DecodeError

    from .proto.control_pb2 import RpcStatus

    location, vertex = None, ""
    try:
        for detail in RpcStatus.FromString(error.details).details:
            kind = detail.type_url.rpartition("/")[2].partition("+")[0]
            if kind.endswith(_SOURCE) and location is None:
                location = _location(msgspec.json.decode(detail.value, type=_Source))
            elif kind.endswith(_VERTEX) and not vertex:
                vertex = msgspec.json.decode(detail.value, type=_Vertex).digest
    except (DecodeError, msgspec.MsgspecError):
        pass  # an error whose details cannot be read is still the same error
    return Details(location, vertex)


def _location(source: _Source) -> SourceRange | None:
    if not source.ranges or not source.info.filename:
        return None
    lines = [(span.start.line, max(span.start.line, span.end.line)) for span in source.ranges]
    start, end = min(first for first, _ in lines), max(last for _, last in lines)
    return SourceRange(source.info.filename, start, end, source.info.data.decode("utf-8", "replace"))


def place_of(step: str, dockerfile: str, filename: str) -> SourceRange | None:
    """Return the lines of the only instruction that matches a step's name (`[build 2/4] RUN make`), else None.

    It is for errors without a place: of identical steps in simultaneous builds the daemon runs only one, and only that
    one's error has a place if the other steps have other digests (after another resolution of `FROM`, say).
    """
    from ..dockerfile.parser import parse_nodes

    try:
        nodes = parse_nodes(dockerfile, filename).nodes
    except DockerfileError:
        return None
    text = parse_name(step).text
    locations = [node.location for node in nodes if _pattern(node).fullmatch(text)]
    return locations[0] if len(locations) == 1 else None


def _pattern(node: SyntaxNode) -> re.Pattern[str]:
    """Return a pattern for the names of an instruction, whatever the values of its variables."""
    parts = _VARIABLE.split(node.keyword.upper() + node.original[len(node.keyword) :])
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def message_of(error: GrpcError) -> str:
    """Return the daemon's own sentence."""
    return _PREFIX.sub("", error.message) or f"the call failed with code {error.code}"


def solve_error(error: GrpcError, logs: dict[str, list[str]]) -> BuildError:
    """Return the error of a failed solve. `logs` are the last lines of each step, by its digest."""
    cause = details(error)
    message = message_of(error)
    last = logs.get(cause.vertex, [])
    exit_code = _EXIT_CODE.search(message)
    if exit_code:
        return RunError(message, number(exit_code[1], 255) or 1, location=cause.location, logs=last)
    if message.startswith("dockerfile parse error"):
        return DockerfileError(message, location=cause.location)
    if "failed to resolve source metadata" in message:
        return SourceError(message, location=cause.location)
    if error.code == UNIMPLEMENTED:
        return UnsupportedError(message, location=cause.location, logs=last)
    return BuildError(message, location=cause.location, logs=last)
