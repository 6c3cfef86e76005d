"""LLB from an untrusted front end, as nodes: BuildKit's Definition is read, and everything in it is checked."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from google.protobuf.message import DecodeError, Message

from ....errors import SourceRange
from ....llb.ops import (
    NO_INPUT,
    NO_OUTPUT,
    CacheOpt,
    CDIDevice,
    Chown,
    ContentCache,
    DiffOp,
    Edge,
    ExecOp,
    FileAction,
    FileCopy,
    FileMkdir,
    FileMkfile,
    FileOp,
    FileRm,
    FileSymlink,
    MergeOp,
    Meta,
    Mount,
    MountType,
    NetMode,
    Node,
    Op,
    SecretEnv,
    SecretOpt,
    Sharing,
    SourceOp,
    SSHOpt,
    output_count,
    walk,
)
from ....llb.protobuf import message_of, result_of, wire
from ....oci.digest import sha256
from ...proto import ops_pb2 as pb
from .result import DefinitionError

MAX_OPS = 50_000
"""The most vertices of a definition. The largest Dockerfiles have a few hundred."""
MAX_INPUTS = 10_000
_KINDS = tuple(MountType)
_CONTENT_CACHES = tuple(ContentCache)
_NETWORKS = tuple(NetMode)
_SHARING = tuple(Sharing)
_JSON_ATTRS = ("local.includepattern", "local.excludepatterns", "local.followpaths")
_NAME = "llb.customname"
_LAYOUT = "oci-layout://"
_STORE = "oci.store"
_NAME_LENGTH = 2000
"""The most characters of a name: the names of merges contain those of their inputs, and would double with each
merge.
"""

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class Definition:
    """The graph of a definition. `edge` is None for an empty file system; `nodes` has its vertices by LLB's digests.

    `layout` finds the place of an OCI layout by the name of its store. Raises DefinitionError.
    """

    def __init__(self, message: pb.Definition, layout: Callable[[str], str]) -> None:
        encoded: Sequence[bytes] = getattr(message, "def")
        if len(encoded) > MAX_OPS:
            raise DefinitionError(f"the LLB of the front end has more than {MAX_OPS} vertices")
        self._metadata = message.metadata
        self._source = message.Source
        self._layout = layout
        self._texts: dict[int, str] = {}
        self.nodes: dict[str, Node] = {}
        self.edge = self._load(encoded) if encoded else None

    def _load(self, encoded: Sequence[bytes]) -> Edge:
        ops: dict[str, pb.Op] = {}
        sent: dict[str, bytes] = {}
        last = ""
        for data in encoded:
            last = sha256(data)
            ops[last], sent[last] = parse(pb.Op, data), data
            if len(ops[last].inputs) > MAX_INPUTS:
                raise DefinitionError(f"a vertex of the front end's LLB has more than {MAX_INPUTS} inputs")
        end = ops.pop(last)
        if not end.inputs:
            raise DefinitionError("invalid LLB with no inputs on last vertex")
        result = end.inputs[0]
        for digest in _in_order(result.digest, ops):
            self.nodes[digest] = self._node(digest, ops[digest], sent[digest])
            # A vertex's digest needs its inputs' digests: in this order, each call goes only one level deep.
            _ = self.nodes[digest].digest
        return self._edge(result)

    def _edge(self, item: pb.Input) -> Edge:
        node = self.nodes[item.digest]
        if not 0 <= item.index < output_count(node.op):
            raise DefinitionError(f"invalid output index {item.index}: {node.name} has {output_count(node.op)}")
        return Edge(node, item.index)

    def _node(self, digest: str, op: pb.Op, sent: bytes) -> Node:
        inputs = tuple(map(self._edge, op.inputs))
        meta = self._metadata[digest] if digest in self._metadata else pb.OpMetadata()
        node_op = _op(op, self._layout)
        return Node(
            node_op,
            inputs,
            name=(meta.description.get(_NAME) or _default_name(node_op, inputs))[:_NAME_LENGTH],
            platform="/".join(filter(None, (op.platform.OS, op.platform.Architecture, op.platform.Variant))),
            ignore_cache=meta.ignore_cache,
            location=self._location(digest),
            sent=sent,
        )

    def _location(self, digest: str) -> SourceRange | None:
        if digest not in self._source.locations:
            return None
        for location in self._source.locations[digest].locations:
            if location.ranges and 0 <= location.sourceIndex < len(self._source.infos):
                info = self._source.infos[location.sourceIndex]
                text = self._texts.setdefault(location.sourceIndex, info.data.decode("utf-8", "replace"))
                return source_range(info.filename, text, location.ranges)
        return None


def parse(kind: type[M], data: bytes) -> M:
    """Return the message in `data`. Raises DefinitionError."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise DefinitionError(f"a message of the front end cannot be read: {error}") from None


