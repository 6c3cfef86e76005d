"""The operations of LLB and the graph they form, with the names of BuildKit's `solver/pb`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cached_property

import msgspec

from ..errors import BuildError, SourceRange

NO_INPUT = -1
"""The input of a mount or file action that starts from an empty file system (scratch)."""
NO_OUTPUT = -1
"""The output of a mount or file action whose result nothing can use."""


class SourceOp(msgspec.Struct, frozen=True, tag="source", omit_defaults=True):
    """A source outside of the graph: an image, a directory, a download or a repository.

    `identifier` is `docker-image://REF@DIGEST`, `local://NAME`, `oci-layout://REF@DIGEST`, `https://…`, `git://…`;
    `attrs` have BuildKit's keys (`local.includepattern`, `http.checksum`, `git.keepgitdir`, …).
    """

    identifier: str
    attrs: dict[str, str] = {}


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process of an ExecOp. `user` is as written in the Dockerfile: a name or an id, with an optional group."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    hostname: str = ""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(host name, IP) pairs for /etc/hosts."""
    ulimit: tuple[tuple[str, int, int], ...] = ()
    """(name, soft, hard)."""
    cgroup_parent: str = ""
    valid_exit_codes: tuple[int, ...] = ()
    proxy_env: tuple[str, ...] = ()
    """`NAME=value` pairs that the process gets in addition to `env`; they do not affect the cache."""
    removes_stub_parents: bool = True
    """Whether a front end asks to remove the parents of mount points too, as BuildKit's own does. They always are; but
    it is a part of the key.
    """


class MountType(StrEnum):
    """The kind of a mount of an ExecOp."""

    BIND = "bind"
    SECRET = "secret"  # noqa: S105 - BuildKit's name of the mount type
    SSH = "ssh"
    CACHE = "cache"
    TMPFS = "tmpfs"


class Sharing(StrEnum):
    """How builds that run at once share one cache mount."""

    SHARED = "shared"
    PRIVATE = "private"
    LOCKED = "locked"


class CacheOpt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cache mount: a directory that outlives the build, named by `id`."""

    id: str
    sharing: Sharing = Sharing.SHARED


class SecretOpt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret shown to the process as a file."""

    id: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o400
    optional: bool = False


class SSHOpt(msgspec.Struct, frozen=True, omit_defaults=True):
    """An SSH agent's socket shown to the process."""

    id: str
    """The id of the agent; "" stands for `default`."""
    uid: int = 0
    gid: int = 0
    mode: int = 0o600
    optional: bool = False


