"""The helper's main loop: takes jobs from a socket, forks a process for each, kills it when its client is gone.

A job comes as one message: its kind, and descriptors of the job's own socket, of a file with its (marshalled) content
and, for a process, of the pipes for its output. The job's socket carries the job's reports and, last, its outcome; when
the other side closes it, or shuts down its half, the job is killed with all its processes.
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import signal
import socket

from . import (
    changes,
    container,
    enter,
    execute,
    extract,
    idmap,
    inside,
    linux,
    mounts,
    probes,
    proot,
    runtime,
    security,
    signals,
    traced,
)
from .ground import Ground
from .messages import MAX_MESSAGE, receive, send
from .sender import Sender
from .spare import Spare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .jobs import ChangesJob, EnterJob, OpenJob, RunJob

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
"""The signals that do not end the helper; a job has the default for all, and inherits it for the others."""
_MORE_LIKELY = 500
"""Out of a thousand: how much more readily Linux kills a job than the helper when memory runs out."""


def main(control: socket.socket, parent: int, scratch: str, rung: int, limit: int) -> None:
    """Serve until the process `parent`, or its end of the `control` socket, is gone.

    See `idmap.become` for `rung`, and for `limit`, the limit of processes.
    """
    linux.default_signals()
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    try:
        alive = os.pidfd_open(parent)
        if os.getppid() != parent:
            return
        identity, masks = idmap.become(rung, limit), dict[str, str]()
        if not identity.traced:
            linux.unshare(linux.CLONE_NEWNS)
            linux.mount("none", "/", "", linux.MS_REC | linux.MS_SLAVE)
            masks = {} if rung else probes.masks(scratch, linux.clone)
        os.umask(0o022)
    except OSError as error:
        control.send(marshal.dumps({"error": _reason(error)}))
        return
    control.send(marshal.dumps(vars(identity) | masks))
    Server(control, alive, scratch, identity).serve()


class _Running:
    """A running job."""

    def __init__(
        self,
        name: str,
        pid: int,
        channel: socket.socket,
        kind: str = "run",
        door: socket.socket | None = None,
        tag: str = "",
    ) -> None:
        self.name = name
        self.door = door
        """The descriptor through which its tracer accepts more processes; None when it cannot."""
        self.kind = kind
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = channel
        self.tag = tag
        self.killed = False

    @property
    def tracer(self) -> int:
        """The process above the job's process, where there is one."""
        return signals.children(self.pid)[0] if self.kind == "run_proot" and signals.children(self.pid) else self.pid

    def order(self) -> tuple[str, int] | None:
        """Return the client's next command: a word and a signal number; None when there are no more."""
        try:
            message = self.channel.recv(MAX_MESSAGE, socket.MSG_DONTWAIT)
        except OSError:
            return None
        return marshal.loads(message) if message else None

    def kill(self) -> None:
        """Kill the first process of a PID namespace, or the leader of a process group.

        The process above proot kills the processes below it, and ends then.
        """
        self.killed = True
        if self.kind == "run_proot":
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def wait(self) -> int:
        """Return the wait status of an ended job, and clean up what the job itself could not."""
        _, status = os.waitpid(self.pid, 0)
        if self.killed:
            runtime.remove_cgroups(self.name)
        return status


