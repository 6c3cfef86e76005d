"""The helper's main loop: takes jobs from a socket, forks a process for each, kills it when the asker is gone.

A job comes as one message: its kind, and descriptors of a socket of its own, of a file with its (marshalled)
content and, for a process, of the pipes for its output. The job's socket carries what the job reports and, last,
how it ended; when the other side closes it, or shuts down its half, the job is killed with all its processes.
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

_MORE_LIKELY = 500
"""Of a thousand: how much sooner Linux kills a job than the helper when memory runs out."""


def main(control: socket.socket, parent: int, scratch: str, rung: int, most: int) -> None:
    """Serve until the process `parent`, or its end of the `control` socket, is gone.

    See `idmap.become` for `rung`, and for `most`, how many processes there may be.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        alive = os.pidfd_open(parent)
        if os.getppid() != parent:
            return
        identity, masks = idmap.become(rung, most), dict[str, str]()
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
    """A job that is running."""

    def __init__(
        self, name: str, pid: int, channel: socket.socket, kind: str = "run", door: socket.socket | None = None
    ) -> None:
        self.name = name
        self.door = door
        """Where its tracer takes more processes; None where it has none."""
        self.kind = kind
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = channel
        self.killed = False

    @property
    def tracer(self) -> int:
        """The process above that of the job, where there is one."""
        return signals.children(self.pid)[0] if self.kind == "run_proot" and signals.children(self.pid) else self.pid

    def order(self) -> tuple[str, int] | None:
        """Return the asker's next wish: a word and the number of a signal; None when it has no more."""
        try:
            message = self.channel.recv(MAX_MESSAGE, socket.MSG_DONTWAIT)
        except OSError:
            return None
        return marshal.loads(message) if message else None

    def kill(self) -> None:
        """Kill the first process of a PID namespace, or the leader of a process group.

        The one above proot kills what that follows, and ends then.
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
        """Return its wait status, once it has ended; what it could not clean up itself is gone then."""
        _, status = os.waitpid(self.pid, 0)
        if self.killed:
            runtime.remove_cgroups(self.name)
        return status


class Server:
    """The helper's state: the jobs that are running."""

    def __init__(self, control: socket.socket, alive: int, scratch: str, identity: idmap.Identity) -> None:
        self.control = control
        self.alive = alive
        self.scratch = scratch
        self.identity = identity
        self.self_fd = os.pidfd_open(os.getpid())
        self.poll = select.poll()
        self.jobs: dict[int, _Running] = {}
        """By either of its descriptors."""
        self.count = 0
        self.prefix = f"pybuild-{os.urandom(8).hex()}"
        self.name = ""
        """Of the job that is being started, unlike that of any other job on this machine."""
        self.spares: dict[bool, Spare] = {}
        """By whether it is the first of a PID namespace."""

    def serve(self) -> None:
        """Take jobs until there is nobody left to take them from."""
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
        """Kill what still runs: nobody wants it any more."""
        for job in set(self.jobs.values()):
            job.kill()
            job.wait()
        for spare in self.spares.values():
            spare.end()

    def prepare(self) -> None:
        """Fork the process of the next RUN while the builder is busy with the one before, so that it need not wait.

        In a user namespace also that of the next other job: what a RUN has changed is read by one.
        """
        if self.identity.traced:
            return
        security.filter_program()  # made once, here, for all that are forked
        for contained in (True, False) if self.identity.userns else (True,):
            if contained not in self.spares and (spare := self.fork_spare(contained=contained)):
                self.spares[contained] = spare

    def fork_spare(self, *, contained: bool) -> Spare | None:
        """Return a process for a job to come; None when there can be none, of which the job will say why."""
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
        """Take a new name."""
        self.count += 1
        self.name = f"{self.prefix}-{self.count}"

    def accept(self) -> bool:
        """Start the next job; False when the other side has closed the connection."""
        message, fds = receive(self.control)
        if not message:
            return False
        kind = message.decode()
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
        """Fork the process of a job, or give it to the one that waits for it."""
        door = None
        if kind == "run_kept" or (kind == "run" and self.identity.traced):
            door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            fds.insert(1, theirs.detach())
        spare = None if kind == "enter" else self.spares.pop(self.contains(kind), None)
        if spare and spare.take(kind, [channel.fileno(), *fds]):
            job = _Running(spare.name, spare.pid, channel, kind, door)
        else:
            self.next_name()
            pid = linux.clone(linux.CLONE_NEWPID) if self.contains(kind) else os.fork()
            if pid == 0:
                Job(self).work(kind, channel, fds)
            job = _Running(self.name, pid, channel, kind, door)
        for fd in (job.pidfd, channel.fileno()):
            self.jobs[fd] = job
            self.poll.register(fd, select.POLLIN | select.POLLRDHUP)

    def contains(self, kind: str) -> bool:
        """Return whether a job gets a PID namespace."""
        return kind == "run" and not self.identity.traced

    def first(self) -> _Running | None:
        """Return the sandbox that is running; None when there is none."""
        return next((job for job in self.jobs.values() if job.kind.startswith("run")), None)

    def attend(self, fd: int) -> None:
        """A job has ended (its pidfd is readable), or is to be ended (its socket has been closed)."""
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
            pass  # the asker has gone
        job.channel.close()
        if job.door is not None:
            job.door.close()
        os.close(job.pidfd)

    def forget(self, fd: int) -> None:
        """Look at a descriptor no more."""
        if self.jobs.pop(fd, None):
            self.poll.unregister(fd)


def join(cgroups: list[str]) -> None:
    """Become one of the cgroups' processes, with all that is started from now on."""
    for path in cgroups:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")


