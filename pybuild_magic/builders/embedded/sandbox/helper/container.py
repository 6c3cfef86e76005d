"""The built-in sandbox: namespaces, mounts and limits around one process, as runc makes them for BuildKit."""

from __future__ import annotations

import os
import resource
import stat
import sys

from . import linux, mounts, security
from .idmap import write_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Protocol

    from .jobs import MountJob, RunJob

    class Report(Protocol):
        """Tells the builder something."""

        def __call__(self, message: tuple[Any, ...], fds: list[int] = ..., /) -> None:
            """Send a message, with descriptors."""
            ...


_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
)
_QUIET = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC


class Container:
    """One sandbox in the making, in the process that becomes it: pid 1 of a new PID namespace.

    `scratch` is an empty directory to cover with a private file system; `report` tells the builder the stubs and
    passes it the images, with which it compares.
    """

    def __init__(self, job: RunJob, scratch: str, *, userns: bool, single: bool) -> None:
        self.job = job
        self.scratch = scratch
        self.userns = userns
        self.single = single
        self.sources: list[int] = []
        self.host: dict[str, int] = {}
        self.images: list[int] = []
        """The roots of the images that the root file system is stacked on."""

    def start(self, report: Report) -> NoReturn:
        """Set everything up and become the process; raises OSError when the machine refuses."""
        job = self.job
        self.enter_namespaces()
        root = self.mount_root()
        self.stage_sources()
        # From here on, files are the image's: nothing may be imported from them.
        sys.path.clear()
        sys.meta_path.clear()
        # Not pivot_root yet: it would leave the old root on top of "/", where ".." of a link finds it.
        outside = os.open("/", os.O_PATH | os.O_CLOEXEC)
        os.chroot(root)
        os.chdir("/")
        report(("stubs", self.prepare_paths()), self.images)
        self.mount_all()
        os.fchdir(outside)
        os.chroot(".")
        os.close(outside)
        os.chdir(root)
        linux.pivot_root(".", ".")
        linux.umount(".", linux.MNT_DETACH)
        os.chdir("/")
        if job["readonly_root"]:
            linux.set_mount_attributes("/", linux.MOUNT_ATTR_RDONLY, recursive=False)
        self.restrict()
        execute(job["args"], job["env"])

    def enter_namespaces(self) -> None:
        """New mount, IPC, UTS, cgroup and, without network, network namespaces; the PID one is there already."""
        flags = linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
        if has_cgroup2():
            flags |= linux.CLONE_NEWCGROUP
        if self.job["network"] == "none":
            flags |= linux.CLONE_NEWNET
        linux.unshare(flags)
        linux.sethostname(self.job["hostname"])
        if flags & linux.CLONE_NEWNET:
            raise_loopback()

    def mount_root(self) -> str:
        """Mount the root file system somewhere in the private scratch; returns where."""
        mounts.private_scratch(self.scratch)
        root = f"{self.scratch}/root"
        os.mkdir(root)
        job = self.job
        if job["root"]:
            linux.bind(job["root"], root, recursive=False)
        else:
            os.mkdir(f"{self.scratch}/l")
            images = mounts.overlay(
                root, f"{self.scratch}/l", job["lower"], upper=job["upper"], work=job["work"], userns=self.userns
            )
            self.images = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in images]
        return root

    def stage_sources(self) -> None:
        """Get hold of all that comes from outside, before outside is gone."""
        for name in ("hosts", "resolv"):
            path = f"{self.scratch}/{name}"
            write_file(path, self.job[name], 0o644)
            self.host[name] = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self.host["proc"] = os.open("/proc", os.O_PATH | os.O_CLOEXEC)
        self.host["sys"] = os.open("/sys", os.O_PATH | os.O_CLOEXEC)
        if self.userns:
            for name, _, _ in _DEVICES:
                self.host[name] = os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC)
        self.sources = [
            stage_source(item, f"{self.scratch}/{number}", userns=self.userns)
            for number, item in enumerate(self.job["mounts"])
        ]

    def prepare_paths(self) -> list[str]:
        """Make the working directory, as BuildKit does before it mounts; returns the stubs of the mounts."""
        job = self.job
        stubs = mounts.missing_paths(["/etc/resolv.conf", "/etc/hosts", *(m["dest"] for m in job["mounts"])])
        make_working_directory(job["cwd"], job["uid"], job["gid"])
        return stubs

    def mount_all(self) -> None:
        """Mount what every sandbox has, then the job's own; one of those replaces ours at the same path."""
        taken = {clean(item["dest"]) for item in self.job["mounts"]}
        for path, action in (
            ("/proc", self.mount_proc),
            ("/dev", self.mount_dev),
            ("/dev/pts", self.mount_pts),
            ("/dev/shm", self.mount_shm),
            ("/dev/mqueue", self.mount_mqueue),
            ("/sys", self.mount_sys),
            ("/etc/resolv.conf", lambda: self.bind_file("resolv", "/etc/resolv.conf")),
            ("/etc/hosts", lambda: self.bind_file("hosts", "/etc/hosts")),
        ):
            if path not in taken:
                action()
        for item, source in zip(self.job["mounts"], self.sources, strict=True):
            mount_item(item, source)
        if not self.job["insecure"]:
            hide_paths()

    def mount_proc(self) -> None:
        """/proc of the new PID namespace; the outer one where a container's masks forbid a new one."""
        make_directory("/proc")
        try:
            linux.mount("proc", "/proc", "proc", _QUIET)
        except OSError as error:
            if error.errno != 1:
                raise
            linux.bind(f"/proc/self/fd/{self.host['proc']}", "/proc", _QUIET)

    def mount_dev(self) -> None:
        """/dev with the devices that every container has."""
        make_directory("/dev")
        linux.mount("tmpfs", "/dev", "tmpfs", linux.MS_NOSUID | linux.MS_STRICTATIME, "mode=755,size=65536k")
        for name, major, minor in _DEVICES:
            path = f"/dev/{name}"
            if self.userns:
                write_file(path, b"", 0o666)
                linux.bind(f"/proc/self/fd/{self.host[name]}", path, recursive=False)
            else:
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(major, minor))
                os.chmod(path, 0o666)
        for target, name in _LINKS:
            os.symlink(target, f"/dev/{name}")

    def mount_pts(self) -> None:
        """Pseudo-terminals of the sandbox alone; group 5 (tty) may be an id that is not mapped."""
        make_directory("/dev/pts")
        flags, options = linux.MS_NOSUID | linux.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"
        linux.mount("devpts", "/dev/pts", "devpts", flags, options if self.single else options + ",gid=5")

    def mount_shm(self) -> None:
        """POSIX shared memory, of the size asked for."""
        make_directory("/dev/shm")
        linux.mount("shm", "/dev/shm", "tmpfs", _QUIET, f"mode=1777,size={self.job['shm_size'] or 64 << 20}")

    def mount_mqueue(self) -> None:
        """POSIX message queues of the new IPC namespace."""
        make_directory("/dev/mqueue")
        linux.mount("mqueue", "/dev/mqueue", "mqueue", _QUIET)

    def mount_sys(self) -> None:
        """/sys, read-only; shown from outside where this user namespace does not own the network namespace."""
        make_directory("/sys")
        flags = _QUIET if self.job["insecure"] else _QUIET | linux.MS_RDONLY
        try:
            linux.mount("sysfs", "/sys", "sysfs", flags)
        except OSError as error:
            if error.errno != 1:
                raise
            linux.bind(f"/proc/self/fd/{self.host['sys']}", "/sys", flags)
        if has_cgroup2() and os.path.isdir("/sys/fs/cgroup"):
            try:
                linux.mount("cgroup", "/sys/fs/cgroup", "cgroup2", flags)
            except OSError as error:
                if error.errno not in (1, 16):  # EPERM, EBUSY: what /sys shows already is as good
                    raise

    def bind_file(self, name: str, path: str) -> None:
        """Show a file of ours, read-only."""
        mounts.make_mount_point(path, directory=False)
        linux.bind(f"/proc/self/fd/{self.host[name]}", path, _QUIET | linux.MS_RDONLY)

    def restrict(self) -> None:
        """Limits, then user and capabilities, then the call filter: each needs what the next takes away."""
        job = self.job
        set_limits(job["ulimits"])
        os.umask(0o022)
        reached = change_directory(job["cwd"])
        uid, gid, groups = job["uid"], job["gid"], job["groups"]
        if self.single and (uid, gid) != (0, 0):
            become_only_id(uid, gid)
        if not job["insecure"]:
            security.drop_capabilities()
            security.filter_calls()
        if not self.single:
            os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        if uid == 0 and not job["insecure"]:
            linux.capset(security.DEFAULT_MASK, security.DEFAULT_MASK, 0)
        linux.prctl(linux.PR_SET_PDEATHSIG, 9)  # the change of user has reset it
        if not reached:
            os.chdir(job["cwd"])