def definition_of(edge: Edge, name: Callable[[str], str] | None = None) -> pb.Definition:
    """Return a graph of ours as LLB; `name` is that of the store of an OCI layout, by its place."""
    digests: dict[int, str] = {}
    encoded: list[bytes] = []
    metadata: dict[str, pb.OpMetadata] = {}
    for node in walk(edge):
        sent = node
        if name and isinstance(node.op, SourceOp) and _STORE in node.op.attrs:
            op = SourceOp(node.op.identifier, {**node.op.attrs, _STORE: name(node.op.attrs[_STORE])})
            sent = msgspec.structs.replace(node, op=op)
        message = message_of(sent, [(digests[id(item.node)], item.output) for item in node.inputs])
        data = wire(message)
        digest = digests[id(node)] = sha256(data)
        if digest not in metadata:
            encoded.append(data)
            metadata[digest] = pb.OpMetadata(ignore_cache=node.ignore_cache, description={_NAME: node.name})
    encoded.append(wire(result_of(digests[id(edge.node)], edge.output)))
    definition = pb.Definition(metadata=metadata)
    getattr(definition, "def").extend(encoded)
    return definition


def source_range(filename: str, text: str, ranges: Sequence[pb.Range]) -> SourceRange:
    """Return the lines spanned by the ranges of a source."""
    start = min(span.start.line for span in ranges)
    end = max(max(span.start.line, span.end.line) for span in ranges)
    return SourceRange(filename, start, end, text)


def _in_order(root: str, ops: Mapping[str, pb.Op]) -> list[str]:
    """Return the digests that `root` depends on, inputs first. A cycle is impossible: its digest would depend on
    itself.
    """
    order: list[str] = []
    seen: set[str] = set()
    stack = [(root, False)]
    while stack:
        digest, ready = stack.pop()
        if ready:
            order.append(digest)
        elif digest not in seen:
            seen.add(digest)
            if digest not in ops:
                raise DefinitionError(f"invalid missing input digest {digest}")
            stack.append((digest, True))
            stack.extend((item.digest, False) for item in reversed(ops[digest].inputs))
    return order


def _op(op: pb.Op, layout: Callable[[str], str]) -> Op:
    count = len(op.inputs)
    match op.WhichOneof("op"):
        case "source":
            return _source(op.source, layout)
        case "exec":
            return _exec(op.exec, count)
        case "file":
            return _file(op.file, count)
        case "merge":
            if [item.input for item in op.merge.inputs] != list(range(count)):
                raise DefinitionError("invalid merge op: its inputs are not those of its vertex")
            return MergeOp()
        case "diff":
            return DiffOp(_input(op.diff.lower.input, count), _input(op.diff.upper.input, count))
        case _:
            raise DefinitionError("the front end's LLB has a vertex of a kind that the embedded builder does not know")


def _source(op: pb.SourceOp, layout: Callable[[str], str]) -> SourceOp:
    # There is one session here, and its name would make of each build's directories others.
    attrs = {name: value for name, value in op.attrs.items() if name != "local.session"}
    for name in _JSON_ATTRS:
        try:
            msgspec.json.decode(attrs.get(name) or "[]", type=tuple[str, ...])
        except msgspec.MsgspecError as error:
            raise DefinitionError(f"the attribute {name} of {op.identifier} is not a list: {error}") from None
    if op.identifier.startswith(_LAYOUT):
        if _STORE not in attrs:
            raise DefinitionError(f"a front end may not read {op.identifier}")
        return SourceOp(op.identifier, {_STORE: layout(attrs[_STORE])})
    return SourceOp(op.identifier, attrs)


