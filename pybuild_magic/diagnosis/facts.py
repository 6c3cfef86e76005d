"""The facts for `%build doctor`, as plain data: nothing here asks the machine, and nothing judges."""

from __future__ import annotations

import msgspec

from ..builders.embedded.sandbox.doctor import SandboxFacts


class System(msgspec.Struct, frozen=True):
    """The machine, and who this process is on it."""

    platform: str = "linux"
    kernel: str = ""
    uid: int = 0
    gid: int = 0
    user: str = ""
    """The name in passwd; "" when there is none."""
    home: str = ""
    container: str = ""
    """`docker`, `podman`, `kubernetes`, `container` (some other); "" outside of any."""
    hub: bool = False
    """Whether a JupyterHub has started this process."""
    seccomp: bool = False
    """Whether a filter of system calls is in force."""
    no_new_privileges: bool = False
    capabilities: int = 0
    """The mask of those in effect."""
    settings: dict[str, int] = {}
    """Those of the kernel that decide about user namespaces, by their names in sysctl."""


class StoreFacts(msgspec.Struct, frozen=True):
    """Where the store is."""

    root: str = ""
    problem: str = ""
    """Why it cannot be opened; then the rest is empty."""
    kind: str = ""
    """The file system: `ext4`, `overlay`, `nfs4`…"""
    noexec: bool = False
    xattrs: bool = True
    """Whether files may have extended attributes."""
    locks: bool = True
    free: int = 0
    """Bytes."""
    size: int = 0
    """Bytes of the file system."""
    inodes: int = -1
    """Files that may still be made; -1 where that is not counted."""
    quota: int = 0
    """Bytes; 0: none."""
    limit: int = 0
    """The limit of the store, in bytes."""
    why: str = ""
    """Where the limit is from."""


class Limits(msgspec.Struct, frozen=True):
    """The limits of this process; 0: as much as there is."""

    files: int = 0
    files_hard: int = 0
    processes: int = 0
    """Of this user or, if that is less, of this container."""
    memory: int = 0
    """Bytes of the container, else of the machine."""
    cpus: float = 0
    shm: int = -1
    """Bytes of /dev/shm; -1: there is none."""


class Reach(msgspec.Struct, frozen=True):
    """A registry, or a mirror of one, and whether it answers."""

    domain: str
    """As references name it."""
    host: str
    """Who was asked."""
    seconds: float = 0
    problem: str = ""
    """Why there was no answer."""


class Version(msgspec.Struct, frozen=True):
    """A package of this Python; "" when it is not there."""

    name: str
    version: str = ""


class Facts(msgspec.Struct, frozen=True):
    """Everything."""

    system: System = System()
    sandbox: SandboxFacts = SandboxFacts()
    store: StoreFacts = StoreFacts()
    limits: Limits = Limits()
    reach: tuple[Reach, ...] = ()
    versions: tuple[Version, ...] = ()
    extension: str = ""
    """The version of the JupyterLab extension that is installed here; "" when it is not."""
    proxy: str = ""
    """The proxy that the environment names, without its credentials."""
