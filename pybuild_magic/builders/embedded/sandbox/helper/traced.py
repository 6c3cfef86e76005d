"""The sandbox without namespaces: a tracer shows the process its root, its mounts and its ids.

Nothing can be mounted, so every mount is a directory or a file of the machine that the tracer shows at its path: new
ones in a directory of the run or, for secrets, in a directory in memory.
"""

from __future__ import annotations

import errno
import os
import stat

from . import devices, execute, terminal
from .container import write_file
from .inside import INSIDE, clean
from .light import socket
from .linux import open_in
from .messages import send
from .owners import AS_ON_DISK, Owner, read_beside, read_extracted, write
from .restrict import set_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .container import Report
    from .jobs import EnterJob, EntryRow, ExtractJob, MountJob, RunJob

BASE = ("/proc", "/sys", "/dev")
"""Directories that every root has: if the image lacks one, it is added to the layer, as by BuildKit."""
_TYPES = {"0": stat.S_IFREG, "3": stat.S_IFCHR, "4": stat.S_IFBLK, "5": stat.S_IFDIR, "6": stat.S_IFIFO}


def start(job: RunJob, report: Report, door: int, started: int) -> NoReturn:
    """Become the tracer of the job's process. Raises OSError when that is impossible.

    `door` is a descriptor through which more processes may come, see `enter`; `started` is that of a pipe (or -1) that
    is closed when the process has begun, and receives the reason if it fails.
    """
    owners = Owners(job["owners"])
    for path in BASE:
        _check_directory(job["lower"], path)
    binds = stage_binds(job, report, owners)
    owners.write()
    report(("stubs", []))
    words = [job["tracer"], "--root", job["root"], "--work", job["tmp"], "--changes", job["told"]]
    words += ["--spare", job["spare"]]
    words += [word for path in job["lower"] for word in ("--lower", path)]
    for path, source, readonly in binds:
        words += ["--bind", f"{source}:{path}{':ro' if readonly else ''}"]
    words += ["--read-only"] if job["readonly_root"] else []
    words += ["--ids", "--user", f"{job['uid']}:{job['gid']}"]
    words += ["--groups", ",".join(map(str, job["groups"]))] if job["groups"] else []
    words += ["--network", job["network"], "--hostname", job["hostname"]]
    if started >= 0:
        for fd in (door, started):
            os.set_inheritable(fd, True)
        words += ["--door", str(door), "--begun", str(started)]
    words += ["--lost", "125"] if job["root_cwd"] else []  # docker run; BuildKit's is 1
    words += ["--owners", job["owners"], "--cwd", job["cwd"], "--", *job["args"]]
    set_limits(job["ulimits"])
    os.execve(job["tracer"], words, execute.parse_environment(job["env"]))


def enter(job: EnterJob, door: socket.socket, report: Report) -> NoReturn:
    """Become an additional process of the sandbox whose tracer is behind the door."""
    path = terminal.open_terminal(job["terminal"], report, "/dev/ptmx") if job["terminal"] else ""
    set_limits(job["ulimits"])
    ours, theirs = socket.socketpair()
    announce(door, job, os.getpid(), theirs, path)
    options = ("--shown", "--cwd", job["cwd"], "--lost", "127", "--network", job["network"])
    execute.follow(job["tracer"], ours.detach(), job, *options)


def announce(door: socket.socket, job: EnterJob, pid: int, channel: socket.socket, terminal: str = "") -> None:
    """Announce the process `pid` to the tracer behind the door, and give that its end of their channel.

    `terminal` is the path of the process's terminal, where the tracer has to show it.
    """
    words = (f"{pid} {job['uid']} {job['gid']}", ",".join(map(str, job["groups"])), job["cwd"], terminal)
    send(door, b"".join(os.fsencode(word) + b"\0" for word in words), [channel.fileno()])
    channel.close()


def stage_binds(job: RunJob, report: Report, owners: Owners) -> list[tuple[str, str, bool]]:
    """Create what the process sees beside its root; return (path, source, read-only), the last of which counts for each
    path.
    """
    binds = _system(job)
    for number, item in enumerate(job["mounts"]):
        source = _source(item, f"{job['tmp']}/{number}", f"{job['memory']}/{number}", owners)
        binds.append((clean(item["dest"]), source, item["readonly"] or item["kind"] == "secret"))
    if job["terminal"]:
        path = terminal.open_terminal(job["terminal"], report, "/dev/ptmx")
        binds.append((path, path, False))
        write_file(f"{job['tmp']}{path}", b"", 0o666)
        os.symlink(path, f"{job['tmp']}/dev/console")
    return binds


def _check_directory(lower: list[str], path: str) -> None:
    """Refuse an image that has a link in place of a directory of the base system."""
    for layer in reversed(lower):
        try:
            mode = os.lstat(layer + path).st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(mode):
            raise OSError(errno.ENOTDIR, f"{path} of the image is a link; it must be a directory")
        return