class SecretEnv(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret shown to the process as an environment variable."""

    id: str
    name: str
    optional: bool = False


class ContentCache(StrEnum):
    """Whether the key of an op uses the content of a mount rather than what made it; by default, where that is safe."""

    DEFAULT = "default"
    ON = "on"
    OFF = "off"


class Mount(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mount of an ExecOp. The one at `dest` "/" is the root file system."""

    dest: str
    input: int = NO_INPUT
    selector: str = ""
    output: int = NO_OUTPUT
    readonly: bool = False
    mount_type: MountType = MountType.BIND
    tmpfs_size: int = 0
    """Bytes; 0 for the kernel's default limit."""
    cache: CacheOpt | None = None
    secret: SecretOpt | None = None
    ssh: SSHOpt | None = None
    content_cache: ContentCache = ContentCache.DEFAULT


class NetMode(StrEnum):
    """The network of an ExecOp: `sandbox` is the default one, `host` the machine's, `none` only loopback."""

    SANDBOX = "sandbox"
    HOST = "host"
    NONE = "none"


class CDIDevice(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device of the machine, by its name in a CDI specification. If it is `optional`, its absence is no error."""

    name: str
    optional: bool = False


class ExecOp(msgspec.Struct, frozen=True, tag="exec", omit_defaults=True):
    """A process run in a root file system."""

    meta: Meta
    mounts: tuple[Mount, ...]
    network: NetMode = NetMode.SANDBOX
    insecure: bool = False
    secretenv: tuple[SecretEnv, ...] = ()
    devices: tuple[CDIDevice, ...] = ()
    shm_size: int = 0
    """Bytes of /dev/shm; 0 is the default of 64 MiB."""


class Chown(msgspec.Struct, frozen=True, omit_defaults=True):
    """An owner: user and group are each a number, or a name to look up in /etc/passwd or /etc/group."""

    user: str | int
    group: str | int | None = None
    """None stands for the user's group, or for the user's number when that has no entry."""
    input: int = NO_INPUT
    """The input whose /etc/passwd and /etc/group resolve names."""


class FileCopy(msgspec.Struct, frozen=True, tag="copy", omit_defaults=True):
    """Copy `src` of the secondary input to `dest` of the input, as BuildKit's FileActionCopy does."""

    src: str
    dest: str
    owner: Chown | None = None
    mode: int = -1
    """Permission bits for everything that is copied; -1 keeps each file's own."""
    mode_str: str = ""
    """Symbolic mode (`u+x,go-w`), applied to each file's own mode; "" for none."""
    follow_symlink: bool = False
    dir_copy_contents: bool = False
    attempt_unpack: bool = False
    create_dest_path: bool = False
    allow_wildcard: bool = False
    allow_empty_wildcard: bool = False
    timestamp: int = -1
    """Nanoseconds since 1970 for every time; -1 keeps each file's own."""
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    always_replace_existing: bool = False
    required_paths: tuple[str, ...] = ()


class FileMkfile(msgspec.Struct, frozen=True, tag="mkfile", omit_defaults=True):
    """Write a file with the bytes `data`."""

    path: str
    mode: int
    data: bytes
    owner: Chown | None = None
    timestamp: int = -1


class FileMkdir(msgspec.Struct, frozen=True, tag="mkdir", omit_defaults=True):
    """Make a directory; with `make_parents`, also make its missing parents, and accept that it exists."""

    path: str
    mode: int
    make_parents: bool = False
    owner: Chown | None = None
    timestamp: int = -1


class FileRm(msgspec.Struct, frozen=True, tag="rm", omit_defaults=True):
    """Remove a path."""

    path: str
    allow_not_found: bool = False
    allow_wildcard: bool = False


class FileSymlink(msgspec.Struct, frozen=True, tag="symlink", omit_defaults=True):
    """Make a symbolic link."""

    oldpath: str
    newpath: str
    owner: Chown | None = None
    timestamp: int = -1


class FileAction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a FileOp.

    `input` and `secondary_input` are indexes into the node's inputs, followed by the results of earlier actions.
    `output` is the index of the node's output that has the result, or NO_OUTPUT for an intermediate result.
    """

    action: FileCopy | FileMkfile | FileMkdir | FileRm | FileSymlink
    input: int = NO_INPUT
    secondary_input: int = NO_INPUT
    output: int = NO_OUTPUT


class FileOp(msgspec.Struct, frozen=True, tag="file", omit_defaults=True):
    """Changes to a file system made without running a process."""

    actions: tuple[FileAction, ...]


class MergeOp(msgspec.Struct, frozen=True, tag="merge", omit_defaults=True):
    """The layers of all inputs, stacked in order."""


class DiffOp(msgspec.Struct, frozen=True, tag="diff", omit_defaults=True):
    """The layers by which the second input (upper) differs from the first (lower); either may be scratch."""

    lower: int = NO_INPUT
    upper: int = NO_INPUT


Op = SourceOp | ExecOp | FileOp | MergeOp | DiffOp

_encoder = msgspec.msgpack.Encoder(order="deterministic")


def has_output(mount: Mount) -> bool:
    """Return whether a mount is an output of its op. The outputs of an op are in the order of its mounts, as in
    BuildKit, whatever their numbers are.
    """
    if mount.mount_type is MountType.CACHE:
        return mount.output != NO_OUTPUT and mount.input != NO_INPUT
    return mount.mount_type is MountType.BIND and mount.output != NO_OUTPUT


def output_count(op: Op) -> int:
    """Return the number of an op's outputs."""
    if isinstance(op, ExecOp):
        return sum(map(has_output, op.mounts))
    if isinstance(op, FileOp):
        return 1 + max(action.output for action in op.actions)
    return 1


class Edge(msgspec.Struct, frozen=True, eq=False):
    """One output of a node. In place of an edge, None stands for scratch."""

    node: Node
    output: int = 0


class Node(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A vertex of the graph: an op, the edges that it reads, and how it is shown to people."""

    op: Op
    inputs: tuple[Edge, ...] = ()
    name: str = ""
    """The name that progress shows: `[base 2/4] RUN make`."""
    platform: str = ""
    """The `os/arch[/variant]` that the op runs on or is resolved for; "" where it makes no difference."""
    ignore_cache: bool = False
    location: SourceRange | None = None
    """The instruction that it comes from; not part of the digest."""
    places: tuple[SourceRange, ...] = ()
    """All instructions that it comes from, when several result in the same vertex."""
    sent: bytes = b""
    """The `Op` message, if a front end of an image sent it: another may encode the same op in another way."""

    @cached_property
    def digest(self) -> str:
        """The `sha256:…` digest of the op and of the digests of its inputs: equal definitions have equal digests.

        Raises BuildError for text that is not UTF-8, which LLB cannot hold.
        """
        definition = (self.op, [(edge.node.digest, edge.output) for edge in self.inputs], self.platform)
        try:
            return "sha256:" + hashlib.sha256(_encoder.encode(definition)).hexdigest()
        except UnicodeEncodeError:
            raise BuildError(
                "failed to marshal LLB definition: string field contains invalid UTF-8", location=self.location
            ) from None


def outputs_read(roots: Iterable[Edge | None]) -> dict[str, set[int]]:
    """Return the numbers of the outputs that are read of each node that the roots need, or that are roots, by the
    node's digest.
    """
    roots = list(roots)
    read: dict[str, set[int]] = {}
    for edge in (*filter(None, roots), *(edge for node in walk(*roots) for edge in node.inputs)):
        read.setdefault(edge.node.digest, set()).add(edge.output)
    return read


def walk(*roots: Edge | None) -> Iterator[Node]:
    """Yield every node that the roots need, each once, inputs before the nodes that read them."""
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(root.node, False) for root in reversed(roots) if root]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((edge.node, False) for edge in reversed(node.inputs))
