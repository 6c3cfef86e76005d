"""The file systems that every sandbox has: /proc, /dev and /sys, mounted before there is a root to show them in."""

from __future__ import annotations

import errno
import os
import stat

from . import linux, security
from .inside import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .idmap import Identity
    from .jobs import RunJob

QUIET = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
SHM_SIZE = 64 << 20
"""Bytes of /dev/shm, as in Docker."""
_TOP = ("/proc", "/dev", "/sys")
_BELOW = ("/dev/pts", "/dev/shm", "/dev/mqueue")


class Form:
    """What distinguishes one job's file systems from another's."""

    def __init__(self, job: RunJob | None = None, destinations: Iterable[str] = ()) -> None:
        self.private_network = job is not None and job["network"] == "none"
        self.insecure = job is not None and job["insecure"]
        self.shm_size = (job["shm_size"] if job else 0) or SHM_SIZE
        self.covered = [path for path in (*_TOP, *_BELOW) if path in destinations]
        """The paths at which the job has a mount of its own instead."""
        self.hidden = not self.insecure and not any(f"{path}/".startswith(("/proc/", "/sys/")) for path in destinations)
        """Whether paths are hidden here; otherwise that follows the job's own mounts, if at all."""


class Base:
    """The file systems in the empty directory `place` of this process's private `scratch`, in the form for a job.

    `host` has descriptors of the machine's /proc and /sys, and of the prepared /dev.
    """

    def __init__(self, scratch: str, name: str, host: dict[str, int], identity: Identity, form: Form) -> None:
        self.place = f"{scratch}/{name}"
        self.host = host
        self.identity = identity
        self.form = form
        os.mkdir(self.place)
        root = Root(self.place)
        for path, action in (
            ("/proc", self.mount_proc),
            ("/dev", self.mount_dev),
            ("/dev/pts", self.mount_pts),
            ("/dev/shm", self.mount_shm),
            ("/dev/mqueue", self.mount_mqueue),
            ("/sys", self.mount_sys),
        ):
            target = root.directory(path)
            if path not in form.covered:
                action(target)
            os.close(target)
        if form.hidden:
            hide_paths(root, scratch)
        os.close(root.fd)

    def attach(self, root: Root) -> None:
        """Move everything to its paths in `root`."""
        for path in (*_TOP, *(_BELOW if "/dev" in self.form.covered else ())):
            if path not in self.form.covered:
                target = root.directory(path)
                linux.move(self.place + path, target)
                os.close(target)

    def mount_proc(self, target: int) -> None:
        """Mount /proc of the new PID namespace, or show the outer one where a container's masks forbid a new one.

        In the outer one, processes have other numbers than their own: /proc/self is right, but /proc/$$ is another
        process. All processes of the container are visible, but not what is private to other user namespaces
        (environment, memory, open files). The PID namespace is new all the same: without it, a RUN could signal those
        processes, and processes that it leaves behind would outlive it.
        """
        try:
            if not self.identity.masked:
                linux.mount_at(target, "proc", QUIET)
                return
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
        linux.bind(self.host["proc"], target, QUIET)

    def mount_dev(self, target: int) -> None:
        """Mount the prepared /dev."""
        linux.bind(self.host["dev"], target)

    def mount_pts(self, target: int) -> None:
        """Mount the sandbox's own pseudo-terminals; group 5 (tty) may be an id that is not mapped."""
        flags, options = linux.MS_NOSUID | linux.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"
        linux.mount_at(target, "devpts", flags, options if self.identity.single else options + ",gid=5")

    def mount_shm(self, target: int) -> None:
        """Mount POSIX shared memory of the requested size."""
        os.fchdir(target)
        os.chmod(".", 0o1777)  # runc, which mounts its own, takes the mode of the directory for it
        linux.mount("shm", ".", "tmpfs", QUIET, f"mode=1777,size={self.form.shm_size}")

    def mount_mqueue(self, target: int) -> None:
        """Mount the POSIX message queues of the new IPC namespace."""
        linux.mount_at(target, "mqueue", QUIET)

    def mount_sys(self, target: int) -> None:
        """Mount /sys read-only; it is shown from outside where this user namespace does not own the network
        namespace.
        """
        flags = QUIET if self.form.insecure else QUIET | linux.MS_RDONLY
        try:
            linux.mount_at(target, "sysfs", flags)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
            linux.bind(self.host["sys"], target, flags)


def hide_paths(root: Root, scratch: str) -> None:
    """Cover the paths of /proc and /sys that reveal or change the machine."""
    null = os.open(f"{scratch}/dev/null", os.O_PATH | os.O_CLOEXEC)
    for path in (*security.READONLY_PATHS, *security.MASKED_PATHS):
        try:
            target = root.open(path)
        except OSError:
            continue
        if path in security.READONLY_PATHS:
            linux.bind(target, target, linux.MS_RDONLY)
        elif stat.S_ISDIR(os.fstat(target).st_mode):
            linux.mount_at(target, "tmpfs", linux.MS_RDONLY, "size=4k,nr_inodes=1")
        else:
            linux.bind(null, target, recursive=False)
        os.close(target)
    os.close(null)
