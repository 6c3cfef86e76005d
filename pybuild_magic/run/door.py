"""The socket of a run in the background, by which others ask its host for something: one request per connection."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..errors import BuildError, StoreError, UsageError

_SOCKET = "socket"
_LARGEST = 1 << 20
_MAX_FDS = 8


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Ask the process to end, and kill it after `timeout` seconds; None stands for its own stop timeout.

    With a negative timeout it is never killed. With signal 0, the run's own stop signal is sent.
    """

    timeout: float | None = None
    signal: int = 0


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """Send a signal to the process."""

    number: int


class Enter(msgspec.Struct, frozen=True, tag="enter"):
    """Start another process in the sandbox; its channel and streams are the descriptors sent with the request."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    """`NAME=value`, in addition to those of the run."""
    user: str = ""
    workdir: str = ""
    privileged: bool = False
    terminal: tuple[int, int] | None = None


class Flush(msgspec.Struct, frozen=True, tag="flush"):
    """Bring the log up to date with what the process has written by now."""


class Wait(msgspec.Struct, frozen=True, tag="wait"):
    """Wait until the run has ended."""


Request = Stop | Signal | Enter | Flush | Wait


class Answer(msgspec.Struct, frozen=True):
    """The error of a request; empty when it was carried out."""

    error: str = ""
    hint: str = ""


def channel(pass_on: Callable[[tuple[int, ...]], None]) -> Callable[[tuple[int, ...]], socket.socket]:
    """Return how `run_job` starts a process: by passing one end of a new channel on, before the process's streams."""

    def submit(streams: tuple[int, ...]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                pass_on((theirs.fileno(), *streams))
            except BaseException:
                ours.close()
                raise
        return ours

    return submit


def listen(directory: Path) -> socket.socket:
    """Return a socket that listens in the directory."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _short(directory) as path:
        server.bind(path)
    server.listen()
    return server


def ask(directory: Path, request: Request, fds: tuple[int, ...] = ()) -> socket.socket:
    """Send a request to the host of the run in a directory, and return the connection.

    The host closes the connection when the run has ended. Raises UsageError when there is no host any more, and the
    error with which the host answers.
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
    """Read a request and the descriptors that came with it; None when the other side has gone."""
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
    """A path of the socket in a directory that fits into a socket's address, however deep the directory is."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> str:
        self._fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{_SOCKET}"

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
