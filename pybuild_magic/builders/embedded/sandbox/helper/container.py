"""The built-in sandbox: namespaces, mounts and limits around a process, as runc sets them up for BuildKit."""

from __future__ import annotations

import errno
import os
import stat
import sys

from . import execute, hooks, init, linux, mounts, owners, restrict, terminal
from .base import QUIET, Form, hide_paths
from .inside import Root, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Protocol

    from .ground import Ground
    from .jobs import MountJob, RunJob

    class Report(Protocol):
        """Reports to the builder."""

        def __call__(self, message: tuple[Any, ...], fds: list[int] = ..., /) -> None:
            """Send a message, with descriptors."""
            ...


_TMPFS_FLAGS = {
    "noexec": linux.MS_NOEXEC,
    "noatime": linux.MS_NOATIME,
    "nodiratime": linux.MS_NODIRATIME,
    "relatime": linux.MS_RELATIME,
    "strictatime": linux.MS_STRICTATIME,
    **dict.fromkeys(("exec", "suid", "nosuid", "dev", "nodev", "atime", "diratime"), 0),
}
"""The options of a tmpfs that are flags, or no more than its defaults."""


class Container:
    """A sandbox that is being set up, in the process that becomes it: pid 1 of a new PID namespace.

    `scratch` is an empty directory that is covered with a private file system; `report` sends the builder the stubs,
    and the images with which it compares.
    """

    def __init__(
        self,
        job: RunJob,
        scratch: str,
        ground: Ground,
        *,
        keeper: tuple[int, int] | None = None,
        started: int = -1,
    ) -> None:
        self.job = job
        self.scratch = scratch
        self.identity = ground.identity
        self.keeper = keeper
        """Descriptors of the tracer that remembers owners, and of a socket to the one outside; None without a
        tracer.
        """
        self.started = started
        """A pipe that is closed when the process has begun; -1 when nobody waits for that."""
        self.sources: list[int] = []
        """Descriptors of the sources of the job's mounts; -1 for a mount without a source outside."""
        self.ground = ground
        self.files: dict[str, int] = {}
        """Descriptors of /etc/hosts and /etc/resolv.conf, by the name in the job."""
        self.images: list[int] = []
        """The roots of the images of which the root file system is stacked, then those of compared mounts."""

    def start(self, report: Report, channel: int) -> NoReturn:
        """Set everything up and become the process. Raises OSError when the machine refuses.

        The descriptor `channel`, which `report` uses, stays open to the end.
        """
        terminal.prepare(self.job["terminal"])
        self.enter_namespaces()
        root = Root(self.mount_root())
        self.stage_sources()
        # From here on, files come from the image: nothing may be imported from them.
        sys.path.clear()
        sys.meta_path.clear()
        report(("stubs", self.prepare_paths(root)), self.images)
        self.mount_all(root)
        report(("created", root.created))
        self.make_cwd(root)
        hooks.prepare(self.job["hooks"], self.scratch)
        if self.job["readonly_root"]:
            linux.make_readonly(root.fd)
        os.fchdir(root.fd)
        change_root(move=self.identity.masked)
        if self.job["terminal"]:
            terminal.show_as_console(terminal.open_terminal(self.job["terminal"], report))
        restrict.close_all_but(channel, *(self.keeper or ()), *({self.started} - {-1}))
        restrict.restrict(self.job, single=self.identity.single, kept=self.keeper is not None)
        hooks.start(self.job["hooks"])
        if self.job["init"]:
            init.stay(channel, self.started)
        if self.keeper is not None:
            self.follow(*self.keeper)
        execute.become(self.job["args"], self.job["env"])

    def follow(self, program: int, channel: int) -> NoReturn:
        """Become the process through the tracer, which lets the one outside trace it."""
        execute.check(self.job["args"], self.job["env"])
        execute.follow(program, channel, self.job)

    def enter_namespaces(self) -> None:
        """Enter a new cgroup namespace and, without network, a new network namespace; the others exist already."""
        flags = linux.CLONE_NEWCGROUP if linux.has_cgroup2() else 0
        if self.job["network"] == "none":
            flags |= linux.CLONE_NEWNET
        if flags:
            linux.unshare(flags)
        linux.sethostname(self.job["hostname"])
        if flags & linux.CLONE_NEWNET:
            raise_loopback()

    def mount_root(self) -> str:
        """Mount the root file system somewhere in the private scratch, and return the path."""
        root = f"{self.scratch}/root"
        os.mkdir(root)
        job = self.job
        flags = 0 if job["insecure"] else linux.MS_NODEV
        if job["root"]:
            bind_path(job["root"], root, flags)
        else:
            os.mkdir(f"{self.scratch}/l")
            images = mounts.overlay(
                root,
                f"{self.scratch}/l",
                job["lower"],
                upper=job["upper"],
                work=job["work"],
                userns=self.identity.userns,
                flags=flags,
            )
            self.images = open_images(images)
        return root

    def stage_sources(self) -> None:
        """Open everything that comes from outside, before the outside becomes unreachable."""
        for name in ("hosts", "resolv"):
            path = f"{self.scratch}/{name}"
            write_file(path, self.job[name], 0o644)
            self.files[name] = os.open(path, os.O_PATH | os.O_CLOEXEC)
        for number, item in enumerate(self.job["mounts"]):
            place = f"{self.scratch}/{number}"
            if item["kind"] == "bind" and not item["source"]:
                images = stage_overlay(item, place, userns=self.identity.userns)
                self.images += open_images(images) if item["compared"] else []
                self.sources.append(mounts.resolve_in(place, item["selector"]))
            else:
                self.sources.append(stage_source(item, place, owned=self.keeper is None))

    def prepare_paths(self, root: Root) -> list[str]:
        """Make the working directory, as BuildKit does before it mounts, and return the stubs of the mounts."""
        job = self.job
        stubs = root.missing(["/etc/resolv.conf", "/etc/hosts", *(m["dest"] for m in job["mounts"])])
        if self.keeper is not None:
            self.remember(root)
        os.close(root.make(job["cwd"], directory=True, owner=cwd_owner(job)))
        return stubs

    def make_cwd(self, root: Root) -> None:
        """Make the working directory again, where a mount has covered it, as runc does."""
        try:
            os.close(root.make(self.job["cwd"], directory=True))
        except OSError:
            pass  # the process finds out, and says so

    def remember(self, root: Root) -> None:
        """Record owners for files that are made for the process but cannot be given to its user."""
        job = self.job
        stubs = [(path, job["uid"], job["gid"]) for path in root.missing([job["cwd"]])]
        stubs += [
            (root.resolve(m["dest"]), m["uid"], m["gid"]) for m in job["mounts"] if m["kind"] in ("secret", "ssh")
        ]
        owned = [(os.fsencode(path.lstrip("/")), owners.Owner(uid, gid)) for path, uid, gid in stubs if uid or gid]
        owners.append(job["owners"], owned)

    def mount_all(self, root: Root) -> None:
        """Mount what every sandbox has, then the job's mounts; one of those replaces ours at the same path."""
        destinations = {clean(item["dest"]) for item in self.job["mounts"]}
        form = Form(self.job, destinations)
        self.ground.base_of(form).attach(root)
        if "/sys" not in destinations and linux.has_cgroup2():
            self.mount_cgroup(root)
        for path, name in (("/etc/resolv.conf", "resolv"), ("/etc/hosts", "hosts")):
            if path not in destinations:
                target = root.make(path, directory=False)
                linux.bind(self.files[name], target, QUIET | linux.MS_RDONLY)
                os.close(target)
        for item, source in zip(self.job["mounts"], self.sources, strict=True):
            self.mount_item(root, item, source)
        if not (form.hidden or form.insecure):
            hide_paths(root, self.scratch)

    def mount_cgroup(self, root: Root) -> None:
        """Mount the part of the cgroup hierarchy that belongs to the new cgroup namespace."""
        flags = QUIET if self.job["insecure"] else QUIET | linux.MS_RDONLY
        try:
            target = root.open("/sys/fs/cgroup", os.O_DIRECTORY)
        except OSError:
            return
        try:
            os.fchdir(target)
            linux.mount("cgroup", ".", "cgroup2", flags)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EBUSY):  # what /sys already shows is equivalent
                raise
        finally:
            os.close(target)

    def mount_item(self, root: Root, item: MountJob, source: int) -> None:
        """Mount one of the job's mounts, with BuildKit's flags for its kind, and without devices."""
        flags = linux.MS_RDONLY if item["readonly"] else 0
        flags |= 0 if self.job["insecure"] or item["device"] else linux.MS_NODEV
        if item["kind"] == "tmpfs":
            mode = root.mode(item["dest"])
            target = root.make(item["dest"], directory=True)
            flags, options = tmpfs_options(item, flags)
            # As in runc: a directory of the image keeps its mode, unless an option, which comes later, says otherwise.
            options = ",".join(filter(None, (f"mode={mode:o}" if mode is not None else "", options)))
            linux.mount_at(target, "tmpfs", flags, options)
        else:
            target = root.make(item["dest"], directory=stat.S_ISDIR(os.stat(source).st_mode))
            if item["kind"] == "secret":
                flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
                flags |= 0 if item["mode"] & 0o111 else linux.MS_NOEXEC
            linux.bind(source, target, flags)
        os.close(target)