def _exec(op: pb.ExecOp, count: int) -> ExecOp:
    meta = op.meta
    if not meta.args:
        raise DefinitionError("invalid exec op with no args")
    if not op.mounts:
        raise DefinitionError("invalid exec op with no mounts")
    roots = [mount for mount in op.mounts if mount.dest == "/"]
    if not roots:
        raise DefinitionError("invalid exec op with no rootfs")
    if any(mount.mountType != pb.BIND for mount in roots):
        raise DefinitionError("invalid mount type for /")
    proxies = [(field.name, value) for field, value in meta.proxy_env.ListFields()]
    return ExecOp(
        Meta(
            args=tuple(meta.args),
            env=tuple(meta.env),
            cwd=posixpath.join("/", meta.cwd),
            user=meta.user,
            hostname=meta.hostname,
            extra_hosts=tuple((host.Host, host.IP) for host in meta.extraHosts),
            ulimit=tuple((limit.Name, limit.Soft, limit.Hard) for limit in meta.ulimit),
            cgroup_parent=meta.cgroupParent,
            valid_exit_codes=tuple(meta.validExitCodes),
            removes_stub_parents=meta.removeMountStubsRecursive,
            proxy_env=tuple(f"{variable}={value}" for name, value in proxies for variable in (name.upper(), name)),
        ),
        tuple(mount_of(mount, count) for mount in op.mounts),
        network=network_of(op.network),
        insecure=op.security == pb.INSECURE,
        secretenv=secrets_of(op.secretenv),
        devices=tuple(CDIDevice(device.name, device.optional) for device in op.cdiDevices),
    )


def mount_of(mount: pb.Mount, count: int) -> Mount:
    """Return a mount of a vertex with `count` inputs. Raises DefinitionError."""
    kind = _member(_KINDS, mount.mountType, "mount type")
    alone = kind in (MountType.SECRET, MountType.SSH)
    return Mount(
        mount.dest,
        input=NO_INPUT if alone else _input(mount.input, count),
        selector=mount.selector,
        output=NO_OUTPUT if alone else max(NO_OUTPUT, min(mount.output, MAX_INPUTS)),
        readonly=mount.readonly,
        mount_type=kind,
        content_cache=_member(_CONTENT_CACHES, mount.contentCache, "content cache"),
        tmpfs_size=max(0, mount.TmpfsOpt.size),
        cache=_cache(mount) if kind == MountType.CACHE else None,
        secret=SecretOpt(*_given(mount.secretOpt)) if kind == MountType.SECRET else None,
        ssh=SSHOpt(*_given(mount.SSHOpt)) if kind == MountType.SSH else None,
    )


def network_of(number: int) -> NetMode:
    """Return the network with that number. Raises DefinitionError."""
    return _member(_NETWORKS, number, "network")


def secrets_of(secrets: Iterable[pb.SecretEnv]) -> tuple[SecretEnv, ...]:
    """Return secrets that a process gets as variables."""
    return tuple(SecretEnv(secret.ID, secret.name, secret.optional) for secret in secrets)


def _cache(mount: pb.Mount) -> CacheOpt:
    return CacheOpt(mount.cacheOpt.ID or mount.dest, _member(_SHARING, mount.cacheOpt.sharing, "sharing mode"))


def _given(option: pb.SecretOpt | pb.SSHOpt) -> tuple[str, int, int, int, bool]:
    return option.ID, option.uid, option.gid, option.mode & 0o7777, option.optional


def _file(op: pb.FileOp, count: int) -> FileOp:
    if not op.actions:
        raise DefinitionError("invalid file op with no actions")
    outputs = sorted(action.output for action in op.actions if action.output != NO_OUTPUT)
    if not outputs or outputs != list(range(len(outputs))):
        raise DefinitionError(f"invalid file op: the numbers of its outputs are {outputs}")
    actions: list[FileAction] = []
    for number, action in enumerate(op.actions):
        below = count + number
        actions.append(
            FileAction(
                _change(action, below),
                input=_input(action.input, below),
                secondary_input=_input(action.secondaryInput, below),
                output=max(NO_OUTPUT, min(action.output, MAX_INPUTS)),
            )
        )
    return FileOp(tuple(actions))


