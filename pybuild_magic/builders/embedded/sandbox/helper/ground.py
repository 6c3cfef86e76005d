"""The part of a sandbox that is the same for every process, so that it can be prepared before the job is known."""

from __future__ import annotations

import os

from . import devices, linux, mounts
from .base import Base, Form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .idmap import Identity


class Ground:
    """New mount, IPC and UTS namespaces for this process, with `scratch` as a private file system that has a /dev, and
    what most processes see at /proc, /dev and /sys.
    """

    def __init__(self, scratch: str, identity: Identity) -> None:
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS)
        mounts.private_scratch(scratch)
        sources = (("proc", "/proc"), ("sys", "/sys"), ("dev", devices.make(scratch, userns=identity.userns)))
        self.host = {name: os.open(path, os.O_PATH | os.O_CLOEXEC) for name, path in sources}
        """Descriptors of the parts of the machine that the sandbox shows."""
        self.identity = identity
        self.scratch = scratch
        self.base = Base(scratch, "base", self.host, identity, Form())

    def base_of(self, form: Form) -> Base:
        """Return the file systems in the form for a job."""
        if vars(form) == vars(self.base.form):
            return self.base
        return Base(self.scratch, "other", self.host, self.identity, form)
