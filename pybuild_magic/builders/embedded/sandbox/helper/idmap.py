"""Becoming root without privileges: a user namespace, with the user's subordinate ids where there are any."""

from __future__ import annotations

import os
import resource

from . import linux, security

CAP_SETUID_BIT, CAP_SYS_ADMIN_BIT = 7, 21


class Identity:
    """The helper's identity: `userns` is true in any user namespace but the first; `single` when there is only one id.

    `unmapped` is the reason why there are no more ids, where a program should have mapped some.
    """

    def __init__(self, unmapped: str = "", *, traced: bool = False, masked: bool = False) -> None:
        self.traced = traced
        """Whether a tracer replaces namespaces."""
        self.masked = masked
        """Whether to behave as if a new /proc and pivot_root were denied."""
        ranges = own_ids()
        self.userns = ranges != [(0, 0, 4_294_967_295)] and not traced
        self.single = sum(count for _, _, count in ranges) == 1 or traced
        self.unmapped = unmapped if self.single else ""


def own_ids() -> list[tuple[int, ...]]:
    """Return the ranges of user ids in this user namespace: the first id here, the first outside, and their count."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        return [tuple(map(int, line.split())) for line in file]


MASKED, ONE_ID, ROOTED, NOTHING = 2, 3, 4, 5
"""All rungs except the first, see `sandbox.rungs`."""


def become(rung: int, limit: int = 0) -> Identity:
    """Become root as a rung demands; 0 stands for the best that namespaces allow. Raises OSError where Linux forbids
    it.

    A user namespace may have `limit` processes, however many the user may have outside; 0 means any number.
    """
    if rung == NOTHING:
        security.drop_rights()
    if rung in (ROOTED, NOTHING):
        return Identity(traced=True)
    unmapped = ""
    if rung == ONE_ID:
        unmapped = "PYBUILD_RUNG is 3"
        _enter_limited(limit, unmapped)
    elif os.geteuid() != 0 or not _has_capability(CAP_SYS_ADMIN_BIT):
        unmapped = _enter_limited(limit)
    return Identity(unmapped, masked=rung == MASKED)


def _enter_limited(limit: int, unmapped: str = "") -> str:
    """Enter a user namespace with a lowered RLIMIT_NPROC, which it takes as the limit for all processes in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if limit and (soft < 0 or limit < soft):
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, hard))
    try:
        return _enter_user_namespace(unmapped)
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


def _has_capability(bit: int) -> bool:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> bit & 1)
    return False


def _enter_user_namespace(single: str = "") -> str:
    """Become root of a new user namespace; return why it has only one id, "" when it has more.

    `single` is the reason if it must not have more.
    """
    uid, gid = os.geteuid(), os.getegid()
    if single:
        linux.unshare(linux.CLONE_NEWUSER)
        reason = single
    else:
        reason = _enter_mapped(uid, gid)
    if reason:
        write_map("/proc/self/setgroups", "deny")
        write_map("/proc/self/uid_map", f"0 {uid} 1")
        write_map("/proc/self/gid_map", f"0 {gid} 1")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if not reason:
        os.setgroups([])
    return reason


def _enter_mapped(uid: int, gid: int) -> str:
    """Enter a new user namespace whose ids are mapped by a process outside; return why that failed."""
    mapper, ready, outcome_fd = _start_mapper(os.getpid(), uid, gid)
    try:
        linux.unshare(linux.CLONE_NEWUSER)
        os.write(ready, b"1")
    finally:
        os.close(ready)
        reason = os.read(outcome_fd, 4096).decode(errors="replace")
        os.close(outcome_fd)
        os.waitpid(mapper, 0)
    return reason


def _start_mapper(pid: int, uid: int, gid: int) -> tuple[int, int, int]:
    """Fork a process that stays outside and maps a range of ids for `pid`, once a byte is written to the first pipe.

    If that fails, it writes the reason to the second pipe and leaves the maps as they were; on success it writes
    nothing.
    """
    wait, ready = os.pipe()
    outcome_fd, answer_fd = os.pipe()
    child = os.fork()
    if child:
        os.close(wait)
        os.close(answer_fd)
        return child, ready, outcome_fd
    reason = "the process that maps ids failed"
    try:
        os.close(ready)
        if os.read(wait, 1):
            reason = _map_range(pid, uid, gid)
    finally:
        os.write(answer_fd, reason.encode()[:4096])
        os._exit(0)


def _map_range(pid: int, uid: int, gid: int) -> str:
    """Map the user's ids; return the reason if that fails, else ""."""
    if uid == 0 and _has_capability(CAP_SETUID_BIT):
        write_map(f"/proc/{pid}/uid_map", "0 0 65536")
        write_map(f"/proc/{pid}/gid_map", "0 0 65536")
        return ""
    uids, gids = apart(subordinate("/etc/subuid", uid), uid), apart(subordinate("/etc/subgid", uid), gid)
    tools = find("newuidmap"), find("newgidmap")
    if not all(tools):
        return "newuidmap and newgidmap are not installed"
    if not (uids and gids):
        return f"/etc/subuid and /etc/subgid assign no ids to the user {uid}"
    return _run(tools[0], pid, uid, uids) or _run(tools[1], pid, gid, gids)


def _run(tool: str, pid: int, own: int, ranges: list[tuple[int, int]]) -> str:
    """Run newuidmap or newgidmap; return its message when it fails."""
    arguments, inside = [tool, str(pid), "0", str(own), "1"], 1
    for start, count in ranges:
        arguments += [str(inside), str(start), str(count)]
        inside += count
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(write, 2)
            os.execv(tool, arguments)
        finally:
            os._exit(127)
    os.close(write)
    with open(read, "rb") as file:
        output = file.read(2000).decode(errors="replace").strip()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "" if status == 0 else output or f"{tool} ended with {status}"


def find(tool: str) -> str:
    """Return the path of a set-user-ID tool: in the distributions' usual place first, then on PATH."""
    for directory in ("/usr/bin", "/usr/sbin", "/bin", *os.environ.get("PATH", "").split(":")):
        if directory and os.access(path := f"{directory}/{tool}", os.X_OK):
            return path
    return ""


def subordinate(file: str, uid: int) -> list[tuple[int, int]]:
    """Return the (start, count) ranges that subuid(5) or subgid(5) assigns to the user."""
    import pwd

    names = {str(uid)}
    try:
        names.add(pwd.getpwuid(uid).pw_name)
    except KeyError:
        pass
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            rows = [line.strip().split(":") for line in lines]
    except OSError:
        return []
    return [
        (int(row[1]), int(row[2]))
        for row in rows
        if len(row) == 3 and row[0] in names and row[1].isdigit() and row[2].isdigit() and int(row[2]) > 0
    ]


def apart(ranges: list[tuple[int, int]], own: int) -> list[tuple[int, int]]:
    """Return the parts of the ranges that have each id once, and `own` not at all: Linux refuses a map that overlaps
    itself.
    """
    taken = [(own, own + 1)]
    for start, count in ranges:
        rest = [(start, start + count)]
        for low, high in taken:
            rest = [
                part
                for first, end in rest
                for part in ((first, min(end, low)), (max(first, high), end))
                if part[0] < part[1]
            ]
        taken += rest
    return [(first, end - first) for first, end in taken[1:]]


def write_map(path: str, text: str) -> None:
    """Write an id map file of /proc, which takes a single write."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
