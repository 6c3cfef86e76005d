"""Becoming root without being root: a user namespace, with the subordinate ids of the user where there are any."""

from __future__ import annotations

import contextlib
import os
import resource

from . import linux, security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

CAP_SETUID_BIT, CAP_SYS_ADMIN_BIT = 7, 21


class Identity:
    """Who the helper is: `userns` in any user namespace but the first; `single` when one id stands for all.

    `unmapped` says why it has not more ids, where some program should have given them.
    """

    def __init__(self, unmapped: str = "", *, traced: bool = False, masked: bool = False) -> None:
        self.traced = traced
        """Whether there are no namespaces: a tracer does what they would."""
        self.masked = masked
        """Whether to do as if a new /proc and pivot_root were refused."""
        with open("/proc/self/uid_map", encoding="ascii") as file:
            ranges = [tuple(map(int, line.split())) for line in file]
        self.userns = ranges != [(0, 0, 4_294_967_295)] and not traced
        self.single = sum(count for _, _, count in ranges) == 1 or traced
        self.unmapped = unmapped if self.single else ""


MASKED, ONE_ID, ROOTED, NOTHING = 2, 3, 4, 5
"""The rungs but the first, see `sandbox.rungs`."""


def become(rung: int, most: int = 0) -> Identity:
    """Be what the process is on a rung; 0 for the best that namespaces give. Raises OSError where Linux forbids it.

    In a user namespace there may be `most` processes, 0 for any number, however many the user may have outside.
    """
    if rung == NOTHING:
        security.drop_rights()
    if rung in (ROOTED, NOTHING):
        return Identity(traced=True)
    unmapped = ""
    if rung == ONE_ID:
        unmapped = "PYBUILD_RUNG is 3"
        with _fewer_processes(most):
            _enter_user_namespace(unmapped)
    elif os.geteuid() != 0 or not _has_capability(CAP_SYS_ADMIN_BIT):
        with _fewer_processes(most):
            unmapped = _enter_user_namespace()
    return Identity(unmapped, masked=rung == MASKED)


@contextlib.contextmanager
def _fewer_processes(most: int) -> Generator[None]:
    """For a user namespace that is made meanwhile: it takes RLIMIT_NPROC for all that will be in it together."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if most and (soft < 0 or most < soft):
        resource.setrlimit(resource.RLIMIT_NPROC, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))


def _has_capability(bit: int) -> bool:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> bit & 1)
    return False


def _enter_user_namespace(single: str = "") -> str:
    """Become root of a new user namespace; returns why it has one id alone, "" when it has more.

    `single` says why it is not to have more.
    """
    uid, gid = os.geteuid(), os.getegid()
    if single:
        linux.unshare(linux.CLONE_NEWUSER)
        why = single
    else:
        why = _enter_mapped(uid, gid)
    if why:
        write_map("/proc/self/setgroups", "deny")
        write_map("/proc/self/uid_map", f"0 {uid} 1")
        write_map("/proc/self/gid_map", f"0 {gid} 1")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if not why:
        os.setgroups([])
    return why


def _enter_mapped(uid: int, gid: int) -> str:
    """Enter a new user namespace, for which a process outside maps ids; returns why it did not."""
    mapper, ready, told = _start_mapper(os.getpid(), uid, gid)
    try:
        linux.unshare(linux.CLONE_NEWUSER)
        os.write(ready, b"1")
    finally:
        os.close(ready)
        why = os.read(told, 4096).decode(errors="replace")
        os.close(told)
        os.waitpid(mapper, 0)
    return why


def _start_mapper(pid: int, uid: int, gid: int) -> tuple[int, int, int]:
    """Fork a process that stays outside and maps a range of ids for `pid`, once a byte is written to the first pipe.

    It writes to the second why it could not, with the maps as they were, and nothing when the range is mapped.
    """
    wait, ready = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(wait)
        os.close(tell)
        return child, ready, told
    why = "the process that maps ids failed"
    try:
        os.close(ready)
        if os.read(wait, 1):
            why = _map_range(pid, uid, gid)
    finally:
        os.write(tell, why.encode()[:4096])
        os._exit(0)


def _map_range(pid: int, uid: int, gid: int) -> str:
    """Map what the user has; returns why not, "" when that is done."""
    if uid == 0 and _has_capability(CAP_SETUID_BIT):
        write_map(f"/proc/{pid}/uid_map", "0 0 65536")
        write_map(f"/proc/{pid}/gid_map", "0 0 65536")
        return ""
    uids, gids = _subordinate("/etc/subuid", uid), _subordinate("/etc/subgid", uid)
    tools = _find("newuidmap"), _find("newgidmap")
    if not all(tools):
        return "newuidmap and newgidmap are not installed"
    if not (uids and gids):
        return f"/etc/subuid and /etc/subgid give the user {uid} no ids"
    return _run(tools[0], pid, uid, uids) or _run(tools[1], pid, gid, gids)


def _run(tool: str, pid: int, own: int, ranges: list[tuple[int, int]]) -> str:
    """Run newuidmap or newgidmap; returns what it says when it fails."""
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
        said = file.read(2000).decode(errors="replace").strip()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "" if status == 0 else said or f"{tool} ended with {status}"


def _find(tool: str) -> str:
    """Return the path of a set-user-ID tool: where distributions put it, before whatever PATH holds."""
    for directory in ("/usr/bin", "/usr/sbin", "/bin", *os.environ.get("PATH", "").split(":")):
        if directory and os.access(path := f"{directory}/{tool}", os.X_OK):
            return path
    return ""


def _subordinate(file: str, uid: int) -> list[tuple[int, int]]:
    """Return the (start, count) ranges that subuid(5) or subgid(5) gives to the user."""
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


def write_map(path: str, text: str) -> None:
    """Write one of the id map files of /proc: they take a single write."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
