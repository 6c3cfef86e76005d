"""The part of a sandbox that is the same for every process, so that it can be prepared before the job is known."""

from __future__ import annotations

import os

from . import devices, linux, mounts


class Ground:
    """New mount, IPC and UTS namespaces for this process, with `scratch` as a private file system that has a /dev."""

    def __init__(self, scratch: str, *, userns: bool) -> None:
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
        mounts.private_scratch(scratch)
        sources = (("proc", "/proc"), ("sys", "/sys"), ("dev", devices.make(scratch, userns=userns)))
        self.host = {name: os.open(path, os.O_PATH | os.O_CLOEXEC) for name, path in sources}
        """Descriptors of the parts of the machine that the sandbox shows."""
