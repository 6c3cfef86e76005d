"""Becoming proot, which replaces the tracer where an installation has none: a copy of the root, shown as "/".

It translates paths, and makes processes believe that they are other users; it remembers no owners of files. A process
killed by a signal ends with 255, and processes that outlive the first one are killed from here.
"""

from __future__ import annotations

import os
import select
import stat

from . import execute, linux, security, traced
from .container import cwd_owner
from .inside import Root, clean
from .light import signal
from .restrict import set_limits
from .signals import children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .container import Report
    from .jobs import RunJob

_QUIET = "-1"
_GLANCE = 0.01
"""Seconds between two checks whether proot has started the process, which nothing reports."""


def start(job: RunJob, report: Report, started: int) -> NoReturn:
    """Run proot with the job's process. Raises OSError when that fails, ExecuteError for the process.

    `started` is a pipe (or -1) that is closed when the process has begun.
    """
    root = Root(job["root"])
    for path in traced.BASE:
        os.close(root.directory(path))
    binds = {path: source for path, source, _ in traced.stage_binds(job, report, traced.Owners(""))}
    stubs = root.missing([path for path in binds if path not in traced.BASE])
    os.close(root.make(job["cwd"], directory=True, owner=cwd_owner(job)))
    report(("stubs", stubs))
    report(("created", root.created))
    environment = execute.parse_environment(job["env"])
    words = [job["proot"], "-v", _QUIET, "-r", job["root"], "-w", job["cwd"]]
    for path, source in binds.items():
        words += ["-b", f"{source}:{path}"]
    words += ["-i", f"{job['uid']}:{job['gid']}", _program(job, root, tuple(binds), environment), *job["args"][1:]]
    ended, end = os.pipe()
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.write(end, b"1"))
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)  # that is when the helper ends
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        set_limits(job["ulimits"])
        security.hide_new_calls()
        os.execve(job["proot"], words, environment)
    os._exit(_wait(child, ended, started))


def _wait(child: int, ended: int, started: int) -> int:
    """Return the exit code of proot; its processes are killed when the first has ended, or on a write to the pipe
    `ended`.

    Without proot they would go on, so proot itself is killed last.
    """
    proot = os.pidfd_open(child)
    while not (first := children(child)):
        if select.select([proot, ended], [], [], _GLANCE)[0]:
            break
    if started >= 0:
        os.close(started)
    if first:
        try:
            select.select([proot, ended, os.pidfd_open(first[0])], [], [])
        except ProcessLookupError:
            pass  # it was that quick
    while not select.select([proot], [], [], _GLANCE)[0]:
        for pid in _left(child):
            _kill(pid)
        if not first:
            _kill(child)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _left(proot: int) -> list[int]:
    """Return the processes below this one (orphans become its children), except proot itself."""
    pids: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children(todo.pop())
        todo += below
        pids += below
    return [pid for pid in pids if pid != proot]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended meanwhile


def _program(job: RunJob, root: Root, bound_paths: tuple[str, ...], environment: dict[str, str]) -> str:
    """Return the path of the command, because proot itself reports only that it failed. Raises ExecuteError."""
    for name in execute.candidates(job["args"], environment):
        path = clean(f"{job['cwd']}/{name}" if not name.startswith("/") else name)
        if path.startswith(tuple(f"{target}/" for target in bound_paths)):
            return path
        try:
            fd = root.open(path)
        except OSError:
            continue
        mode = os.fstat(fd).st_mode
        os.close(fd)
        if not (stat.S_ISREG(mode) and mode & 0o111):
            raise execute.ExecuteError(126, f'exec: "{job["args"][0]}": permission denied')
        return path
    raise execute.missing(job["args"])