def _change(action: pb.FileAction, below: int) -> FileCopy | FileMkfile | FileMkdir | FileRm | FileSymlink:
    match action.WhichOneof("action"):
        case "copy":
            copy = action.copy
            return FileCopy(
                copy.src,
                copy.dest,
                owner=_owner(copy, below),
                mode=-1 if copy.modeStr else copy.mode,
                mode_str=copy.modeStr,
                follow_symlink=copy.followSymlink,
                dir_copy_contents=copy.dirCopyContents,
                attempt_unpack=copy.attemptUnpackDockerCompatibility,
                create_dest_path=copy.createDestPath,
                allow_wildcard=copy.allowWildcard,
                allow_empty_wildcard=copy.allowEmptyWildcard,
                timestamp=copy.timestamp,
                include_patterns=tuple(copy.include_patterns),
                exclude_patterns=tuple(copy.exclude_patterns),
                always_replace_existing=copy.alwaysReplaceExistingDestPaths,
                required_paths=tuple(copy.required_paths),
            )
        case "mkfile":
            file = action.mkfile
            return FileMkfile(file.path, file.mode & 0o7777, file.data, _owner(file, below), file.timestamp)
        case "mkdir":
            folder = action.mkdir
            owner = _owner(folder, below)
            return FileMkdir(folder.path, folder.mode & 0o7777, folder.makeParents, owner, folder.timestamp)
        case "rm":
            return FileRm(action.rm.path, action.rm.allowNotFound, action.rm.allowWildcard)
        case "symlink":
            link = action.symlink
            return FileSymlink(link.oldpath, link.newpath, _owner(link, below), link.timestamp)
        case _:
            raise DefinitionError("the front end's LLB has a file action that the embedded builder does not know")


def _owner(
    action: pb.FileActionCopy | pb.FileActionMkFile | pb.FileActionMkDir | pb.FileActionSymlink, below: int
) -> Chown | None:
    if not action.HasField("owner"):
        return None
    named = NO_INPUT
    halves: list[str | int | None] = []
    for field in ("user", "group"):
        half: pb.UserOpt = getattr(action.owner, field)
        match half.WhichOneof("user") if action.owner.HasField(field) else None:
            case "byName":
                halves.append(half.byName.name)
                named = _input(half.byName.input, below)
            case "byID":
                halves.append(half.byID)
            case _:
                halves.append(None)
    user, group = halves
    return Chown(0 if user is None else user, group, named)


def _input(value: int, below: int) -> int:
    if not NO_INPUT <= value < below:
        raise DefinitionError(f"invalid input index {value}")
    return value


def _member(members: Sequence[T], number: int, kind: str) -> T:
    if not 0 <= number < len(members):
        raise DefinitionError(f"the front end's LLB has a {kind} that the embedded builder does not know ({number})")
    return members[number]


def _default_name(op: Op, inputs: Sequence[Edge]) -> str:
    """Return BuildKit's name for a vertex that the front end did not name."""
    match op:
        case SourceOp():
            return op.identifier
        case ExecOp():
            return " ".join(op.meta.args)
        case FileOp():
            return ", ".join(_action_name(action) for action in op.actions)
        case MergeOp():
            return f"merge ({', '.join(edge.node.name for edge in inputs)})"
        case DiffOp():
            lower, upper = (
                "scratch" if number == NO_INPUT else f"({inputs[number].node.name})" for number in (op.lower, op.upper)
            )
            return f"diff {lower} -> {upper}"


def _action_name(action: FileAction) -> str:
    match action.action:
        case FileCopy(src=src, dest=dest):
            return f"copy {src} {dest}"
        case FileMkfile(path=path):
            return f"mkfile {path}"
        case FileMkdir(path=path):
            return f"mkdir {path}"
        case FileRm(path=path):
            return f"rm {path}"
        case FileSymlink(oldpath=old, newpath=new):
            return f"symlink {new} -> {old}"
