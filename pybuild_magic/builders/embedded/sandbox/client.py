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

import msgspec

from ....cancel import Cancel
from ....errors import UnsupportedError, UsageError
from . import tracer
from .cgroups import Guard, standing_limits
from .rungs import ONE_ID, UNTRIED, Place, Rung, best, climb

_START = "import sys; sys.path.append(sys.argv[1]); from helper.server import start; start(*sys.argv[2:])"
_FACTS = ("userns", "single", "unmapped", "proc", "pivot")
_MAX_MESSAGE = 1 << 20
_MAX_FDS = 253
ELSEWHERE = (
    "`%build doctor` shows what to change. You can also build on a BuildKit with `--builder`, or leave out RUN, the "
    "only instruction that needs this."
)
GONE = "the process that runs sandboxes was killed"

Message = tuple[Any, ...]
Listener = Callable[[Message, list[int]], None]


class JobFailed(Exception):  # noqa: N818 - an outcome that every caller turns into its own error
    """A job that the helper could not do; `errno` is the system's error number, 0 when there is none."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.errno = number


class Helper:
    """The helper process of this process, on the best rung. It ends with this object, or with this process.

    `scratch` makes an empty directory, over which each sandbox mounts a private file system. `wanted` is the number of
    a rung to use instead of the best, `untraced` the reason why no tracer may be used, and `noexec` a place's.
    """

    def __init__(self, scratch: Callable[[], Path], wanted: int = 0, untraced: str = "", noexec: str = "") -> None:
        self._scratch = scratch
        self._scratches: list[tuple[int, Path]] = []
        """What `scratch` has made, and in which process: a fork leaves alone what its parent has."""
        self._wanted = wanted
        self._untraced = untraced
        self._noexec = noexec
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._start_on = 0
        """The rung on which the process is told to start; 0 for whatever namespaces allow."""
        self.place = Place()
        self.rung: Rung | None = None
        """The rung in use, once the process has started."""
        self.userns = False
        """Whether files are made in a user namespace: other owners on disk, and `user.` attributes for overlayfs."""
        self.single = False
        """Whether there is a single id."""
        self.unmapped = ""
        """The reason for the single id."""
        self.guard: Guard | None = None
        """The cgroup around all processes; None before the start."""
        self.program = ""
        """The path of the tracer, where it is needed and works."""
        self.proot = ""
        """The path of proot, where it replaces the tracer."""

    @property
    def traced(self) -> bool:
        """Whether nothing is mounted, and a tracer shows the root."""
        return self.rung is not None and self.rung.way.TRACED

    @property
    def copied(self) -> bool:
        """Whether nothing is mounted, and proot shows a copy of all files, because it cannot protect them from
        writes.
        """
        return self.traced and bool(self.proot)

    @property
    def kept(self) -> bool:
        """Whether there is a single id, and a tracer remembers owners."""
        return self.single and not self.traced and bool(self.program)

    @property
    def owned(self) -> bool:
        """Whether files have the owners they are given: on disk, or in a tracer's memory."""
        return (self.traced and not self.copied) or self.kept or not self.single

    def start(self) -> None:
        """Start the process, unless it is running. Raises UnsupportedError where the machine does not allow it.

        Raises UsageError where the machine does not allow the requested rung.
        """
        with self._lock:
            self._start()

    def rungs(self) -> tuple[Rung, ...]:
        """Return every rung, best first, and whether it works here; start the process if possible."""
        with self._lock:
            try:
                self._start()
            except UnsupportedError as error:
                if not (self.place.missing or self.place.tracer):
                    self.place = msgspec.structs.replace(self.place, system=error.message)
            except UsageError:
                pass  # the machine has been examined all the same
            if not self.place.system:
                self._find_tracer()
            return climb(self.place)

    def _start(self) -> socket.socket:
        if self._control is not None and self._pid == os.getpid():
            return self._control
        if self.rung is None:
            return self._climb()
        ours, answer = self._launch(self._start_on)
        if reason := answer.get("error"):
            self._end(ours)
            raise UnsupportedError(f"RUN worked before, but no longer does: {reason}.", hint=ELSEWHERE)
        return self._keep(ours, answer)

    def _climb(self) -> socket.socket:
        """Examine the machine, choose a rung, and start the process on it."""
        if not sys.platform.startswith("linux"):
            self.place = Place(system=f"RUN needs Linux; this is {sys.platform}.")
            raise UnsupportedError(self.place.system, hint=ELSEWHERE)
        ours, answer = self._launch(0)
        root = os.geteuid() == 0
        if "error" in answer:
            self.place = Place(namespaces=answer["error"], root=root, noexec=self._noexec)
        else:
            self.place = Place(**{name: answer[name] for name in _FACTS}, root=root, noexec=self._noexec)
        if self.place.namespaces or self.place.single or self._wanted >= ONE_ID:
            self._find_tracer()
        rungs = climb(self.place)
        rung = best(rungs)
        if self._wanted:
            rung = rungs[self._wanted - 1]
            if not rung.holds:
                self._end(ours)
                raise UsageError(f"PYBUILD_RUNG is {rung.number} ({rung.name}), which does not work here: {rung.why}.")
        if rung is None:
            self._end(ours)
            raise UnsupportedError(
                f"RUN needs namespaces, which this machine denies this user ({self.place.namespaces}), or a tracer "
                f"({self.place.noexec or self.place.tracer}).",
                hint=ELSEWHERE,
            )
        if self._wanted or rung.way.TRACED:
            ours, answer = self._order(ours, rung.number)
            if reason := answer.get("error"):
                self._end(ours)
                raise UsageError(f"PYBUILD_RUNG is {rung.number} ({rung.name}), which does not work here: {reason}.")
            self._start_on = rung.number
        self.rung = rung
        return self._keep(ours, answer)

    def _order(self, ours: socket.socket, rung: int) -> tuple[socket.socket, dict[str, Any]]:
        """Have a process that has only examined the machine start on a rung; another one where it is too late."""
        with suppress(OSError):  # it has ended
            ours.send(marshal.dumps(rung))
            if hello := ours.recv(_MAX_MESSAGE):
                return ours, marshal.loads(hello)  # noqa: S302 - from a process of ours
        self._end(ours)
        return self._launch(rung)

    def _keep(self, ours: socket.socket, answer: dict[str, Any]) -> socket.socket:
        self.userns, self.single, self.unmapped = answer["userns"], answer["single"], answer["unmapped"]
        self._control, self._pid = ours, os.getpid()
        return ours

    def _end(self, ours: socket.socket) -> None:
        """Stop a process that is on the wrong rung."""
        ours.close()
        if self._process is not None:
            self._process.wait()
        self._lift()

    def _lift(self) -> None:
        """Remove the cgroup of a process that has ended."""
        if self.guard is not None:
            self.guard.close()

    def _find_tracer(self) -> None:
        """Try the tracer, once."""
        if self.place.tracer == UNTRIED:
            program, reason = (None, self._untraced) if self._untraced else tracer.usable()
            lossy = ""
            if program is not None and program.native:
                self.program = str(program.path)
            elif program is not None:
                self.proot, lossy = str(program.path), tracer.PROOT_LACKS
            self.place = msgspec.structs.replace(self.place, tracer=reason, lossy=lossy)

    def _launch(self, rung: int) -> tuple[socket.socket, dict[str, Any]]:
        """Start a process on a rung; return its socket and its description of itself.

        On rung 0, where that is impossible, or where another one is wanted, it waits for an order (see `_order`).
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            limits = standing_limits()
            scratch = self._scratch()
            self._scratches.append((os.getpid(), scratch))
            arguments = (str(Path(__file__).parent), str(theirs.fileno()), str(os.getpid()), str(scratch))
            numbers = (rung, limits.pids, int(bool(self._wanted and not rung)))
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START, *arguments, *map(str, numbers)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                cwd="/",
            )
            self._lift()
            self.guard = Guard(limits, self._process.pid)
        hello = ours.recv(_MAX_MESSAGE)
        if not hello:
            ours.close()
            raise UnsupportedError("The process that runs sandboxes did not start.", hint=ELSEWHERE)
        return ours, marshal.loads(hello)  # noqa: S302 - from a process of ours

    def trace(self, reason: str) -> None:
        """Switch to a rung with a tracer, if one works; `reason` says why layers cannot be stacked."""
        with self._lock:
            self._find_tracer()
            if self._wanted or not self.program or self._control is None:
                return
            place = msgspec.structs.replace(self.place, unstacked=reason)
            if (rung := best(climb(place))) is None:
                return
            self.place, self.rung, self._start_on = place, rung, rung.number
            self._end(self._control)
            self._control = None

    def refuse(self) -> UnsupportedError:
        """Return the error for layers that cannot be stacked, where no program of a copy may be run."""
        with self._lock:
            self.place = msgspec.structs.replace(self.place, unstacked=self._noexec)
        return UnsupportedError(f"RUN cannot start a program: {self._noexec}.", hint=ELSEWHERE)

    def close(self) -> None:
        """Stop the process, and everything that it runs."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._process is not None and self._pid == os.getpid():
                self._process.wait()
                self._lift()
                for pid, scratch in self._scratches:
                    if pid == os.getpid():
                        with suppress(OSError):
                            scratch.rmdir()
            self._process = None
            self._scratches = []

    def submit(self, kind: str, job: Any, fds: tuple[int, ...] = ()) -> socket.socket:
        """Start a job, and return its socket. `fds` are passed on; the caller keeps its own copies."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.hand_over(kind, job, (theirs.fileno(), *fds))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours

    def hand_over(self, kind: str, job: Any, fds: tuple[int, ...]) -> None:
        """Start a job that uses the socket whose descriptor is the first of `fds`."""
        content = os.memfd_create("job", os.MFD_CLOEXEC)
        try:
            view = memoryview(marshal.dumps(job))
            while view:
                view = view[os.write(content, view) :]
            os.lseek(content, 0, os.SEEK_SET)
            passed = array.array("i", [fds[0], content, *fds[1:]])
            with self._lock:
                self._send(kind.encode(), passed)
        finally:
            os.close(content)

    def _send(self, message: bytes, fds: array.array[int]) -> None:
        """Send to the helper, or to a new one when the last was killed from outside."""
        from .helper.messages import send  # the helper's modules only work on Linux

        # A process that it was just starting may hold its end of the socket a little longer, so that sending would
        # succeed.
        if self._process is not None and self._pid == os.getpid() and self._process.poll() is not None:
            self._drop()
        try:
            send(self._start(), message, list(fds))
        except ConnectionError:
            self._drop()
            send(self._start(), message, list(fds))

    def _drop(self) -> None:
        """Release a process that has died."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def call(
        self,
        kind: str,
        job: Any,
        cancel: Cancel | None = None,
        listener: Listener | None = None,
        fds: tuple[int, ...] = (),
    ) -> None:
        """Run a job to its end. `listener` receives each of its messages, with the descriptors that came with it.

        `fds` are passed on, as by `submit`.

        Raises JobFailed; Interrupted on `cancel`, once the job is dead.
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


def shut(channel: socket.socket) -> None:
    """Tell the helper that a job is no longer wanted; its last message still arrives."""
    with suppress(OSError):  # it may have ended by itself
        channel.shutdown(socket.SHUT_WR)


def receive(channel: socket.socket) -> tuple[Message, list[int]]:
    """Return a job's next message, with its descriptors; ("gone",) when the helper has ended."""
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
