"""One more process in a sandbox that is running, as `docker exec` starts it: in its namespaces, with its limits."""

from __future__ import annotations

import os
import signal
import sys

from . import execute, linux, restrict, signals, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .container import Report
    from .jobs import EnterJob

_NAMESPACES = ("cgroup", "ipc", "uts", "net", "pid", "mnt")
"""The mount namespace last: it takes the working directory, and the paths of the others, away."""


def start(job: EnterJob, pid: int, report: Report, channel: int, *, single: bool) -> NoReturn:
    """Become the process, in the namespaces of the process `pid`; this one waits for it, and ends as it does.

    Raises OSError when the sandbox has just ended, or is refused.
    """
    if job["runtime"]:
        for _ in range(2):  # of the process that runs the runtime, it, and the first of its container
            pid = next(iter(signals.children(pid)), pid)
    terminal.prepare(job["terminal"])
    flags = os.O_RDONLY | os.O_CLOEXEC
    spaces = [os.open(f"/proc/{pid}/ns/{name}", flags) for name in _NAMESPACES]
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for path in job["cgroups"]:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")
    # From here on, files are the image's: nothing may be imported from them.
    sys.path.clear()
    sys.meta_path.clear()
    for space in spaces:
        linux.setns(space, 0)
    os.fchdir(root)
    os.chroot(".")
    child = os.fork()
    if child:
        restrict.close_all_but()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(code if code >= 0 else 128 - code)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    if job["terminal"]:
        terminal.open_terminal(job["terminal"], report)
    restrict.close_all_but(channel)
    restrict.restrict(job, single=single, kept=False)
    execute.become(job["args"], job["env"])
