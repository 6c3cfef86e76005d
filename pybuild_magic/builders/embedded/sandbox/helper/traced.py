"""The sandbox of a place without namespaces: a tracer gives the process its root, its mounts and its ids.

Nothing can be mounted there, so that every mount is a directory or a file of the machine that the tracer shows at its
path: new ones in a directory of the run, and, for secrets, in one that is in memory.
"""

from __future__ import annotations

import os
import stat

from . import devices
from .container import parse_environment, set_limits, write_file
from .inside import INSIDE, Root, clean
from .linux import open_in
from .owners import AS_ON_DISK, Owner, read, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .container import Report
    from .jobs import EntryRow, ExtractJob, MountJob, RunJob

_TYPES = {"0": stat.S_IFREG, "3": stat.S_IFCHR, "4": stat.S_IFBLK, "5": stat.S_IFDIR, "6": stat.S_IFIFO}


def start(job: RunJob, report: Report) -> NoReturn:
    """Become the tracer of the job's process; raises OSError when that cannot be."""
    if job["network"] == "none":
        raise OSError(95, "a RUN without a network needs namespaces, which this place does not give")
    root = Root(job["root"])
    report(("stubs", root.missing(["/etc/resolv.conf", "/etc/hosts", *(m["dest"] for m in job["mounts"])])))
    owners = Owners(job["owners"])
    for path in root.missing([job["cwd"]])[::-1]:
        os.close(root.make(path, directory=True))
        owners.add(job["root"] + path, job["uid"], job["gid"])
    binds = {path: (source, readonly) for path, source, readonly in _system(job, root)}
    for number, item in enumerate(job["mounts"]):
        source = _source(item, f"{job['tmp']}/{number}", f"{job['memory']}/{number}", owners)
        target = clean(item["dest"])
        _make_target(root, binds, target, directory=os.path.isdir(source))
        binds[target] = source, item["readonly"] or item["kind"] == "secret"
    owners.write()
    report(("made", root.made))
    words = [job["tracer"], "--root", job["root"]]
    for path, (source, readonly) in binds.items():
        words += ["--bind", f"{source}:{path}{':ro' if readonly else ''}"]
    words += ["--ids", "--user", f"{job['uid']}:{job['gid']}"]
    words += ["--groups", ",".join(map(str, job["groups"]))] if job["groups"] else []
    words += ["--owners", job["owners"], "--cwd", job["cwd"], "--", *job["args"]]
    set_limits(job["ulimits"])
    os.execve(job["tracer"], words, parse_environment(job["env"]))


def _system(job: RunJob, root: Root) -> list[tuple[str, str, bool]]:
    """What every sandbox has: (path, source, read-only)."""
    for path in ("/proc", "/dev", "/sys"):
        os.close(root.directory(path))
    shm, dev = f"{job['memory']}/shm", f"{job['tmp']}/dev"
    for place in (shm, dev, f"{dev}/shm", f"{dev}/pts", f"{dev}/mqueue"):
        os.mkdir(place)
        os.chmod(place, 0o1777 if place.endswith("shm") else 0o755)
    for target, name in devices.LINKS:
        os.symlink(target, f"{dev}/{name}")
    found = [("/proc", "/proc", False), ("/sys", "/sys", True), ("/dev", dev, False), ("/dev/shm", shm, False)]
    for name, _, _ in devices.DEVICES:
        write_file(f"{dev}/{name}", b"", 0o666)
        found.append((f"/dev/{name}", f"/dev/{name}", False))
    for path, name, content in (
        ("/etc/resolv.conf", "resolv", job["resolv"]),
        ("/etc/hosts", "hosts", job["hosts"]),
    ):
        write_file(f"{job['tmp']}/{name}", content, 0o644)
        os.close(root.make(path, directory=False))
        found.append((path, f"{job['tmp']}/{name}", True))
    return found


def _make_target(root: Root, binds: dict[str, tuple[str, bool]], target: str, *, directory: bool) -> None:
    """Make the place of a mount, which may be in another mount: for one, or it would not be listed."""
    above = target
    while above != "/" and above not in binds:
        above = os.path.dirname(above)
    if above in ("/", target):
        os.close(root.make(target, directory=directory))
    elif os.path.isdir(source := binds[above][0]) and not above.startswith("/proc"):
        inner = Root(source)
        os.close(inner.make(target.removeprefix(above), directory=directory))
        os.close(inner.fd)


class Owners:
    """The table that the tracer reads, while it is made."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: dict[tuple[int, int], Owner] = read(file)

    def add(self, path: str, uid: int, gid: int) -> None:
        """A file of ours belongs to another user."""
        info = os.lstat(path)
        if uid or gid:
            self.found[info.st_dev, info.st_ino] = Owner(uid, gid)

    def write(self) -> None:
        """Write it, for the tracer to read."""
        write(self.file, self.found.items())


def _source(item: MountJob, place: str, memory: str, owners: Owners) -> str:
    """The file or directory that a mount shows."""
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
    if item["kind"] == "ssh" or not item["selector"].strip("/"):
        return item["source"]
    top = os.open(item["source"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    found = open_in(top, item["selector"].lstrip("/"), os.O_PATH, INSIDE)
    try:
        return os.readlink(f"/proc/self/fd/{found}")
    finally:
        os.close(found)
        os.close(top)


def disguise(job: ExtractJob, *, modes: bool) -> list[tuple[str, Owner]]:
    """Make of the job's entries what this user can have; returns what each path is to be believed to be.

    `modes` are a matter too where the user is not root of a user namespace, whom they do not keep out.
    """
    believed: list[tuple[str, Owner]] = []
    rows: list[EntryRow] = []
    for row in job["entries"]:
        path, kind, mode, uid, gid, mtime, size, link, blob, offset, major, minor, xattrs = row
        if kind == "1":
            rows.append(row)
            continue
        device = kind in ("3", "4")
        own = mode | (0o700 if kind == "5" else 0o600) if modes else mode
        kept = {name: value for name, value in (xattrs or {}).items() if name.startswith("security.")}
        if kind != "2" and (device or own != mode):
            believed.append((path, Owner(uid, gid, _TYPES[kind] | mode, os.makedev(major, minor), kept)))
        elif uid or gid or kept:
            believed.append((path, Owner(uid, gid, AS_ON_DISK, 0, kept)))
        others = {name: value for name, value in (xattrs or {}).items() if name not in kept} or None
        kind = "0" if device else kind
        mode = mode if kind == "2" else own
        rows.append((path, kind, mode, 0, 0, mtime, size, link, blob, offset, 0, 0, others))
    job["entries"] = rows
    return believed


def remember(file: str, root: str, believed: list[tuple[str, Owner]]) -> None:
    """Write the table of owners for the tracer, and as it was before the run."""
    found: list[tuple[bytes | tuple[int, int], Owner]] = []
    for path, owner in believed:
        info = os.lstat(f"{root}/{path}")
        found.append(((info.st_dev, info.st_ino), owner))
    for name in (f"{file}.before", file):
        write(name, found)
