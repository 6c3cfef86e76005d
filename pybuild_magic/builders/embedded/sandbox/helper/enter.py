"""An additional process in a running sandbox, as `docker exec` starts it: in its namespaces, with its limits."""

from __future__ import annotations

import os
import sys

from . import execute, linux, restrict, signals, terminal, traced
from .light import signal, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .container import Report
    from .jobs import EnterJob

_NAMESPACES = ("cgroup", "ipc", "uts", "net", "pid", "mnt")
"""The namespaces to enter, the mount namespace last: entering it changes the working directory and hides the paths of
the others.
"""


def start(
    job: EnterJob, pid: int, report: Report, channel: int, *, single: bool, door: socket.socket | None = None
) -> NoReturn:
    """Become the process, in the namespaces of the process `pid`; this process waits for it, and ends as it does.

    With a `door`, `pid` is the tracer of the process that has the namespaces, and traces this process too. Raises
    OSError when the sandbox has just ended, or the system refuses.
    """
    program = -1
    if door is not None:
        pid = next(iter(signals.children(pid)), pid)
        program = os.open(job["tracer"], os.O_RDONLY | os.O_CLOEXEC)
    if job["runtime"]:
        for _ in range(2):  # the process that runs the runtime, the runtime, and the first process of its container
            pid = next(iter(signals.children(pid)), pid)
    terminal.prepare(job["terminal"])
    spaces = [space for name in _NAMESPACES if (space := _other_namespace(pid, name)) >= 0]
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for path in job["cgroups"]:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")
    # From here on, files come from the image: nothing may be imported from them.
    sys.path.clear()
    sys.meta_path.clear()
    for space in spaces:
        linux.setns(space, 0)
    os.fchdir(root)
    os.chroot(".")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child:
        if door is not None:
            traced.announce(door, job, child, theirs)
        restrict.close_all_but()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    if job["terminal"]:
        terminal.open_terminal(job["terminal"], report)
    followed = ours.detach() if door is not None else -1
    restrict.close_all_but(channel, *({program, followed} - {-1}))
    restrict.restrict(job, single=single, kept=door is not None)
    if door is not None:
        execute.check(job["args"], job["env"])
        execute.follow(program, followed, job)
    execute.become(job["args"], job["env"])


def _other_namespace(pid: int, name: str) -> int:
    """Open a namespace of a process; -1 for one shared with this process, because opening the machine's own needs
    privileges.
    """
    path = f"/proc/{pid}/ns/{name}"
    if os.path.samefile(path, f"/proc/self/ns/{name}"):
        return -1
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
