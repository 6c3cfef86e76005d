"""Ops as BuildKit's protobuf messages (`solver/pb/ops.proto`): their JSON as Go writes it, and the digest of a vertex.

A message is a dict by field name. Fields with the value zero are left out, as in proto3; an empty message that is
present is an empty dict.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from .ops import (
    NO_INPUT,
    Chown,
    DiffOp,
    ExecOp,
    FileAction,
    FileCopy,
    FileMkdir,
    FileMkfile,
    FileOp,
    FileRm,
    FileSymlink,
    MergeOp,
    Mount,
    MountType,
    NetMode,
    Node,
    Op,
    Sharing,
    SourceOp,
)

Message = dict[str, Any]
Inputs = Sequence[tuple[str, int]]
"""The digest of each input's vertex, and the number of its output."""

_MOUNT_TYPES = {kind: number for number, kind in enumerate(MountType)}
_SHARING = {kind: number for number, kind in enumerate(Sharing)}
_NETWORKS = {kind: number for number, kind in enumerate(NetMode)}


class _Field(NamedTuple):
    number: int
    message: str = ""
    """The type of the message in the field; "" when the field has a plain value."""
    oneof: bool = False


_SCHEMA: Mapping[str, Mapping[str, _Field]] = {
    "Op": {
        "inputs": _Field(1, "Input"),
        "exec": _Field(2, "ExecOp", oneof=True),
        "source": _Field(3, "SourceOp", oneof=True),
        "file": _Field(4, "FileOp", oneof=True),
        "merge": _Field(6, "MergeOp", oneof=True),
        "diff": _Field(7, "DiffOp", oneof=True),
        "platform": _Field(10, "Platform"),
        "constraints": _Field(11, "WorkerConstraints"),
    },
    "Input": {"digest": _Field(1), "index": _Field(2)},
    "Platform": {
        "Architecture": _Field(1),
        "OS": _Field(2),
        "Variant": _Field(3),
        "OSVersion": _Field(4),
        "OSFeatures": _Field(5),
    },
    "WorkerConstraints": {},
    "SourceOp": {"identifier": _Field(1), "attrs": _Field(2)},
    "ExecOp": {
        "meta": _Field(1, "Meta"),
        "mounts": _Field(2, "Mount"),
        "network": _Field(3),
        "security": _Field(4),
        "secretenv": _Field(5, "SecretEnv"),
    },
    "Meta": {
        "args": _Field(1),
        "env": _Field(2),
        "cwd": _Field(3),
        "user": _Field(4),
        "proxy_env": _Field(5, "ProxyEnv"),
        "extraHosts": _Field(6, "HostIP"),
        "hostname": _Field(7),
        "ulimit": _Field(9, "Ulimit"),
        "cgroupParent": _Field(10),
        "removeMountStubsRecursive": _Field(11),
        "validExitCodes": _Field(12),
    },
    "ProxyEnv": {
        "http_proxy": _Field(1),
        "https_proxy": _Field(2),
        "ftp_proxy": _Field(3),
        "no_proxy": _Field(4),
        "all_proxy": _Field(5),
    },
    "HostIP": {"Host": _Field(1), "IP": _Field(2)},
    "Ulimit": {"Name": _Field(1), "Soft": _Field(2), "Hard": _Field(3)},
    "SecretEnv": {"ID": _Field(1), "name": _Field(2), "optional": _Field(3)},
    "Mount": {
        "input": _Field(1),
        "selector": _Field(2),
        "dest": _Field(3),
        "output": _Field(4),
        "readonly": _Field(5),
        "mountType": _Field(6),
        "TmpfsOpt": _Field(19, "TmpfsOpt"),
        "cacheOpt": _Field(20, "CacheOpt"),
        "secretOpt": _Field(21, "SecretOpt"),
        "SSHOpt": _Field(22, "SecretOpt"),
    },
    "TmpfsOpt": {"size": _Field(1)},
    "CacheOpt": {"ID": _Field(1), "sharing": _Field(2)},
    "SecretOpt": {"ID": _Field(1), "uid": _Field(2), "gid": _Field(3), "mode": _Field(4), "optional": _Field(5)},
    "FileOp": {"actions": _Field(2, "FileAction")},
    "FileAction": {
        "input": _Field(1),
        "secondaryInput": _Field(2),
        "output": _Field(3),
        "copy": _Field(4, "Copy", oneof=True),
        "mkfile": _Field(5, "Mkfile", oneof=True),
        "mkdir": _Field(6, "Mkdir", oneof=True),
        "rm": _Field(7, "Rm", oneof=True),
        "symlink": _Field(8, "Symlink", oneof=True),
    },
    "Copy": {
        "src": _Field(1),
        "dest": _Field(2),
        "owner": _Field(3, "Chown"),
        "mode": _Field(4),
        "followSymlink": _Field(5),
        "dirCopyContents": _Field(6),
        "attemptUnpackDockerCompatibility": _Field(7),
        "createDestPath": _Field(8),
        "allowWildcard": _Field(9),
        "allowEmptyWildcard": _Field(10),
        "timestamp": _Field(11),
        "include_patterns": _Field(12),
        "exclude_patterns": _Field(13),
        "alwaysReplaceExistingDestPaths": _Field(14),
        "modeStr": _Field(15),
        "required_paths": _Field(16),
    },
    "Mkfile": {
        "path": _Field(1),
        "mode": _Field(2),
        "data": _Field(3),
        "owner": _Field(4, "Chown"),
        "timestamp": _Field(5),
    },
    "Mkdir": {
        "path": _Field(1),
        "mode": _Field(2),
        "makeParents": _Field(3),
        "owner": _Field(4, "Chown"),
        "timestamp": _Field(5),
    },
    "Rm": {"path": _Field(1), "allowNotFound": _Field(2), "allowWildcard": _Field(3)},
    "Symlink": {"oldpath": _Field(1), "newpath": _Field(2), "owner": _Field(3, "Chown"), "timestamp": _Field(4)},
    "Chown": {"user": _Field(1, "User"), "group": _Field(2, "User")},
    "User": {"byName": _Field(1, "NamedUser", oneof=True), "byId": _Field(2, oneof=True)},
    "NamedUser": {"name": _Field(1), "input": _Field(2)},
    "MergeOp": {"inputs": _Field(1, "MergeInput")},
    "MergeInput": {"input": _Field(1)},
    "DiffOp": {"lower": _Field(1, "MergeInput"), "upper": _Field(2, "MergeInput")},
}
"""The fields of each message, in the order in which they are declared, which is also their order in JSON."""