class Job:
    """The process of a job, from its fork to its end."""

    channel: socket.socket
    fds: list[int]
    ground: Ground | None = None

    def __init__(self, server: Server) -> None:
        self.server = server

    def wait(self, sock: socket.socket, *, contained: bool) -> None:
        """Be ready for a job, a RUN when it is `contained`, and do it once it comes; ends when the helper does."""
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
                pass  # the RUN will meet it again, and tell
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
        """Become a process group that ends with the helper and to which signals are what they are to any other."""
        os.setsid()
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if select.select([self.server.self_fd], [], [], 0)[0]:
            os._exit(1)
        linux.default_signals()
        self.offer()

    def offer(self) -> None:
        """Be killed before the helper, and the builder, when memory runs out."""
        try:
            with open("/proc/self/oom_score_adj", "r+", encoding="ascii") as file:
                score = min(int(file.read()) + _MORE_LIKELY, 1000)
                file.seek(0)
                file.write(str(score))
        except OSError:
            pass  # there is no /proc, or it cannot be written

    def do(self, kind: str, channel: socket.socket, fds: list[int]) -> None:
        """Do the job, and exit."""
        self.channel, self.fds = channel, fds
        code = 1
        try:
            with open(self.fds[0], "rb", closefd=False) as file:
                job: Any = marshal.load(file)
            getattr(self, f"do_{kind}")(job)
            code = 0
        except execute.ExecuteError as error:
            self.report(("error", error.code, str(error)))
        except inside.PathError as error:
            os.write(2, f"{error.strerror}\n".encode())  # and 1 as the exit code: so BuildKit tells it
        except OSError as error:
            self.report(("failed", error.errno, _reason(error)))
        except BaseException as error:
            self.report(("failed", 0, f"{type(error).__name__}: {error}"))
        finally:
            os._exit(code)

    def report(self, message: tuple[Any, ...], fds: list[int] | None = None, /) -> None:
        """Tell the asker, and pass on descriptors."""
        try:
            send(self.channel, marshal.dumps(message), fds or [])
        except OSError:
            pass  # gone, and this process will be killed

    def do_run_kept(self, job: RunJob) -> None:
        """Become the tracer of the process of a RUN, which is pid 1 of namespaces that the tracer is not in."""
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
        """Become the process of a RUN; `keeper` is the program of its tracer, and a socket to that."""
        door = -1
        if keeper is None:
            join(job["cgroups"])
            door = self.fds.pop(1) if job["tracer"] else -1
        started = self.fds.pop() if job["started"] else -1
        if started >= 0:
            os.set_inheritable(started, False)
        # As under BuildKit, standard input is a pipe: a device of the machine could be changed through /dev/stdin.
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
        """Make the descriptors that came with the job standard input, which is empty without one, output and error."""
        given = self.fds[3:4]
        if not given:
            empty, end = os.pipe()
            os.close(end)
            given = [empty]
        for fd, number in ((given[0], 0), (self.fds[1], 1), (self.fds[2], 2)):
            os.dup2(fd, number)

    def do_enter(self, job: EnterJob) -> None:
        """Become one more process of the sandbox that is running."""
        first = self.server.first()
        if not first:
            raise OSError(errno.ESRCH, "the run has ended")
        self.take_streams()
        identity = self.server.identity
        if identity.traced and first.door is None:
            raise OSError(errno.ENOTSUP, "proot, which stands in for the tracer here, takes no process more")
        if identity.traced and first.door is not None:
            traced.enter(job, first.door, self.report)
        enter.start(job, first.pid, self.report, self.channel.fileno(), single=identity.single, door=first.door)

    def do_extract(self, job: Any) -> None:
        """Write the directory of a layer."""
        identity = self.server.identity
        remembered = job["remembered"]
        believed = traced.disguise(job, modes=identity.traced) if remembered else {}
        devices = not identity.userns and (remembered or not identity.traced)
        extract.extract(job, userns=identity.userns, single=identity.single, traced=identity.traced, devices=devices)
        if remembered:
            traced.remember(job["owners"], believed)

    def do_changes(self, job: ChangesJob) -> None:
        """Tell the entries of the layer that a RUN has made, with open files for their contents."""
        sender = Sender(self.channel, self.fds[1])
        changes.find(job, sender.add if job["contents"] else lambda row, _: sender.add(row, b""))
        sender.flush()

    def do_open(self, job: OpenJob) -> None:
        """Open files of what a RUN has made."""
        sender = Sender(self.channel, self.fds[1])
        changes.open_files(job["changes"], job["paths"], sender.send)
        sender.flush()

    def do_move(self, paths: list[str]) -> None:
        """Give a directory, which may be that of a subordinate user, another name."""
        os.rename(*paths)

    def do_remove(self, paths: list[str]) -> None:
        """Delete directories that may hold files of subordinate users."""
        for path in paths:
            if os.path.lexists(path):
                mounts.remove_tree(path)

    def do_probe(self, directory: str) -> None:
        """See `probes.overlay`."""
        probes.overlay(directory, self.server.scratch, userns=self.server.identity.userns)

    def do_probe_image(self, directory: str) -> None:
        """See `probes.image`."""
        probes.image(directory, self.server.scratch, userns=self.server.identity.userns)


def start(control: str, parent: str, scratch: str, rung: str, most: str) -> None:
    """Serve, with the arguments of a command line: those of `main`, the first a descriptor."""
    os.set_inheritable(int(control), False)
    main(socket.socket(fileno=int(control)), int(parent), scratch, int(rung), int(most))


def _reason(error: OSError) -> str:
    """Return the system's words, and the file that they are about, without Python's number."""
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    return f"{error.strerror or error}{where}"