def clean(path: str) -> str:
    """`path` absolute and without "..", as mounts are compared."""
    return os.path.normpath("/" + path.lstrip("/"))


def has_cgroup2() -> bool:
    """Whether the machine has the unified cgroup hierarchy (a cgroup namespace over the old one confuses)."""
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def make_directory(path: str) -> None:
    """Make a mount point of the base system, which must not be a link."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if os.path.islink(path):
            raise OSError(20, f"{path} of the image is a link; it must be a directory") from None


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


def stage_source(item: MountJob, place: str, *, userns: bool) -> int:
    """A descriptor of what the mount shows (-1: nothing from outside), made at `place` when it is new."""
    kind = item["kind"]
    if kind == "tmpfs":
        return -1
    if kind == "secret":
        write_file(place, item["data"], 0o600)
        os.chown(place, item["uid"], item["gid"])
        os.chmod(place, item["mode"] & 0o777)
        return os.open(place, os.O_PATH | os.O_CLOEXEC)
    if item["source"]:
        return mounts.resolve_in(item["source"], item["selector"]) if kind != "ssh" else stage_socket(item)
    os.mkdir(place)
    os.mkdir(place + ".l")
    mounts.overlay(place, place + ".l", item["lower"], upper=item["upper"], work=item["work"], userns=userns)
    return mounts.resolve_in(place, item["selector"])


def stage_socket(item: MountJob) -> int:
    """The socket that the builder made for the sandbox, with the owner and mode asked for."""
    path = item["source"]
    os.chown(path, item["uid"], item["gid"])
    os.chmod(path, item["mode"] & 0o777)
    return os.open(path, os.O_PATH | os.O_CLOEXEC)


def mount_item(item: MountJob, source: int) -> None:
    """Mount one of the job's own, with the flags that BuildKit gives its kind."""
    target = clean(item["dest"])
    readonly = linux.MS_RDONLY if item["readonly"] else 0
    if item["kind"] == "tmpfs":
        mounts.make_mount_point(target, directory=True)
        options = f"size={item['size']}" if item["size"] else ""
        linux.mount("tmpfs", target, "tmpfs", linux.MS_NOSUID | readonly, options)
        return
    mounts.make_mount_point(target, directory=stat.S_ISDIR(os.stat(source).st_mode))
    flags = readonly
    if item["kind"] == "secret":
        flags = linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
        flags |= 0 if item["mode"] & 0o111 else linux.MS_NOEXEC
    linux.bind(f"/proc/self/fd/{source}", target, flags)
    os.close(source)