class Server:
    """The state of the helper: the running jobs."""

    def __init__(self, control: socket.socket, alive: int, scratch: str, identity: idmap.Identity) -> None:
        self.control = control
        self.alive = alive
        self.scratch = scratch
        self.identity = identity
        self.self_fd = os.pidfd_open(os.getpid())
        self.poll = select.poll()
        self.jobs: dict[int, _Running] = {}
        """The jobs by either of their descriptors."""
        self.count = 0
        self.prefix = f"pybuild-{os.urandom(8).hex()}"
        self.name = ""
        """The name of the job that is being started, unique on this machine."""
        self.tag = ""
        """The tag of that job's sandbox, by which other processes can enter it."""
        self.spares: dict[bool, Spare] = {}
        """Prepared processes, by whether they are the first of a PID namespace."""

    def serve(self) -> None:
        """Accept jobs until the client has gone."""
        self.poll.register(self.control.fileno(), select.POLLIN)
        self.poll.register(self.alive, select.POLLIN)
        while True:
            self.prepare()
            for fd, _ in self.poll.poll():
                if fd == self.alive or (fd == self.control.fileno() and not self.accept()):
                    self.close()
                    return
                if fd in self.jobs:
                    self.attend(fd)

    def close(self) -> None:
        """Kill all running jobs: nobody wants them any more."""
        for job in set(self.jobs.values()):
            job.kill()
            job.wait()
        for spare in self.spares.values():
            spare.end()

    def prepare(self) -> None:
        """Fork the process of the next RUN while the builder is busy with the current one, so that it need not wait.

        In a user namespace also fork that of the next other job, which will read the changes of a RUN.
        """
        if self.identity.traced:
            return
        security.filter_program()  # made once, here, for all forked processes, as is the next
        security.last_capability()
        for contained in (True, False) if self.identity.userns else (True,):
            if contained not in self.spares and (spare := self.fork_spare(contained=contained)):
                self.spares[contained] = spare

    def fork_spare(self, *, contained: bool) -> Spare | None:
        """Return a process for a future job; None when that is impossible, which the job itself will report."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.next_name()
        with theirs:
            try:
                pid = linux.clone(linux.CLONE_NEWPID if contained else 0)
            except OSError:
                ours.close()
                return None
            if pid == 0:
                Job(self).wait(theirs, contained=contained)
        return Spare(self.name, pid, ours)

    def next_name(self) -> None:
        """Generate a new name."""
        self.count += 1
        self.name = f"{self.prefix}-{self.count}"

    def accept(self) -> bool:
        """Start the next job; return False when the other side has closed the connection."""
        message, fds = receive(self.control)
        if not message:
            return False
        kind, _, self.tag = message.decode().partition(" ")
        channel = socket.socket(fileno=fds[0])
        try:
            self.launch(kind, channel, fds[1:])
        except OSError as error:
            channel.send(marshal.dumps(("failed", error.errno, _reason(error))))
            channel.close()
        finally:
            for fd in fds[1:]:
                os.close(fd)
        return True

    def launch(self, kind: str, channel: socket.socket, fds: list[int]) -> None:
        """Fork the process of a job, or give the job to the process that waits for it."""
        door = None
        if kind == "run_kept" or (kind == "run" and self.identity.traced):
            door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            fds.insert(1, theirs.detach())
        spare = None if kind == "enter" else self.spares.pop(self.contains(kind), None)
        if spare and spare.take(kind, [channel.fileno(), *fds]):
            job = _Running(spare.name, spare.pid, channel, kind, door, self.tag)
        else:
            self.next_name()
            pid = linux.clone(linux.CLONE_NEWPID) if self.contains(kind) else os.fork()
            if pid == 0:
                Job(self).work(kind, channel, fds)
            job = _Running(self.name, pid, channel, kind, door, self.tag)
        for fd in (job.pidfd, channel.fileno()):
            self.jobs[fd] = job
            self.poll.register(fd, select.POLLIN | select.POLLRDHUP)

    def contains(self, kind: str) -> bool:
        """Return whether a job gets a PID namespace."""
        return kind == "run" and not self.identity.traced

    def first(self) -> _Running | None:
        """Return the running sandbox with the tag; None when it has ended."""
        return next((job for job in self.jobs.values() if job.kind.startswith("run") and job.tag == self.tag), None)

    def attend(self, fd: int) -> None:
        """Handle the end of a job (its pidfd is readable) or the demand to end it (its socket was closed)."""
        job = self.jobs[fd]
        if fd != job.pidfd:
            if order := job.order():
                below = job.kind == "run_kept" or self.identity.traced != (job.kind == "enter")
                first = job.kind != "enter" and not self.identity.traced
                if not signals.deliver(job.tracer, *order, below=below, first=first):
                    job.kill()
            else:
                job.kill()
                self.forget(fd)
            return
        status = job.wait()
        self.forget(job.pidfd)
        self.forget(job.channel.fileno())
        try:
            job.channel.send(marshal.dumps(("exit", os.waitstatus_to_exitcode(status))))
        except OSError:
            pass  # the client has gone
        job.channel.close()
        if job.door is not None:
            job.door.close()
        os.close(job.pidfd)

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor."""
        if self.jobs.pop(fd, None):
            self.poll.unregister(fd)


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
                    self.ground = Ground(self.server.scratch, userns=self.server.identity.userns)
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
        for number in _IGNORED:
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
            self.report(("failed", error.errno, _reason(error)))
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
            ours.set_inheritable(True)
            words = [job["keeper"], "--process", str(pid), "--channel", str(ours.fileno()), "--owners", job["owners"]]
            words += ["--upper", job["upper"]] if job["upper"] else []
            words += ["--init"] if job["init"] else []
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
        identity = self.server.identity
        if job["tracer"]:
            traced.start(job, self.report, door, started)
        box = container.Container(
            job,
            self.server.scratch,
            self.ground or Ground(self.server.scratch, userns=identity.userns),
            userns=identity.userns,
            single=identity.single,
            masked=identity.masked,
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
        proot.start(job, self.report)

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
        """See `probes.overlay`."""
        probes.overlay(directory, self.server.scratch, userns=self.server.identity.userns)

    def do_probe_image(self, directory: str) -> None:
        """See `probes.image`."""
        probes.image(directory, self.server.scratch, userns=self.server.identity.userns)


def start(control: str, parent: str, scratch: str, rung: str, limit: str) -> None:
    """Serve, with the arguments of a command line: those of `main`, the first of which is a descriptor."""
    os.set_inheritable(int(control), False)
    main(socket.socket(fileno=int(control)), int(parent), scratch, int(rung), int(limit))


def _reason(error: OSError) -> str:
    """Return the system's message, and the file that it is about, without Python's error number."""
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    return f"{error.strerror or error}{where}"
