"""The LLB that a `mode=max` provenance holds, as our ops, and how a graph reads when two are compared."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from pybuild_magic.errors import SourceRange
from pybuild_magic.llb import ops
from pybuild_magic.llb.ops import Edge, Node

MOUNT_TYPES = {
    0: ops.MountType.BIND,
    1: ops.MountType.SECRET,
    2: ops.MountType.SSH,
    3: ops.MountType.CACHE,
    4: ops.MountType.TMPFS,
}
SHARING = (ops.Sharing.SHARED, ops.Sharing.PRIVATE, ops.Sharing.LOCKED)
NETWORKS = (ops.NetMode.SANDBOX, ops.NetMode.HOST, ops.NetMode.NONE)


class Provenance(msgspec.Struct, omit_defaults=True):
    """What a `mode=max` provenance says of the graph, as its JSON has it."""

    steps: list[dict[str, Any]] = []
    """The ops, inputs first."""
    locations: dict[str, dict[str, Any]] = {}
    """The lines of the Dockerfile that a step comes from."""
    digests: dict[str, str] = {}
    """The steps by the digests of their vertices."""


class Line(msgspec.Struct, frozen=True):
    """A vertex as it reads: number, op, inputs and platform; and the lines of its instruction, where they are known."""

    text: str
    place: str = ""


def graph(root: Edge | None) -> list[Line]:
    """A line a vertex, inputs before what reads them.

    A vertex that reads a local directory, and so belongs to one build alone, has its name too: what builds that run
    at once share has the name that it has in any of them.
    """
    numbers: dict[int, int] = {}
    own: set[int] = set()
    lines: list[Line] = []
    for node in ops.walk(root):
        numbers[id(node)] = len(numbers)
        inputs = [f"{numbers[id(edge.node)]}:{edge.output}" for edge in node.inputs]
        local = isinstance(node.op, ops.SourceOp) and node.op.identifier.startswith("local://")
        if local or any(id(edge.node) in own for edge in node.inputs):
            own.add(id(node))
        op = json.dumps(_readable(_without_client(node.op)), sort_keys=True)
        name = f" {node.name!r}" if id(node) in own else ""
        place = f"{node.location.start}-{node.location.end}" if node.location else ""
        lines.append(Line(f"{len(lines)} {op} {inputs} {node.platform}{name}", place))
    return lines


def differing(theirs: Sequence[Line], ours: Sequence[Line]) -> list[str]:
    """The vertices that are not the same, as a diff. Lines of a Dockerfile count where BuildKit tells them."""
    diff: list[str] = []
    for their, our in zip_longest(theirs, ours):
        if their and our and their.text == our.text:
            if their.place and their.place != our.place:
                diff += [f"- lines {their.place} of {their.text}", f"+ lines {our.place} of {our.text}"]
        else:
            diff += [f"{sign} {line.text}" for sign, line in (("-", their), ("+", our)) if line]
    return diff


def _without_client(op: ops.Op) -> ops.Op:
    """An op without what names the store of the client's layouts, by a number or by a path."""
    if not isinstance(op, ops.SourceOp):
        return op
    return ops.SourceOp(op.identifier, {k: v for k, v in op.attrs.items() if k not in ("oci.session", "oci.store")})


