"""The ground of every sandbox, whatever is to run in it, so that it can be made before that is known."""

from __future__ import annotations

import os

from . import devices, linux, mounts


class Ground:
    """New mount, IPC and UTS namespaces for this process, in which `scratch` is a private file system with a /dev."""

    def __init__(self, scratch: str, *, userns: bool) -> None:
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
        mounts.private_scratch(scratch)
        sources = (("proc", "/proc"), ("sys", "/sys"), ("dev", devices.make(scratch, userns=userns)))
        self.host = {name: os.open(path, os.O_PATH | os.O_CLOEXEC) for name, path in sources}
        """Descriptors of what the sandbox shows of the machine."""
