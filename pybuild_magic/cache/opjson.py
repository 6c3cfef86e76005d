"""Ops in the JSON of BuildKit's Go types, without the parts that do not affect the result.

The digests of these documents are cache keys. Source: BuildKit's solver/llbsolver/ops (CacheMap) and solver/pb.
"""

from __future__ import annotations

import base64
from typing import Any

from ..golang.json import dumps
from ..golang.path import base_name
from ..llb.ops import (
    NO_INPUT,
    CacheOpt,
    Chown,
    ContentCache,
    DiffOp,
    ExecOp,
    FileAction,
    FileCopy,
    FileMkdir,
    FileMkfile,
    FileOp,
    FileSymlink,
    MergeOp,
    Mount,
    MountType,
    NetMode,
    Node,
    SecretOpt,
    Sharing,
    SSHOpt,
)
from ..oci import platform as platforms

_NETWORKS = {NetMode.SANDBOX: 0, NetMode.HOST: 1, NetMode.NONE: 2}
_MOUNTS = {MountType.BIND: 0, MountType.SECRET: 1, MountType.SSH: 2, MountType.CACHE: 3, MountType.TMPFS: 4}
_SHARING = {Sharing.SHARED: 0, Sharing.PRIVATE: 1, Sharing.LOCKED: 2}


def document(node: Node) -> bytes:
    """Return the document of a node's op. The node must not be a source: those are named by their content."""
    op = node.op
    if isinstance(op, ExecOp):
        return dumps(_exec(op, node.platform))
    if isinstance(op, FileOp):
        return dumps(_file(op, len(node.inputs)))
    if isinstance(op, MergeOp):
        inputs = [_given({"input": number}) for number in range(len(node.inputs))]
        return dumps({"Type": "buildkit.merge.v0", "Merge": _given({"inputs": inputs})})
    assert isinstance(op, DiffOp)
    ends = {"lower": _given({"input": op.lower}), "upper": _given({"input": op.upper})}
    return dumps({"Type": "buildkit.diff.v0", "Diff": ends})


def platform_members(text: str) -> dict[str, Any]:
    """Return the members that name a platform in documents; "" is this machine's."""
    platform = platforms.parse(text) if text else platforms.host()
    return {"OS": platform.os, "Arch": platform.architecture} | _given(
        {
            "Variant": platform.variant,
            "OSVersion": platform.os_version,
            "OSFeatures": list(platform.os_features),
        }
    )


def _given(members: dict[str, Any]) -> dict[str, Any]:
    """Return the members that `omitempty` keeps."""
    return {name: value for name, value in members.items() if value not in (None, "", 0, False, [], b"")}


def _exec(op: ExecOp, platform: str) -> dict[str, Any]:
    meta = op.meta
    mounts = [_mount(mount) for mount in op.mounts]
    if len(mounts) == 1 and mounts[0].keys() <= {"dest", "input", "output"} and op.mounts[0].dest == "/":
        mounts = []  # a plain RUN: early versions of BuildKit left mounts out, and its key has not changed since
    members = {
        "meta": _given(
            {
                "args": list(meta.args),
                "env": list(meta.env),
                "cwd": meta.cwd,
                "user": meta.user,
                "extraHosts": [_given({"Host": host}) for host, _ in meta.extra_hosts],
                "hostname": meta.hostname,
                "ulimit": [_given({"Name": name, "Soft": soft, "Hard": hard}) for name, soft, hard in meta.ulimit],
                "cgroupParent": meta.cgroup_parent,
                "removeMountStubsRecursive": meta.removes_stub_parents,
                "validExitCodes": list(meta.valid_exit_codes),
            }
        ),
        "mounts": mounts,
        "network": _NETWORKS[op.network],
        "security": int(op.insecure),
        "secretenv": [
            _given({"ID": secret.id, "name": secret.name, "optional": secret.optional}) for secret in op.secretenv
        ],
    }
    return {"Type": "buildkit.exec.v0", "Exec": _given(members)} | platform_members(platform)