def message_of(node: Node, inputs: Inputs = ()) -> Message:
    """Return the `Op` message of a node whose inputs have these digests."""
    kind, body = _op(node.op, len(inputs))
    parts: Message = {"inputs": [_inputs_of(digest, output) for digest, output in inputs], kind: body}
    if node.platform:
        system, _, machine = node.platform.partition("/")
        architecture, _, variant = machine.partition("/")
        parts["platform"] = _fields(Architecture=architecture, OS=system, Variant=variant)
    return {**_fields(**parts), "constraints": {}}


def result_of(digest: str, output: int) -> Message:
    """Return the message that ends a definition: it names the output that is the result."""
    return {"inputs": [_inputs_of(digest, output)]}


def digest_of(message: Message) -> str:
    """Return the digest by which BuildKit knows the vertex of an `Op`."""
    return "sha256:" + hashlib.sha256(wire(message)).hexdigest()


def wire(message: Message, kind: str = "Op") -> bytes:
    """Return a message as protobuf, as Go's deterministic Marshal writes it: the members of a oneof come last."""
    parts: list[bytes] = []
    schema = _SCHEMA[kind]
    for name in sorted(message, key=lambda name: (schema[name].oneof, schema[name].number)):
        field, value = schema[name], message[name]
        if isinstance(value, dict) and not field.message:
            attrs = cast("dict[str, str]", value)
            pairs = (_bytes(1, key.encode()) + _bytes(2, text.encode()) for key, text in sorted(attrs.items()))
            parts += [_bytes(field.number, pair) for pair in pairs]
        elif name == "validExitCodes":
            parts.append(_bytes(field.number, b"".join(_varint(code) for code in _items(value))))
        else:
            parts += [_item(field, item) for item in _items(value)]
    return b"".join(parts)


