"""The facts for `%build doctor`, as plain data: nothing here examines the machine or judges."""

from __future__ import annotations

import msgspec

from ..builders.embedded.sandbox.doctor import SandboxFacts


class System(msgspec.Struct, frozen=True):
    """The machine, and this process's user on it."""

    platform: str = "linux"
    kernel: str = ""
    uid: int = 0
    gid: int = 0
    user: str = ""
    """The name in passwd; "" when there is none."""
    home: str = ""
    container: str = ""
    """`docker`, `podman`, `kubernetes`, `container` (another kind); "" outside of any."""
    hub: bool = False
    """Whether a JupyterHub started this process."""
    apparmor: str = ""
    """The profile of AppArmor that is enforced on this process; "" when there is none."""
    no_new_privileges: bool = False
    capabilities: int = -1
    """The mask of the effective ones."""
    bounding: int = -1
    """The mask of those that a program may gain."""
    filtered: bool = False
    """Whether a filter of system calls (seccomp) is enforced."""
    masked: bool = False
    """Whether parts of /proc are hidden."""
    settings: dict[str, int] = {}
    """The kernel's settings for namespaces and tracing, by their names in sysctl."""
    login_gid: int = -1
    """The group of the user's entry in passwd; -1 when there is none."""
    group: str = ""
    """The name of `gid`; "" when there is none."""
    has_home: bool = True
    """Whether the home is a directory that this user may write to, even if its file system is read-only."""
    temporary: str = "/tmp"
    """The directory of temporary files; "" when none can be written."""


class StoreFacts(msgspec.Struct, frozen=True):
    """The place of the store."""

    root: str = ""
    problem: str = ""
    """The reason why it cannot be opened; the other fields are then empty."""
    kind: str = ""
    """The file system: `ext4`, `overlay`, `nfs4`…"""
    noexec: bool = False
    mount: str = ""
    """Its mount point."""
    options: tuple[str, ...] = ()
    """The options of that file system."""
    xattrs: bool = True
    """Whether files can have extended attributes."""
    locks: bool = True
    free: int = 0
    """Bytes."""
    size: int = 0
    """Bytes of the file system."""
    inodes: int = -1
    """The number of files that can still be created; -1 where it is not counted."""
    quota: int = 0
    """Bytes; 0 for no quota."""
    limit: int = 0
    """The limit of the store, in bytes."""
    why: str = ""
    """The origin of the limit."""
    regrouped: int = -1
    """The group that a cluster gave to all files when this container started (`fsGroup`); -1 for none."""


class Limits(msgspec.Struct, frozen=True):
    """The limits of this process; 0 means none."""

    files: int = 0
    files_hard: int = 0
    processes: int = 0
    """The limit of this user or, if lower, of this container."""
    memory: int = 0
    """Bytes of the container or the machine."""
    cpus: float = 0
    shm: int = -1
    """Bytes of /dev/shm; -1 when there is none."""


class Reach(msgspec.Struct, frozen=True):
    """A registry or a mirror, and whether it answers."""

    domain: str
    """The name in references."""
    host: str
    """The host that was asked."""
    seconds: float = 0
    problem: str = ""
    """The reason why there was no answer."""


class Version(msgspec.Struct, frozen=True):
    """A package of this Python; "" when it is missing."""

    name: str
    version: str = ""


class Facts(msgspec.Struct, frozen=True):
    """All facts."""

    system: System = System()
    sandbox: SandboxFacts = SandboxFacts()
    store: StoreFacts = StoreFacts()
    limits: Limits = Limits()
    reach: tuple[Reach, ...] = ()
    versions: tuple[Version, ...] = ()
    extension: str = ""
    """The version of the installed JupyterLab extension; "" when it is not installed."""
    proxy: str = ""
    """The proxy in the environment, without its credentials."""
