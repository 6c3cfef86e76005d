"""Becoming root without being root: a user namespace, with the subordinate ids of the user where there are any."""

from __future__ import annotations

import os

from . import linux

CAP_SETUID_BIT, CAP_SYS_ADMIN_BIT = 7, 21


class Identity:
    """Who the helper is: `userns` in any user namespace but the first; `single` when one id stands for all."""

    def __init__(self) -> None:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            ranges = [tuple(map(int, line.split())) for line in file]
        self.userns = ranges != [(0, 0, 4_294_967_295)]
        self.single = sum(count for _, _, count in ranges) == 1


def become_root() -> Identity:
    """Enter a user namespace unless this process may mount; raises OSError where the kernel forbids it."""
    if os.geteuid() != 0 or not _has_capability(CAP_SYS_ADMIN_BIT):
        _enter_user_namespace()
    return Identity()


def _has_capability(bit: int) -> bool:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> bit & 1)
    return False


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    mapper, ready = _start_mapper(os.getpid(), uid, gid)
    try:
        linux.unshare(linux.CLONE_NEWUSER)
    except OSError:
        os.close(ready)
        os.waitpid(mapper, 0)
        raise
    os.write(ready, b"1")
    os.close(ready)
    _, status = os.waitpid(mapper, 0)
    if status != 0:
        write_map("/proc/self/setgroups", "deny")
        write_map("/proc/self/uid_map", f"0 {uid} 1")
        write_map("/proc/self/gid_map", f"0 {gid} 1")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if status == 0:
        os.setgroups([])


def _start_mapper(pid: int, uid: int, gid: int) -> tuple[int, int]:
    """Fork a process that stays outside and maps a range of ids for `pid`, once a byte is written to the pipe.

    It ends with status 0 when the range is mapped, and otherwise leaves the maps as they were.
    """
    wait, ready = os.pipe()
    child = os.fork()
    if child:
        os.close(wait)
        return child, ready
    status = 1
    try:
        os.close(ready)
        if os.read(wait, 1):
            status = 0 if _map_range(pid, uid, gid) else 1
    finally:
        os._exit(status)


def _map_range(pid: int, uid: int, gid: int) -> bool:
    if uid == 0 and _has_capability(CAP_SETUID_BIT):
        write_map(f"/proc/{pid}/uid_map", "0 0 65536")
        write_map(f"/proc/{pid}/gid_map", "0 0 65536")
        return True
    uids, gids = _subordinate("/etc/subuid", uid), _subordinate("/etc/subgid", uid)
    tools = _find("newuidmap"), _find("newgidmap")
    if not (uids and gids and all(tools)):
        return False
    return _run(tools[0], pid, uid, uids) and _run(tools[1], pid, gid, gids)


def _run(tool: str, pid: int, own: int, ranges: list[tuple[int, int]]) -> bool:
    arguments, inside = [tool, str(pid), "0", str(own), "1"], 1
    for start, count in ranges:
        arguments += [str(inside), str(start), str(count)]
        inside += count
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
            os.execv(tool, arguments)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _find(tool: str) -> str:
    """The path of a set-user-ID tool: where distributions put it, before whatever PATH holds."""
    for directory in ("/usr/bin", "/usr/sbin", "/bin", *os.environ.get("PATH", "").split(":")):
        if directory and os.access(path := f"{directory}/{tool}", os.X_OK):
            return path
    return ""


def _subordinate(file: str, uid: int) -> list[tuple[int, int]]:
    """The (start, count) ranges that subuid(5) or subgid(5) gives to the user."""
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
