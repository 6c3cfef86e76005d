"""The socket of a run in the background: what others ask of its host, a request a connection."""

from __future__ import annotations

import array
import os
import socket
from pathlib import Path

import msgspec

from ..errors import BuildError, StoreError, UsageError

_SOCKET = "socket"
_LARGEST = 1 << 20
_MAX_FDS = 8


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Ask the process to end, and kill it when it has not in `timeout` seconds; its own stop timeout when None.

    With a negative one it has all the time it takes. The signal is the run's own when it is 0.
    """

    timeout: float | None = None
    signal: int = 0


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """Send a signal to the process."""

    number: int


class Enter(msgspec.Struct, frozen=True, tag="enter"):
    """Start one more process, whose channel and streams are the descriptors that come along."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    """`NAME=value`, beside those of the run."""
    user: str = ""
    workdir: str = ""
    privileged: bool = False
    terminal: tuple[int, int] | None = None


class Wait(msgspec.Struct, frozen=True, tag="wait"):
    """Nothing but to know when it has ended."""


Request = Stop | Signal | Enter | Wait


class Answer(msgspec.Struct, frozen=True):
    """What was wrong with a request; nothing when all is well."""

    error: str = ""
    hint: str = ""


def listen(directory: Path) -> socket.socket:
    """Return a socket that listens in a directory."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _short(directory) as path:
        server.bind(path)
    server.listen()
    return server


def ask(directory: Path, request: Request, fds: tuple[int, ...] = ()) -> socket.socket:
    """Ask the host of the run in a directory; returns the connection, which the host closes when the run has ended.

    Raises UsageError when there is no host any more, and what the host says.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _short(directory) as path:
            client.connect(path)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        client.sendmsg([msgspec.json.encode(request)], ancillary)
        data = client.recv(_LARGEST)
    except OSError:
        data = b""
    try:
        if not data:
            raise UsageError("The run has ended.", hint="%build logs NAME shows what it wrote.")
        answer = msgspec.json.decode(data, type=Answer)
        if answer.error:
            raise BuildError(answer.error, hint=answer.hint)
    except BaseException:
        client.close()
        raise
    return client


def take(client: socket.socket) -> tuple[Request, list[int]] | None:
    """Read a request, and the descriptors that came with it; None when the other side has gone."""
    fds = array.array("i")
    data, ancillary, _, _ = client.recvmsg(
        _LARGEST, socket.CMSG_SPACE(_MAX_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for _, _, passed in ancillary:
        fds.frombytes(passed[: len(passed) - len(passed) % fds.itemsize])
    if not data:
        return None
    try:
        return msgspec.json.decode(data, type=Request), list(fds)
    except msgspec.DecodeError as error:
        for fd in fds:
            os.close(fd)
        raise StoreError(f"The run has been started by another version of pybuild_magic: {error}.") from error


class _short:  # noqa: N801 - a context manager that reads as a word
    """The path of the socket in a directory, which may be longer than a socket's address."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> str:
        self._fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{_SOCKET}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
