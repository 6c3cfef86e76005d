"""The process of a job, from its fork to its end: a RUN, a process that enters one, or work on files."""

from __future__ import annotations

import errno
import marshal
import os
import select

from . import (
    changes,
    container,
    enter,
    execute,
    extract,
    inside,
    linux,
    mounts,
    probes,
    proot,
    runtime,
    traced,
)
from .ground import Ground
from .light import signal, socket
from .messages import receive, send
from .sender import Sender

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .jobs import ChangesJob, EnterJob, OpenJob, RunJob
    from .server import Server

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
"""The signals that do not end the helper; a job has the default for all, and inherits it for the others."""
_MORE_LIKELY = 500
"""Out of a thousand: how much more readily Linux kills a job than the helper when memory runs out."""


def join(cgroups: list[str]) -> None:
    """Join the cgroups; this includes everything that is started from now on."""
    for path in cgroups:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")


class Job:
    """The process of a job, from fork to end."""

    channel: socket.socket
    fds: list[int]
    ground: Ground | None = None

    def __init__(self, server: Server) -> None:
        self.server = server

    def wait(self, sock: socket.socket, *, contained: bool) -> None:
        """Wait for a job (a RUN when it is `contained`) and do it; end when the helper ends."""
        try:
            keep = sorted((sock.fileno(), self.server.self_fd))
            for first, last in zip((2, keep[0]), keep, strict=True):
                os.closerange(first + 1, last)
            linux.close_from(keep[-1] + 1)
            self.begin()
            try:
                if contained:
                    self.ground = Ground(self.server.scratch, self.server.identity)
            except OSError:
                pass  # the RUN will meet the same error, and report it
            message, fds = receive(sock)
            if not message:
                os._exit(1)
            sock.close()
        except BaseException:
            os._exit(1)
        self.do(message.decode(), socket.socket(fileno=fds[0]), fds[1:])

    def work(self, kind: str, channel: socket.socket, fds: list[int]) -> None:
        """Do the job, and exit."""
        try:
            self.begin()
        except BaseException:
            os._exit(1)
        self.do(kind, channel, fds)

    def begin(self) -> None:
        """Become a process group that ends with the helper, with default signal handling."""
        os.setsid()
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if select.select([self.server.self_fd], [], [], 0)[0]:
            os._exit(1)
        for number in IGNORED:
            signal.signal(number, signal.SIG_DFL)
        self.offer()

    def offer(self) -> None:
        """Be killed before the helper and the builder when memory runs out."""
        try:
            fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            try:
                os.pwrite(fd, b"%d" % min(int(os.read(fd, 16)) + _MORE_LIKELY, 1000), 0)
            finally:
                os.close(fd)
        except OSError:
            pass  # there is no /proc, or it is read-only

    def do(self, kind: str, channel: socket.socket, fds: list[int]) -> None:
        """Do the job, and exit."""
        self.channel, self.fds = channel, fds
        code = 1
        try:
            job: Any = marshal.loads(os.read(self.fds[0], os.fstat(self.fds[0]).st_size))
            getattr(self, f"do_{kind}")(job)
            code = 0
        except execute.ExecuteError as error:
            self.report(("error", error.code, str(error)))
        except inside.PathError as error:
            os.write(2, f"{error.strerror}\n".encode())  # with 1 as the exit code, as BuildKit reports it
            self.report(("workdir",))
        except OSError as error:
            self.report(("failed", error.errno, reason(error)))
        except BaseException as error:
            self.report(("failed", 0, f"{type(error).__name__}: {error}"))
        finally:
            os._exit(code)

    def report(self, message: tuple[Any, ...], fds: list[int] | None = None, /) -> None:
        """Report to the client, and pass on descriptors."""
        try:
            send(self.channel, marshal.dumps(message), fds or [])
        except OSError:
            pass  # the client has gone, and this process will be killed

    def do_run_kept(self, job: RunJob) -> None:
        """Become the tracer of the process of a RUN; that is pid 1 of namespaces that the tracer is not in."""
        join(job["cgroups"])
        door = self.fds.pop(1)
        os.dup2(self.fds[2], 2)
        ours, theirs = socket.socketpair()
        program = os.open(job["keeper"], os.O_RDONLY | os.O_CLOEXEC)
        if pid := linux.clone(linux.CLONE_NEWPID):
            os.set_inheritable(ours.fileno(), True)
            words = [job["keeper"], "--process", str(pid), "--channel", str(ours.fileno()), "--owners", job["owners"]]
            words += ["--upper", job["upper"]] if job["upper"] else []
            words += ["--spare", job["spare"], *(["--init"] if job["init"] else [])]
            words += ["--door", str(door)] if job["started"] else []
            os.set_inheritable(door, job["started"])
            words += ["--user", f"{job['uid']}:{job['gid']}", "--groups", ",".join(map(str, job["groups"]))]
            os.execve(job["keeper"], words, {})
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        ours.close()
        self.do_run(job, (program, theirs.detach()))

    def do_run(self, job: RunJob, keeper: tuple[int, int] | None = None) -> None:
        """Become the process of a RUN; `keeper` has the program of its tracer, and a socket to it."""
        door = -1
        if keeper is None:
            join(job["cgroups"])
            door = self.fds.pop(1) if job["tracer"] else -1
        started = self.fds.pop() if job["started"] else -1
        if started >= 0:
            os.set_inheritable(started, False)
        # As under BuildKit, standard input is a pipe: through /dev/stdin, a device of the machine could be changed.
        self.take_streams()
        if job["tracer"]:
            traced.start(job, self.report, door, started)
        box = container.Container(
            job,
            self.server.scratch,
            self.ground or Ground(self.server.scratch, self.server.identity),
            keeper=keeper,
            started=started,
        )
        if job["runtime"]:
            runtime.start(box, self.server.name, self.report)
        box.start(self.report, self.channel.fileno())

    def do_run_proot(self, job: RunJob) -> None:
        """Run proot with the process of a RUN."""
        join(job["cgroups"])
        started = self.fds.pop() if job["started"] else -1
        if started >= 0:
            os.set_inheritable(started, False)
        self.take_streams()
        proot.start(job, self.report, started)

    def take_streams(self) -> None:
        """Use the descriptors of the job as standard input (empty without one), output and error."""
        stdin_fds = self.fds[3:4]
        if not stdin_fds:
            empty, end = os.pipe()
            os.close(end)
            stdin_fds = [empty]
        for fd, number in ((stdin_fds[0], 0), (self.fds[1], 1), (self.fds[2], 2)):
            os.dup2(fd, number)

    def do_enter(self, job: EnterJob) -> None:
        """Become an additional process of the running sandbox."""
        first = self.server.first()
        if not first:
            raise OSError(errno.ESRCH, "the run has ended")
        self.take_streams()
        identity = self.server.identity
        if identity.traced and first.door is None:
            raise OSError(errno.ENOTSUP, "proot, which replaces the tracer here, cannot start another process in a run")
        if identity.traced and first.door is not None:
            traced.enter(job, first.door, self.report)
        enter.start(job, first.pid, self.report, self.channel.fileno(), single=identity.single, door=first.door)

    def do_extract(self, job: Any) -> None:
        """Extract a layer into a directory."""
        identity = self.server.identity
        remembered = job["remembered"]
        owners = traced.disguise(job, modes=identity.traced) if remembered else {}
        devices = not identity.userns and (remembered or not identity.traced)
        extract.extract(job, userns=identity.userns, single=identity.single, traced=identity.traced, devices=devices)
        if remembered:
            traced.remember(job["owners"], owners)

    def do_changes(self, job: ChangesJob) -> None:
        """Report the entries of the layer that a RUN made, with open files for their contents."""
        sender = Sender(self.channel, self.fds[1])
        changes.find(job, sender.add if job["contents"] else lambda row, _: sender.add(row, b""))
        sender.flush()

    def do_open(self, job: OpenJob) -> None:
        """Open changed files of a RUN."""
        sender = Sender(self.channel, self.fds[1])
        changes.open_files(job["changes"], job["paths"], sender.send)
        sender.flush()

    def do_move(self, paths: list[str]) -> None:
        """Rename a directory, which may belong to a subordinate user."""
        os.rename(*paths)

    def do_remove(self, paths: list[str]) -> None:
        """Delete directories, which may contain files of subordinate users."""
        for path in paths:
            if os.path.lexists(path):
                mounts.remove_tree(path)

    def do_probe(self, directory: str) -> None:
        """Report which of `probes.overlay` and, if there is an image in `directory`, `probes.image` succeed."""
        identity = self.server.identity
        probes.overlay(directory, self.server.scratch, userns=identity.userns)
        self.report(("overlay",))
        if os.path.exists(f"{directory}/image"):
            probes.image(directory, self.server.scratch, userns=identity.userns)
            self.report(("image",))


def reason(error: OSError) -> str:
    """Return the system's message, and the file that it is about, without Python's error number."""
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    return f"{error.strerror or error}{where}"