def _system(job: RunJob) -> list[tuple[str, str, bool]]:
    """Return the mounts of every sandbox: (path, source, read-only)."""
    shm, dev = f"{job['memory']}/shm", f"{job['tmp']}/dev"
    for place in (shm, dev, f"{dev}/shm", f"{dev}/pts", f"{dev}/mqueue"):
        os.mkdir(place)
        os.chmod(place, 0o1777 if place.endswith("shm") else 0o755)
    for target, name in devices.LINKS:
        os.symlink(target, f"{dev}/{name}")
    binds = [*zip(BASE, ("/proc", "/sys", dev), (False, True, False), strict=True), ("/dev/shm", shm, False)]
    for name, _, _ in devices.DEVICES:
        write_file(f"{dev}/{name}", b"", 0o666)
        binds.append((f"/dev/{name}", f"/dev/{name}", False))
    for path, name, content in (
        ("/etc/resolv.conf", "resolv", job["resolv"]),
        ("/etc/hosts", "hosts", job["hosts"]),
        ("/proc/sys/kernel/hostname", "hostname", os.fsencode(job["hostname"]) + b"\n"),
    ):
        write_file(f"{job['tmp']}/{name}", content, 0o644)
        binds.append((path, f"{job['tmp']}/{name}", True))
    return binds


class Owners:
    """The table for the tracer, while it is built; without a `file` nobody reads it."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.by_inode: dict[tuple[int, int], Owner] = {}

    def add(self, path: str, uid: int, gid: int) -> None:
        """Record that one of our files belongs to another user."""
        info = os.lstat(path)
        if uid or gid:
            self.by_inode[info.st_dev, info.st_ino] = Owner(uid, gid)

    def add_all(self, root: str) -> None:
        """Record the owners of the files of the directory `root` from the table beside it."""
        if not self.file:
            return
        self.by_inode |= read_extracted(root)

    def write(self) -> None:
        """Write the table for the tracer."""
        write(self.file, self.by_inode.items())


def _source(item: MountJob, place: str, memory: str, owners: Owners) -> str:
    """Return the file or directory that a mount shows."""
    if item["kind"] == "tmpfs":
        os.mkdir(place)
        os.chmod(place, 0o1777)
        return place
    if item["kind"] == "secret":
        write_file(memory, item["data"], item["mode"] & 0o777 | 0o400)
        owners.add(memory, item["uid"], item["gid"])
        return memory
    if item["kind"] == "ssh":
        os.chmod(item["source"], item["mode"] & 0o777)
        owners.add(item["source"], item["uid"], item["gid"])
    if item["kind"] == "bind" and item["layers"]:
        owners.add_all(item["source"])
    if item["kept"]:
        owners.by_inode |= read_beside(item["source"])
    if item["kind"] == "ssh" or not item["selector"].strip("/"):
        return item["source"]
    top = os.open(item["source"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = open_in(top, item["selector"].lstrip("/"), os.O_PATH, INSIDE)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
        os.close(top)


def disguise(job: ExtractJob, *, modes: bool) -> dict[str, Owner]:
    """Change the job's entries into ones that this user can create; return what each path should look like.

    `modes` are included where the user is not root of a user namespace, because then modes apply to the user.
    """
    owners: dict[str, Owner] = {}
    rows: list[EntryRow] = []
    names: dict[str, list[str]] = {}
    for row in job["entries"]:
        path, kind, mode, uid, gid, mtime, size, link, blob, offset, major, minor, xattrs = row
        if kind == "1":
            names.setdefault(link, [link]).append(path)
            rows.append(row)
            continue
        device = kind in ("3", "4")
        own = mode | (0o700 if kind == "5" else 0o600) if modes else mode
        security = {name: value for name, value in (xattrs or {}).items() if name.startswith("security.")}
        if kind != "2" and (device or own != mode):
            owners[path] = Owner(uid, gid, _TYPES[kind] | mode, os.makedev(major, minor), security)
        elif uid or gid or security:
            owners[path] = Owner(uid, gid, AS_ON_DISK, 0, security)
        others = {name: value for name, value in (xattrs or {}).items() if name not in security} or None
        kind = "0" if device else kind
        mode = mode if kind == "2" else own
        rows.append((path, kind, mode, 0, 0, mtime, size, link, blob, offset, 0, 0, others))
    job["entries"] = rows
    for first, all_names in names.items():
        owner = owners.get(first, Owner())
        owner.names = len(all_names)
        owners |= dict.fromkeys(all_names, owner)
    return owners


def remember(file: str, owners: dict[str, Owner]) -> None:
    """Write the table of a layer's owners for the tracer."""
    write(file, ((os.fsencode(path), owner) for path, owner in owners.items()))
