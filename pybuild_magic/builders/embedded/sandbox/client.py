"""The builder's side of the helper process: starts it once, and runs jobs in it from any thread."""

from __future__ import annotations

import array
import errno
import marshal
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ....cancel import Cancel
from ....errors import UnsupportedError, UsageError

_START = "import sys; sys.path.append(sys.argv[1]); from helper.server import start; start(*sys.argv[2:])"
_MAX_MESSAGE = 1 << 20
_MAX_FDS = 253
ELSEWHERE = (
    "`%build doctor` shows what to change. Or build on a BuildKit with `--builder`, or leave out RUN: everything else "
    "works without."
)
GONE = "the process that runs sandboxes was killed"

Message = tuple[Any, ...]
Listener = Callable[[Message, list[int]], None]


class JobFailed(Exception):  # noqa: N818 - an outcome that every caller turns into its own error
    """A job that the helper could not do; `errno` is the system's reason, 0 when there is none."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.errno = number


class Helper:
    """The helper process of this process. It ends when this object, or this process, does.

    `scratch` makes an empty directory, over which each sandbox mounts a file system of its own. `traced` takes the
    tracer even where there are namespaces; `kept` where these have one id, inside of them, to remember owners.
    """

    def __init__(self, scratch: Callable[[], Path], *, traced: bool = False, kept: bool = True) -> None:
        self._scratch = scratch
        self._traced = traced
        self._kept = kept
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self.userns = False
        """Whether files are made in a user namespace: other owners on disk, and `user.` attributes of overlayfs."""
        self.single = False
        """Whether one id stands for all."""
        self.refused = ""
        """Why this user gets no namespaces, when the process did not start for that."""
        self.tracer = ""
        """The path of the tracer, where there are no namespaces but it works."""
        self.untraced = ""
        """Why there is no tracer either."""
        self.keeper = ""
        """The path of the tracer that remembers owners where namespaces have one id for all."""
        self.unmapped = ""
        """Why one id stands for all, where it does."""

    def start(self) -> None:
        """Start the process, unless it runs. Raises UnsupportedError where the machine does not allow it."""
        with self._lock:
            self._start()

    def _start(self) -> socket.socket:
        if self._control is not None and self._pid == os.getpid():
            return self._control
        if not sys.platform.startswith("linux"):
            raise UnsupportedError(f"RUN needs Linux; this is {sys.platform}.", hint=ELSEWHERE)
        if self._traced and not self.tracer:
            self.refused = "PYBUILD_RUNTIME is tracer"
            self.tracer, self.untraced = _find_tracer()
            if not self.tracer:
                raise UsageError(f"PYBUILD_RUNTIME is tracer, which does not work here: {self.untraced}.")
        ours, answer = self._launch(traced=bool(self.tracer))
        if "error" in answer:
            ours.close()
            self.refused = answer["error"]
            self.tracer, self.untraced = _find_tracer()
            if not self.tracer:
                raise UnsupportedError(
                    f"RUN needs namespaces, which this machine does not give to this user ({self.refused}), or a "
                    f"tracer ({self.untraced}).",
                    hint=ELSEWHERE,
                )
            ours, answer = self._launch(traced=True)
        self.userns, self.single, self.unmapped = answer["userns"], answer["single"], answer["unmapped"]
        if self.single and self._kept and not self.tracer:
            self.keeper, self.untraced = _find_tracer()
        self._control, self._pid = ours, os.getpid()
        return ours

    def _launch(self, *, traced: bool) -> tuple[socket.socket, dict[str, Any]]:
        """Start a process; returns its socket and what it says of itself."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            arguments = (str(Path(__file__).parent), str(theirs.fileno()), str(os.getpid()), str(self._scratch()))
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, *arguments, "traced" if traced else ""],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
            )
        hello = ours.recv(_MAX_MESSAGE)
        if not hello:
            ours.close()
            raise UnsupportedError("The process that runs sandboxes did not start.", hint=ELSEWHERE)
        answer: dict[str, Any] = marshal.loads(hello)  # noqa: S302 - from a process of ours
        if "error" in answer:
            self._process.wait()
        return ours, answer

    def trace(self, why: str) -> None:
        """Take the tracer from now on where it works: namespaces do not, for the reason `why`."""
        tracer, self.untraced = _find_tracer()
        if tracer:
            self.close()
            self.refused, self.tracer, self.keeper = why, tracer, ""

    def close(self) -> None:
        """End the process, and with it whatever it runs."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._process is not None and self._pid == os.getpid():
                self._process.wait()
            self._process = None

    def submit(self, kind: str, job: Any, fds: tuple[int, ...] = ()) -> socket.socket:
        """Start a job; returns its socket. `fds` are passed on and stay the caller's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        content = os.memfd_create("job", os.MFD_CLOEXEC)
        try:
            view = memoryview(marshal.dumps(job))
            while view:
                view = view[os.write(content, view) :]
            os.lseek(content, 0, os.SEEK_SET)
            passed = array.array("i", [theirs.fileno(), content, *fds])
            with self._lock:
                self._send(kind.encode(), passed)
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(content)
            theirs.close()
        return ours

    def _send(self, message: bytes, fds: array.array[int]) -> None:
        """Send to the helper; to a new one when the last has died, killed by whatever kills processes here."""
        from .helper.messages import send  # the helper's modules are Linux's alone

        try:
            send(self._start(), message, list(fds))
        except ConnectionError:
            self._control = None
            send(self._start(), message, list(fds))

    def call(
        self,
        kind: str,
        job: Any,
        cancel: Cancel | None = None,
        listener: Listener | None = None,
        fds: tuple[int, ...] = (),
    ) -> None:
        """Do a job to its end. `listener` takes each of its messages, with the descriptors that came along.

        `fds` are passed on, as by `submit`.

        Raises JobFailed; Interrupted when `cancel` comes, once the job is dead.
        """
        with self.submit(kind, job, fds) as channel, ExitStack() as stack:
            if cancel is not None:
                stack.enter_context(cancel.on_cancel(lambda: shut(channel)))
            failure: JobFailed | None = None
            while True:
                message, passed = receive(channel)
                if message[0] == "gone":
                    raise JobFailed(0, GONE)
                if message[0] == "exit":
                    break
                if message[0] == "failed":
                    failure = JobFailed(message[1], message[2])
                elif listener is not None:
                    listener(message, passed)
            if cancel is not None:
                cancel.check()
            if failure is not None:
                raise failure
            if message[1] != 0:
                raise JobFailed(0, f"the process of a sandbox job ended with {message[1]}")


def _find_tracer() -> tuple[str, str]:
    """The path of the tracer, or "" and why there is none that works."""
    from . import tracer

    found = tracer.find()
    if found is None or not found.native:
        return "", "there is no program for it in this installation"
    why = tracer.probe(found)
    return ("", why) if why else (str(found.path), "")


def shut(channel: socket.socket) -> None:
    """Tell the helper that a job is not wanted any more; its last message still comes."""
    with suppress(OSError):  # it may have ended by itself
        channel.shutdown(socket.SHUT_WR)


def receive(channel: socket.socket) -> tuple[Message, list[int]]:
    """The next message of a job, with its descriptors; ("gone",) when the helper is."""
    fds = array.array("i")
    try:
        data, ancillary, flags, _ = channel.recvmsg(
            _MAX_MESSAGE, socket.CMSG_SPACE(_MAX_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        data, ancillary, flags = b"", [], 0
    for _, _, passed in ancillary:
        fds.frombytes(passed[: len(passed) - len(passed) % fds.itemsize])
    if flags & socket.MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise OSError(errno.EMFILE, "Too many open files")
    if not data:
        return ("gone",), []
    message: Message = marshal.loads(data)  # noqa: S302 - from a process of ours
    return message, list(fds)