def cwd_owner(job: RunJob) -> tuple[int, int]:
    """Return the owner of a working directory that has to be made."""
    return (0, 0) if job["root_cwd"] else (job["uid"], job["gid"])


def tmpfs_options(item: MountJob, flags: int) -> tuple[int, str]:
    """Return the flags and the options of a tmpfs. Its device nodes can never be opened, whatever the options say."""
    words = [word for word in item["options"].split(",") if word]
    flags |= 0 if "suid" in words else linux.MS_NOSUID
    for word in words:
        flags |= _TMPFS_FLAGS.get(word, 0)
    words = [word for word in words if word not in _TMPFS_FLAGS]
    return flags, ",".join([f"size={item['size']}", *words] if item["size"] else words)


def bind_path(source: str, target: str, flags: int = 0) -> None:
    """Show one path at another; both belong to the sandbox."""
    fds = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (source, target)]
    linux.bind(fds[0], fds[1], flags, recursive=False)
    for fd in fds:
        os.close(fd)


def change_root(*, move: bool) -> None:
    """Make the working directory, which is a mount, the root of all mounts here.

    Docker's default filter of system calls denies pivot_root even where it allows mounts. The old root is then under
    the new one, where no path leads: ".." of the root is the root.
    """
    if not move:
        try:
            linux.pivot_root(".", ".")
        except PermissionError:
            move = True
    if move:
        linux.mount(".", "/", "", linux.MS_MOVE)
        os.chroot(".")
    else:
        linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def write_file(path: str, data: bytes, mode: int) -> None:
    """Make a new file."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def raise_loopback() -> None:
    """Bring `lo` up in a new network namespace."""
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        up_and_running = 0x1 | 0x40
        fcntl.ioctl(sock.fileno(), 0x8914, struct.pack("16sh14x", b"lo", up_and_running))


def open_images(paths: list[str]) -> list[int]:
    """Return descriptors of the roots of mounted images."""
    return [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in paths]


def stage_overlay(item: MountJob, place: str, *, userns: bool) -> list[str]:
    """Stack the layers of a mount at `place`; return the paths of the images among them."""
    os.mkdir(place)
    os.mkdir(place + ".l")
    return mounts.overlay(place, place + ".l", item["lower"], upper=item["upper"], work=item["work"], userns=userns)


def stage_source(item: MountJob, place: str, *, owned: bool) -> int:
    """Return a descriptor of the mount's source (-1 when there is none outside), made at `place` when it is new.

    `owned` says whether the source can be given to its user.
    """
    kind = item["kind"]
    if kind == "tmpfs":
        return -1
    if kind == "secret":
        write_file(place, item["data"], 0o600)
        if owned:
            os.chown(place, item["uid"], item["gid"])
        os.chmod(place, item["mode"] & 0o777)
        return os.open(place, os.O_PATH | os.O_CLOEXEC)
    if kind == "ssh":
        return stage_socket(item, owned=owned)
    return mounts.resolve_in(item["source"], item["selector"])


def stage_socket(item: MountJob, *, owned: bool) -> int:
    """Return the socket that the builder made for the sandbox, with the requested owner and mode."""
    path = item["source"]
    if owned:
        os.chown(path, item["uid"], item["gid"])
    os.chmod(path, item["mode"] & 0o777)
    return os.open(path, os.O_PATH | os.O_CLOEXEC)