def _items(value: Any) -> list[Any]:
    """Return the items of a repeated field, or the only value of another field."""
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def document(message: Message, kind: str = "Op") -> dict[str, Any]:
    """Return a message as encoding/json writes it, without the `inputs` of an `Op`: provenance has those apart."""
    schema = _SCHEMA[kind]
    members: dict[str, Any] = {}
    for name, field in schema.items():
        if name not in message or (kind == "Op" and name == "inputs"):
            continue
        value = message[name]
        if field.message:
            documents = [document(item, field.message) for item in _items(value)]
            members[name] = documents if isinstance(value, list) else documents[0]
        elif isinstance(value, bytes):
            members[name] = base64.b64encode(value).decode()
        else:
            members[name] = dict(sorted(cast("dict[str, str]", value).items())) if isinstance(value, dict) else value
    return _wrapped(members, schema, kind)


def _wrapped(members: dict[str, Any], schema: Mapping[str, _Field], kind: str) -> dict[str, Any]:
    """Put the members of a oneof into the object in which BuildKit's MarshalJSON writes them."""
    chosen = {name: value for name, value in members.items() if schema[name].oneof}
    rest = {name: value for name, value in members.items() if not schema[name].oneof}
    match kind:
        case "Op":
            return {"Op": chosen, **rest}
        case "FileAction":
            numbers = {name: rest.get(name, 0) for name in ("input", "secondaryInput", "output")}
            return {**numbers, "Action": chosen}
        case "User":
            return {"User": {name: value for name, value in chosen.items() if value != 0}}
        case _:
            return members


def _fields(**values: Any) -> Message:
    """Return the fields that are not zero. An empty message is not zero: it is present."""
    return {
        name: value
        for name, value in values.items()
        if value is not None and (value or isinstance(value, dict)) and value != ()
    }


def _inputs_of(digest: str, output: int) -> Message:
    return _fields(digest=digest, index=output)


def _op(op: Op, inputs: int) -> tuple[str, Message]:
    match op:
        case SourceOp():
            return "source", _fields(identifier=op.identifier, attrs=op.attrs or None)
        case ExecOp():
            return "exec", _exec(op)
        case FileOp():
            return "file", _fields(actions=[_action(action) for action in op.actions])
        case MergeOp():
            return "merge", _fields(inputs=[_fields(input=number) for number in range(inputs)])
        case DiffOp():
            return "diff", {"lower": _fields(input=op.lower), "upper": _fields(input=op.upper)}


def _exec(op: ExecOp) -> Message:
    meta = op.meta
    proxies = {name.lower(): value for name, _, value in (pair.partition("=") for pair in meta.proxy_env)}
    hosts = [_fields(Host=host, IP=address) for host, address in meta.extra_hosts]
    return _fields(
        meta=_fields(
            args=list(meta.args),
            env=list(meta.env),
            cwd=meta.cwd,
            user=meta.user,
            proxy_env=_fields(**proxies) or None,
            extraHosts=hosts,
            hostname=meta.hostname,
            ulimit=[_fields(Name=name, Soft=soft, Hard=hard) for name, soft, hard in meta.ulimit],
            cgroupParent=meta.cgroup_parent,
            removeMountStubsRecursive=meta.removes_stub_parents,
            validExitCodes=list(meta.valid_exit_codes),
        ),
        mounts=[_mount(mount) for mount in op.mounts],
        network=_NETWORKS[op.network],
        security=int(op.insecure),
        secretenv=[_fields(ID=secret.id, name=secret.name, optional=secret.optional) for secret in op.secretenv],
    )


