"""The /dev of a sandbox: the devices of every container, and no way to open others."""

from __future__ import annotations

import os
import stat

from . import linux

DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
)


def make(scratch: str, *, userns: bool) -> str:
    """Make it as a mount in the directory `scratch`, and return its path.

    A process with CAP_MKNOD can create a node of any device wherever it can write. So no file system that it can write
    to opens devices, including this one: each device is mounted on a file. The devices are nodes of a separate file
    system or, in a user namespace, where there can be none, those of the machine.
    """
    place, nodes = f"{scratch}/dev", "/dev"
    if not userns:
        nodes = f"{scratch}/nodes"
        os.mkdir(nodes)
        linux.mount("tmpfs", nodes, "tmpfs", linux.MS_NOSUID | linux.MS_NOEXEC, "mode=755,size=4k")
    os.mkdir(place)
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_STRICTATIME
    linux.mount("tmpfs", place, "tmpfs", flags, "mode=755,size=65536k")
    for name, major, minor in DEVICES:
        node, path = f"{nodes}/{name}", f"{place}/{name}"
        if not userns:
            os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
            os.chmod(node, 0o666)
        source = os.open(node, os.O_PATH | os.O_CLOEXEC)
        target = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        linux.bind(source, target, recursive=False)
        os.close(source)
        os.close(target)
    for target, name in LINKS:
        os.symlink(target, f"{place}/{name}")
    return place
