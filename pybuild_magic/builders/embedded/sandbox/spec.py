"""The sandbox's view of a RUN: its process, its root file system, its mounts, and its outcome."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ....llb.ops import NO_OUTPUT, MountType, NetMode
from ..snapshot import Snapshot
from .limits import NONE_REACHED, Limits, Reached


class SandboxMount(msgspec.Struct, frozen=True):
    """A mount of the process beside the root file system, at `dest` (absolute, or relative to "/").

    Its content depends on `kind`:

    - bind: the directory or file `selector` of `snapshot`. Unless `readonly`, the process may write, and what
      it writes is thrown away, unless there is an `output`.
    - bind with a `source`: that file or directory of the machine itself. With a `snapshot` too, it is an own
      directory of the store, that gets what the snapshot has at `selector` when it is empty.
    - cache: the directory `source`, which outlives the build. Made when missing, with what `snapshot` holds
      in it; `selector` is the part of it that shows. Who may use it at once is the caller's affair.
    - tmpfs: an empty file system in memory, of `size` bytes (0: the kernel's own limit).
    - secret: a file of the bytes `data` with `mode`, `uid` and `gid`, in memory only.
    - ssh: a socket with `mode`, `uid` and `gid` that leads to the agent at the socket `source`.
    """

    dest: str
    kind: MountType = MountType.BIND
    snapshot: Snapshot = ()
    selector: str = ""
    source: Path | None = None
    readonly: bool = False
    kept: bool = False
    """bind with a source: whether the owners of its files are remembered when there is a single id, as for a cache
    mount.
    """
    output: int = NO_OUTPUT
    """bind: the number of its changes in the outcome, if they are kept."""
    device: bool = False
    """bind: whether it is a device of the machine that may be opened."""
    size: int = 0
    options: str = ""
    """tmpfs: additional mount options, such as mode=700 or noexec."""
    data: bytes = b""
    mode: int = 0o400
    uid: int = 0
    gid: int = 0

    @property
    def outlives(self) -> Path | None:
        """The store's directory in which changes persist, with their owners; None for other mounts."""
        return self.source if self.kept or self.kind is MountType.CACHE else None


class Hook(msgspec.Struct, frozen=True):
    """A program of the machine that prepares the root file system, an OCI runtime's `createContainer` hook."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    inside: bool = False
    """Whether it is a program of the image that runs as the process would, just before it: a `startContainer` hook."""


class ContainerEdits(msgspec.Struct, frozen=True):
    """The devices of a process, and what comes with them."""

    mounts: tuple[SandboxMount, ...] = ()
    env: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()
    groups: tuple[int, ...] = ()
    unrun: tuple[str, ...] = ()
    """The hooks that it would need and nothing runs, each with its point."""

    def __add__(self, other: ContainerEdits) -> ContainerEdits:
        return ContainerEdits(
            self.mounts + other.mounts,
            self.env + other.env,
            self.hooks + other.hooks,
            self.groups + other.groups,
            self.unrun + other.unrun,
        )


class RunSpec(msgspec.Struct, frozen=True):
    """A process for a sandbox whose root is `snapshot`; `user` has the form of USER, with unresolved names."""

    args: tuple[str, ...]
    snapshot: Snapshot = ()
    env: tuple[str, ...] = ()
    """`NAME=value`. PATH and HOME are added where missing, as BuildKit and the OCI runtimes do."""
    cwd: str = "/"
    user: str = ""
    mounts: tuple[SandboxMount, ...] = ()
    network: NetMode = NetMode.SANDBOX
    hostname: str = ""
    """"" stands for BuildKit's `buildkitsandbox`."""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(host name, IP) pairs for /etc/hosts."""
    ulimits: tuple[tuple[str, int, int], ...] = ()
    """(name as in setrlimit, lower case, without RLIMIT_; soft; hard); -1 is unlimited."""
    shm_size: int = 0
    """Bytes of /dev/shm; 0 is the default of 64 MiB."""
    insecure: bool = False
    """Whether it has all capabilities and nothing is masked (`--security=insecure`)."""
    readonly_root: bool = False
    hooks: tuple[Hook, ...] = ()
    """Programs that run before the process; the tracer's rungs refuse a process that has any."""
    groups: tuple[int, ...] = ()
    """Supplementary groups in addition to those of its user."""
    capabilities: tuple[str, ...] | None = None
    """Root's capabilities, such as CAP_CHOWN; None for the default of a RUN."""
    root_cwd: bool = False
    """Whether a working directory that has to be made belongs to root, as in `docker run`, instead of the process's
    user.
    """
    init: bool = False
    """Whether an init process reaps processes and forwards signals."""
    limits: Limits = Limits()
    """The limits on all its processes together."""
    terminal: tuple[int, int] | None = None
    """Rows and columns of the terminal that the process gets instead of pipes."""


def sized(spec: RunSpec) -> list[str]:
    """Return the paths of file systems in memory with a size, which a tracer cannot enforce."""
    return [
        *(["/dev/shm"] if spec.shm_size else []),
        *(
            mount.dest
            for mount in spec.mounts
            if mount.kind == MountType.TMPFS and (mount.size or "size=" in mount.options)
        ),
    ]


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of a process in its root, or in one of its mounts."""

    snapshot: Snapshot
    """The layers that it started from."""
    work: Path
    """A directory for this run only; the changes are in its `fs`."""
    lower: tuple[str, ...] = ()
    """The directories on which it was stacked with overlayfs, bottom first; for an image, a path where its files are
    visible.
    """
    images: list[int] = msgspec.field(default_factory=list[int])
    """Descriptors that keep the images in `lower` mounted until the outcome is committed or discarded."""
    new_owner: tuple[int, int] = (0, 0)
    """The owner of new files where there is a single id (rootless without subordinate ids)."""


class MountChanges(Changes, frozen=True, kw_only=True):
    """The changes in a mount. Where it is no overlay, `fs` is a copy, with a `record` of it beside it."""

    is_overlay: bool
    table: str
    """The tracer's table of owners; "" without one."""


class RunOutcome(Changes, frozen=True, kw_only=True):
    """The outcome of a process, and its changes in its root: `Sandbox.commit` or `Sandbox.discard` them.

    `exit_code` is the process's own; 128+n when signal n ended it; 127 when the command was not found and
    126 when it could not be started, with the reason in `error`.
    """

    exit_code: int
    error: str = ""
    stubs: tuple[str, ...] = ()
    """Mount points that were made for the run, absolute in its root; they are removed if still empty."""
    created: tuple[str, ...] = ()
    """Paths that the sandbox has made for root, absolute in its root: mount points, /dev, /proc, /sys."""
    outputs: dict[int, MountChanges] = {}
    """The changes in mounts that are kept, by their numbers: `Sandbox.commit_mount` them before the root's."""
    limits: str = ""
    """The limits of all its processes, and by what they held."""
    warnings: tuple[str, ...] = ()
    """Sentences about what was asked for and did not hold, or held otherwise."""
    reached: Reached = NONE_REACHED
    """The limits that its processes have reached."""
    no_workdir: bool = False
    """Whether it could not begin in its working directory, which is said on its standard error; its code is 1 then, as
    in BuildKit. A tracer does not tell, and ends with the code that docker run would.
    """