def _mount(mount: Mount) -> dict[str, Any]:
    # BuildKit leaves the number of an output at 0 for secrets and agents.
    numberless = mount.mount_type in (MountType.SECRET, MountType.SSH)
    members = _given(
        {
            "input": mount.input,
            "dest": mount.dest,
            "output": 0 if numberless else mount.output,
            "readonly": mount.readonly,
            "mountType": _MOUNTS[mount.mount_type],
        }
    )
    if mount.mount_type is MountType.TMPFS:
        members["TmpfsOpt"] = _given({"size": mount.tmpfs_size})
    if mount.content_cache is not ContentCache.DEFAULT:
        members["contentCache"] = tuple(ContentCache).index(mount.content_cache)
    if mount.cache is not None:
        members["cacheOpt"] = _cache_mount(mount.cache, mount.dest)
    if mount.secret is not None:
        members["secretOpt"] = _shown(mount.secret)
    if mount.ssh is not None:
        members["SSHOpt"] = _shown(mount.ssh)
    return members


def _cache_mount(cache: CacheOpt, dest: str) -> dict[str, Any]:
    """Return the name of a cache for the key; it only matters if it is the Dockerfile's default, for compatibility."""
    default = dest in (cache.id, cache.id.partition("/")[2]) and cache.sharing is Sharing.SHARED
    return {"ID": cache.id} if default else {}


def _shown(secret: SecretOpt | SSHOpt) -> dict[str, Any]:
    return _given(
        {"ID": secret.id, "uid": secret.uid, "gid": secret.gid, "mode": secret.mode, "optional": secret.optional}
    )


def _file(op: FileOp, inputs: int) -> dict[str, Any]:
    actions = [base64.b64encode(dumps(_action(action, inputs))).decode() for action in op.actions]
    numbers = [[action.input, action.secondary_input, action.output] for action in op.actions]
    members: dict[str, Any] = {"Type": "buildkit.file.v0", "Actions": actions}
    return members if _usual(numbers) else {**members, "indexes": numbers}


def _usual(numbers: list[list[int]]) -> bool:
    """Return whether the actions form the most common sequence, which has a special key in early versions of
    BuildKit.
    """
    last = len(numbers) - 1
    return all(
        source == (0 if place == 0 else last + place) and second in (NO_INPUT, 1) and output == (0, -1)[place != last]
        for place, (source, second, output) in enumerate(numbers)
    )


def _action(action: FileAction, inputs: int) -> dict[str, Any]:
    change = action.action
    if isinstance(change, FileCopy):
        by_content = 0 <= action.secondary_input < inputs
        return _given(
            {
                "src": base_name(change.src) if by_content else change.src,
                "dest": change.dest,
                "owner": _owner(change.owner),
                "mode": 0 if change.mode_str else change.mode,
                "followSymlink": change.follow_symlink,
                "dirCopyContents": change.dir_copy_contents,
                "attemptUnpackDockerCompatibility": change.attempt_unpack,
                "createDestPath": change.create_dest_path,
                "allowWildcard": change.allow_wildcard,
                "allowEmptyWildcard": change.allow_empty_wildcard,
                "timestamp": change.timestamp,
                "include_patterns": list(change.include_patterns),
                "exclude_patterns": list(change.exclude_patterns),
                "alwaysReplaceExistingDestPaths": change.always_replace_existing,
                "modeStr": change.mode_str,
                "required_paths": list(change.required_paths),
            }
        )
    if isinstance(change, FileMkfile):
        data = base64.b64encode(change.data).decode()
        members = {"path": change.path, "mode": change.mode, "data": data, "owner": _owner(change.owner)}
        return _given({**members, "timestamp": change.timestamp})
    if isinstance(change, FileMkdir):
        members = {"path": change.path, "mode": change.mode, "makeParents": change.make_parents}
        return _given({**members, "owner": _owner(change.owner), "timestamp": change.timestamp})
    if isinstance(change, FileSymlink):
        members = {"oldpath": change.oldpath, "newpath": change.newpath, "owner": _owner(change.owner)}
        return _given({**members, "timestamp": change.timestamp})
    members = {"path": change.path, "allowNotFound": change.allow_not_found, "allowWildcard": change.allow_wildcard}
    return _given(members)


def _owner(owner: Chown | None) -> dict[str, Any] | None:
    if owner is None:
        return None

    def principal(name: str | int) -> dict[str, Any]:
        if isinstance(name, int):
            return {"User": _given({"byId": name})}
        return {"User": {"byName": _given({"name": name, "input": owner.input})}}

    members = {"user": principal(owner.user)}
    return members if owner.group is None else {**members, "group": principal(owner.group)}
