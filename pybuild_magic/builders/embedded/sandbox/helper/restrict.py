"""The rights that a sandbox's process loses before it begins: descriptors, limits, user, capabilities, system calls."""

from __future__ import annotations

import os
import resource

from . import linux, security
from .idmap import write_map
from .inside import enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .jobs import EnterJob, RunJob


_LOCKS = 10
"""RLIMIT_LOCKS, which Linux still has and Python does not name."""


def restrict(job: RunJob | EnterJob, *, single: bool, kept: bool) -> None:
    """Apply limits, then user and capabilities, then the call filter: each step needs what the next takes away."""
    set_limits(job["ulimits"])
    # By now nothing is open to which a path could lead, least of all through /proc/self/fd.
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    reached = True
    try:
        enter(root, job["cwd"])
    except PermissionError:
        reached = False  # only the process's own user may
    uid, gid, groups = job["uid"], job["gid"], job["groups"]
    if kept:
        uid = gid = 0  # the tracer makes it believe the rest
    elif single and (uid, gid) != (0, 0):
        become_only_id(uid, gid)
    mask = 0
    if not job["insecure"]:
        allowed = security.allowed(job["network"], job["capabilities"])
        mask = security.drop_capabilities(allowed)
        if "ALL" in (job["capabilities"] or ()):
            mask &= linux.permitted()
        if "CAP_SYS_ADMIN" not in allowed:
            security.filter_calls()
    if not single:
        for stream in (0, 1, 2):  # so that the user may open /dev/stdout
            os.fchown(stream, uid, -1)
        os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid == 0 and not job["insecure"]:
        linux.capset(mask, mask, 0)
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)  # the change of user reset it
    if not reached:
        enter(root, job["cwd"])
    os.close(root)


def close_all_but(*fds: int) -> None:
    """Close all descriptors except standard input, output and error, and `fds`, which lead to no file."""
    first = 3
    for fd in sorted(fds):
        if fd > first:
            os.closerange(first, fd)
        first = fd + 1
    linux.close_from(first)


def set_limits(ulimits: list[tuple[str, int, int]]) -> None:
    """Apply setrlimit(2) for each (name, soft, hard); the last of a name counts."""
    last = {name: (soft, hard) for name, soft, hard in ulimits}
    for name, (soft, hard) in last.items():
        number = _LOCKS if name == "locks" else getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            raise OSError(22, f"there is no limit named {name}")
        try:
            resource.setrlimit(number, (soft, hard))
        except ValueError as error:
            raise OSError(1, f"limit {name}={soft}:{hard}: {error}") from None


def become_only_id(uid: int, gid: int) -> None:
    """Give a single id the number of the requested user, in a further user namespace."""
    linux.unshare(linux.CLONE_NEWUSER)
    write_map("/proc/self/setgroups", "deny")
    write_map("/proc/self/uid_map", f"{uid} 0 1")
    write_map("/proc/self/gid_map", f"{gid} 0 1")