def make_working_directory(cwd: str, uid: int, gid: int) -> None:
    """Make what is missing of the working directory, owned by the process's user."""
    path = os.path.realpath("/" + cwd)
    missing: list[str] = []
    while not os.path.exists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for directory in reversed(missing):
        os.mkdir(directory, 0o755)
        try:
            os.chown(directory, uid, gid)
        except OSError as error:
            if error.errno != 22:  # EINVAL: an id that is not mapped
                raise


def hide_paths() -> None:
    """Cover the paths of /proc and /sys that tell about, or change, the machine."""
    for path in security.READONLY_PATHS:
        if os.path.exists(path):
            linux.bind(path, path, linux.MS_RDONLY)
    for path in security.MASKED_PATHS:
        if os.path.isdir(path):
            linux.mount("tmpfs", path, "tmpfs", linux.MS_RDONLY, "size=4k,nr_inodes=1")
        elif os.path.exists(path):
            linux.bind("/dev/null", path, recursive=False)


def set_limits(ulimits: list[tuple[str, int, int]]) -> None:
    """Setrlimit for each (name, soft, hard)."""
    for name, soft, hard in ulimits:
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            raise OSError(22, f"there is no limit named {name}")
        try:
            resource.setrlimit(number, (soft, hard))
        except ValueError as error:
            raise OSError(1, f"limit {name}={soft}:{hard}: {error}") from None


def change_directory(cwd: str) -> bool:
    """Chdir as root; False when only the process's own user may."""
    try:
        os.chdir(cwd)
    except PermissionError:
        return False
    return True


def become_only_id(uid: int, gid: int) -> None:
    """Where one id stands for all, give it the number of the user wanted, in a user namespace of its own."""
    linux.unshare(linux.CLONE_NEWUSER)
    write_map("/proc/self/setgroups", "deny")
    write_map("/proc/self/uid_map", f"{uid} 0 1")
    write_map("/proc/self/gid_map", f"{gid} 0 1")


def execute(args: list[str], env: list[str]) -> NoReturn:
    """Become the process; raises ExecuteError when it cannot be started.

    Not `os.execvpe`: that imports, and by now a module would come out of the image.
    """
    environment: dict[str, str] = {}
    for item in env:
        key, _, value = item.partition("=")
        environment[key] = value
    name = args[0] if args else ""
    directories = [""] if "/" in name else environment.get("PATH", "").split(":")
    found: OSError | ValueError | None = None
    for directory in directories:
        try:
            os.execve(f"{directory}/{name}" if directory else name, args, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            found = found or error
    if found is None:
        where = "no such file" if "/" in name else "executable file not found in $PATH"
        raise ExecuteError(127, f'exec: "{name}": {where}')
    reason = os.strerror(found.errno or 0) if isinstance(found, OSError) else str(found)
    raise ExecuteError(126, f'exec: "{name}": {reason.lower()}')


class ExecuteError(Exception):
    """The command cannot be started: `code` is the exit code that a shell would give."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