def _mount(mount: Mount) -> Message:
    special = mount.secret or mount.ssh
    named = special and _fields(
        ID=special.id, uid=special.uid, gid=special.gid, mode=special.mode, optional=special.optional
    )
    cache = mount.cache
    return _fields(
        input=mount.input,
        selector=mount.selector,
        dest=mount.dest,
        # Mounts of secrets and agents have no output, and BuildKit leaves its number at zero.
        output=0 if special else mount.output,
        readonly=mount.readonly,
        mountType=_MOUNT_TYPES[mount.mount_type],
        TmpfsOpt=_fields(size=mount.tmpfs_size) if mount.mount_type == MountType.TMPFS else None,
        cacheOpt=_fields(ID=cache.id, sharing=_SHARING[cache.sharing]) if cache else None,
        secretOpt=named if mount.secret else None,
        SSHOpt=named if mount.ssh else None,
    )


def _action(action: FileAction) -> Message:
    kind, body = _change(action)
    numbers = _fields(input=action.input, secondaryInput=action.secondary_input, output=action.output)
    return {**numbers, kind: body}


def _change(action: FileAction) -> tuple[str, Message]:
    match action.action:
        case FileCopy() as copy:
            return "copy", _fields(
                src=copy.src,
                dest=copy.dest,
                owner=_owner(copy.owner),
                mode=0 if copy.mode_str else copy.mode,
                followSymlink=copy.follow_symlink,
                dirCopyContents=copy.dir_copy_contents,
                attemptUnpackDockerCompatibility=copy.attempt_unpack,
                createDestPath=copy.create_dest_path,
                allowWildcard=copy.allow_wildcard,
                allowEmptyWildcard=copy.allow_empty_wildcard,
                timestamp=copy.timestamp,
                include_patterns=list(copy.include_patterns),
                exclude_patterns=list(copy.exclude_patterns),
                alwaysReplaceExistingDestPaths=copy.always_replace_existing,
                modeStr=copy.mode_str,
                required_paths=list(copy.required_paths),
            )
        case FileMkfile() as file:
            return "mkfile", _fields(
                path=file.path, mode=file.mode, data=file.data, owner=_owner(file.owner), timestamp=file.timestamp
            )
        case FileMkdir() as folder:
            return "mkdir", _fields(
                path=folder.path,
                mode=folder.mode,
                makeParents=folder.make_parents,
                owner=_owner(folder.owner),
                timestamp=folder.timestamp,
            )
        case FileRm() as removal:
            return "rm", _fields(
                path=removal.path, allowNotFound=removal.allow_not_found, allowWildcard=removal.allow_wildcard
            )
        case FileSymlink() as link:
            return "symlink", _fields(
                oldpath=link.oldpath, newpath=link.newpath, owner=_owner(link.owner), timestamp=link.timestamp
            )


def _owner(owner: Chown | None) -> Message | None:
    if owner is None:
        return None

    def principal(user: str | int) -> Message:
        if isinstance(user, int):
            return {"byId": user}
        return {"byName": _fields(name=user, input=owner.input if owner.input != NO_INPUT else 0)}

    return {"user": principal(owner.user)} | ({} if owner.group is None else {"group": principal(owner.group)})


def _item(field: _Field, value: Any) -> bytes:
    if field.message:
        return _bytes(field.number, wire(value, field.message))
    if isinstance(value, str):
        return _bytes(field.number, value.encode())
    if isinstance(value, bytes):
        return _bytes(field.number, value)
    return _varint(field.number << 3) + _varint(int(value))


def _bytes(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