def _readable(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = {name: _readable(getattr(value, name)) for name in value.__struct_fields__}
        return {"": type(value).__name__} | {k: v for k, v in fields.items() if v not in (None, "", [], {}, False)}
    if isinstance(value, tuple | list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def attested(statement: dict[str, Any]) -> Provenance:
    """The graph of an attestation; of {}, that of scratch, which BuildKit attests nothing of."""
    if not statement:
        return Provenance()
    predicate = statement["predicate"]
    config, metadata = predicate["buildConfig"], predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]
    locations = metadata.get("source", {}).get("locations", {})
    return Provenance(config["llbDefinition"], locations, config["digestMapping"])


def decode(provenance: Provenance, names: Mapping[str, str] | None = None) -> Edge | None:
    """The graph as ours, with the lines of its instructions; `names` are those of the vertices, by digest.

    Raises AssertionError for a field that is not known here, and so would not be compared.
    """
    named = {step: (names or {}).get(digest, "") for digest, step in provenance.digests.items()}
    nodes: dict[str, Node] = {}
    for step in provenance.steps:
        _known(step, "id", "op", "inputs", "resourceUsage")
        _known(step["op"], "Op", "platform", "constraints")
        inputs = tuple(
            Edge(nodes[name], int(output))
            for name, _, output in (text.partition(":") for text in step.get("inputs", ()))
        )
        kind, body = next(iter(step["op"]["Op"].items()), ("", {}))
        if not kind:  # the node that names the result
            return inputs[0] if inputs else None
        where = step["op"].get("platform", {})
        _known(where, "OS", "Architecture", "Variant", "OSVersion")
        parts = (where.get("OS", ""), where.get("Architecture", ""), where.get("Variant", ""))
        nodes[step["id"]] = Node(
            _OPS[kind](body),
            inputs,
            name=named.get(step["id"], ""),
            platform="/".join(filter(None, parts)),
            location=_location(provenance.locations.get(step["id"], {})),
        )
    assert not nodes
    return None


def _location(found: dict[str, Any]) -> SourceRange | None:
    """The lines of the one instruction; None where several became one vertex."""
    match found.get("locations", ()):
        case [{"ranges": ranges}]:
            lines = [each[end]["line"] for each in ranges for end in ("start", "end")]
            return SourceRange("Dockerfile", min(lines), max(lines))
        case _:
            return None


def _known(body: dict[str, Any], *keys: str) -> None:
    assert body.keys() <= set(keys), f"fields that are not compared: {body.keys() - set(keys)} of {body}"


def _source(body: dict[str, Any]) -> ops.SourceOp:
    _known(body, "identifier", "attrs")
    return ops.SourceOp(body["identifier"], body.get("attrs", {}))


def _merge(body: dict[str, Any]) -> ops.MergeOp:
    assert [entry.get("input", 0) for entry in body["inputs"]] == list(range(len(body["inputs"])))
    return ops.MergeOp()


def _exec(body: dict[str, Any]) -> ops.ExecOp:
    meta = body["meta"]
    _known(body, "meta", "mounts", "network", "security", "secretenv")
    _known(meta, "args", "env", "cwd", "user", "hostname", "extraHosts", "ulimit", "cgroupParent", "proxy_env",
           "proxyEnv", "removeMountStubsRecursive")  # fmt: skip
    assert meta["removeMountStubsRecursive"] is True  # as ours always does
    proxies = meta.get("proxy_env") or meta.get("proxyEnv") or {}
    return ops.ExecOp(
        ops.Meta(
            args=tuple(meta["args"]),
            env=tuple(meta.get("env", ())),
            cwd=meta["cwd"],
            user=meta.get("user", ""),
            hostname=meta.get("hostname", ""),
            extra_hosts=tuple((entry["Host"], entry["IP"]) for entry in meta.get("extraHosts", ())),
            ulimit=tuple((entry["Name"], entry["Soft"], entry["Hard"]) for entry in meta.get("ulimit", ())),
            cgroup_parent=meta.get("cgroupParent", ""),
            proxy_env=tuple(f"{name}={value}" for key, value in proxies.items() for name in (key.upper(), key.lower())),
        ),
        tuple(_mount(mount) for mount in body["mounts"]),
        network=NETWORKS[body.get("network", 0)],
        insecure=body.get("security", 0) == 1,
        secretenv=tuple(
            ops.SecretEnv(entry["ID"], entry["name"], entry.get("optional", False))
            for entry in body.get("secretenv", ())
        ),
    )


def _mount(body: dict[str, Any]) -> ops.Mount:
    _known(body, "input", "selector", "dest", "output", "readonly", "mountType",
           "TmpfsOpt", "cacheOpt", "secretOpt", "SSHOpt")  # fmt: skip
    kind = MOUNT_TYPES[body.get("mountType", 0)]
    cache, secret, ssh = body.get("cacheOpt"), body.get("secretOpt"), body.get("SSHOpt")

    def owned(entry: dict[str, Any]) -> tuple[str, int, int, int, bool]:
        numbers = (entry.get("uid", 0), entry.get("gid", 0), entry.get("mode", 0))
        return entry.get("ID", ""), *numbers, entry.get("optional", False)

    # BuildKit leaves the numbers of secrets' and agents' mounts, which have no output, at zero.
    special = kind in (ops.MountType.SECRET, ops.MountType.SSH)
    return ops.Mount(
        dest=body["dest"],
        input=body.get("input", 0),
        selector=body.get("selector", ""),
        output=ops.NO_OUTPUT if special else body.get("output", 0),
        readonly=body.get("readonly", False),
        mount_type=kind,
        tmpfs_size=body.get("TmpfsOpt", {}).get("size", 0),
        cache=ops.CacheOpt(cache["ID"], SHARING[cache.get("sharing", 0)]) if cache else None,
        secret=ops.SecretOpt(*owned(secret)) if secret else None,
        ssh=ops.SSHOpt(*owned(ssh)) if ssh else None,
    )


def _file(body: dict[str, Any]) -> ops.FileOp:
    actions: list[ops.FileAction] = []
    for entry in body["actions"]:
        _known(entry, "Action", "input", "secondaryInput", "output")
        kind, action = next(iter(entry["Action"].items()))
        numbers = (entry.get("input", 0), entry.get("secondaryInput", 0), entry.get("output", 0))
        actions.append(ops.FileAction(_ACTIONS[kind](action), *numbers))
    return ops.FileOp(tuple(actions))


def _copy(body: dict[str, Any]) -> ops.FileCopy:
    _known(body, "src", "dest", "owner", "mode", "modeStr", "followSymlink", "dirCopyContents", "createDestPath",
           "attemptUnpackDockerCompatibility", "allowWildcard", "allowEmptyWildcard", "timestamp", "include_patterns",
           "includePatterns", "exclude_patterns", "excludePatterns", "required_paths", "requiredPaths",
           "alwaysReplaceExistingDestPaths")  # fmt: skip
    return ops.FileCopy(
        src=body["src"],
        dest=body["dest"],
        owner=_owner(body),
        mode=-1 if body.get("modeStr") else body.get("mode", 0),
        mode_str=body.get("modeStr", ""),
        follow_symlink=body.get("followSymlink", False),
        dir_copy_contents=body.get("dirCopyContents", False),
        attempt_unpack=body.get("attemptUnpackDockerCompatibility", False),
        create_dest_path=body.get("createDestPath", False),
        allow_wildcard=body.get("allowWildcard", False),
        allow_empty_wildcard=body.get("allowEmptyWildcard", False),
        timestamp=body.get("timestamp", 0),
        include_patterns=tuple(body.get("include_patterns", body.get("includePatterns", ()))),
        exclude_patterns=tuple(body.get("exclude_patterns", body.get("excludePatterns", ()))),
        always_replace_existing=body.get("alwaysReplaceExistingDestPaths", False),
        required_paths=tuple(body.get("required_paths", body.get("requiredPaths", ()))),
    )


def _mkfile(body: dict[str, Any]) -> ops.FileMkfile:
    _known(body, "path", "mode", "data", "owner", "timestamp")
    data = base64.b64decode(body.get("data", ""))
    return ops.FileMkfile(body["path"], body.get("mode", 0), data, _owner(body), body.get("timestamp", 0))


def _mkdir(body: dict[str, Any]) -> ops.FileMkdir:
    _known(body, "path", "mode", "makeParents", "owner", "timestamp")
    parents = body.get("makeParents", False)
    return ops.FileMkdir(body["path"], body.get("mode", 0), parents, _owner(body), body.get("timestamp", 0))


def _owner(body: dict[str, Any]) -> ops.Chown | None:
    if "owner" not in body:
        return None
    owner, inputs = body["owner"], [ops.NO_INPUT]

    def principal(entry: dict[str, Any]) -> str | int:
        user = entry["User"]
        if "byName" in user:
            inputs.append(user["byName"].get("input", 0))
            return user["byName"]["name"]
        return user.get("byId", 0)

    user = principal(owner["user"])
    group = principal(owner["group"]) if "group" in owner else None
    return ops.Chown(user, group, inputs[-1])


_OPS = {"source": _source, "exec": _exec, "file": _file, "merge": _merge}
_ACTIONS = {"copy": _copy, "mkfile": _mkfile, "mkdir": _mkdir}
