"""The helper's main loop: takes jobs from a socket, forks a process for each, kills it when its client is gone.

A job comes as one message: its kind, and descriptors of the job's own socket, of a file with its (marshalled) content
and, for a process, of the pipes for its output. The job's socket carries the job's reports and, last, its outcome; when
the other side closes it, or shuts down its half, the job is killed with all its processes.
"""

from __future__ import annotations

import marshal
import os
import select

from . import idmap, linux, probes, runtime, security, signals
from .light import signal, socket
from .messages import MAX_MESSAGE, receive
from .spare import Spare
from .worker import IGNORED, Job, reason

_NAMESPACE = "/proc/self/ns/user"


def main(control: socket.socket, parent: int, scratch: str, rung: int, limit: int, *, examine: bool) -> None:
    """Serve until the process `parent`, or its end of the `control` socket, is gone.

    See `idmap.become` for `rung`, and for `limit`, the limit of processes. With `examine`, only say what the machine
    allows; then, as after a rung that it does not allow, wait for the number of the rung to serve on.
    """
    linux.default_signals()
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    try:
        alive = os.pidfd_open(parent)
        if os.getppid() != parent:
            return
        namespace = os.stat(_NAMESPACE).st_ino
    except OSError as error:
        control.send(marshal.dumps({"error": reason(error)}))
        return
    identity = None
    if not examine:
        identity = settle(control, scratch, rung, limit)
    elif child := os.fork():
        if os.waitpid(child, 0)[1]:
            return
    else:
        try:
            settle(control, scratch, rung, limit)
            os._exit(0)
        finally:
            os._exit(1)
    while identity is None:
        # What has entered a user namespace before it failed cannot leave it.
        if os.stat(_NAMESPACE).st_ino != namespace or not (order := control.recv(MAX_MESSAGE)):
            return
        identity = settle(control, scratch, marshal.loads(order), limit)
    Server(control, alive, scratch, identity).serve()


def settle(control: socket.socket, scratch: str, rung: int, limit: int) -> idmap.Identity | None:
    """Become what the rung demands and say what that is, or why that is impossible."""
    try:
        identity, masks = idmap.become(rung, limit), dict[str, str]()
        if not identity.traced:
            linux.unshare(linux.CLONE_NEWNS)
            linux.mount("none", "/", "", linux.MS_REC | linux.MS_SLAVE)
            masks = {} if rung else probes.masks(scratch, linux.clone)
        os.umask(0o022)
    except OSError as error:
        control.send(marshal.dumps({"error": reason(error)}))
        return None
    control.send(marshal.dumps(vars(identity) | masks))
    return identity


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
        try:
            pid = linux.clone(linux.CLONE_NEWPID if contained else 0)
            if pid == 0:
                Job(self).wait(theirs, contained=contained)
        except OSError:
            ours.close()
            return None
        finally:
            theirs.close()
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
            channel.send(marshal.dumps(("failed", error.errno, reason(error))))
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


def start(control: str, parent: str, scratch: str, rung: str, limit: str, examine: str) -> None:
    """Serve, with the arguments of a command line: those of `main`, the first of which is a descriptor."""
    os.set_inheritable(int(control), False)
    main(socket.socket(fileno=int(control)), int(parent), scratch, int(rung), int(limit), examine=examine == "1")
