"""BuildKit's own view of a build: vertex names, the LLB of its provenance as our ops, and the image config."""

from __future__ import annotations

import base64
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pybuild_magic.dockerfile.metadata import ResolvedImage
from pybuild_magic.errors import SourceError
from pybuild_magic.llb import ops
from pybuild_magic.llb.ops import Edge, Node
from tests.services import ServiceError
from tests.services.buildkit import Engine

MOUNT_TYPES = {
    0: ops.MountType.BIND,
    1: ops.MountType.SECRET,
    2: ops.MountType.SSH,
    3: ops.MountType.CACHE,
    4: ops.MountType.TMPFS,
}
SHARING = (ops.Sharing.SHARED, ops.Sharing.PRIVATE, ops.Sharing.LOCKED)
NETWORKS = (ops.NetMode.SANDBOX, ops.NetMode.HOST, ops.NetMode.NONE)


@dataclass(frozen=True)
class Built:
    """What BuildKit says of one build."""

    names: set[str]
    graph: list[str]
    config: dict[str, Any]


def build(engine: Engine, context: Path, out: Path, *flags: str, dockerfile: str, env: dict[str, str]) -> Built:
    """Run one build without cache and read everything that it says."""
    fixed = ("--no-cache", "--provenance=mode=max", "--progress=rawjson", "--output", f"type=oci,dest={out}")
    done = engine.buildx_build(context, *fixed, *flags, dockerfile=dockerfile, env=env, check=False)
    assert done.returncode == 0, done.stderr.partition("Dockerfile:")[2] or done.stderr[-2000:]
    messages = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    names = {vertex["name"] for message in messages for vertex in message.get("vertexes", ())}
    config, provenance = _image(out)
    definition = provenance["predicate"]["buildConfig"]["llbDefinition"] if provenance else []
    return Built(names, graph(_decode(definition)), config)


def graph(root: Edge | None) -> list[str]:
    """One line a node, inputs before what reads them: number, op, inputs, platform."""
    numbers: dict[int, int] = {}
    lines: list[str] = []
    for node in ops.walk(root):
        numbers[id(node)] = len(numbers)
        inputs = [f"{numbers[id(edge.node)]}:{edge.output}" for edge in node.inputs]
        op = json.dumps(_readable(node.op), sort_keys=True)
        lines.append(f"{len(lines)} {op} {inputs} {node.platform}")
    return lines


def _readable(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        fields = {name: _readable(getattr(value, name)) for name in value.__struct_fields__}
        return {"": type(value).__name__} | {k: v for k, v in fields.items() if v not in (None, "", [], {}, False)}
    if isinstance(value, tuple | list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _image(archive: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config and the provenance of the archive's one image."""
    with tarfile.open(archive) as tar:

        def read(digest: str) -> Any:
            file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file
            return json.load(file)

        index_file = tar.extractfile("index.json")
        assert index_file
        index = json.load(index_file)
        config: dict[str, Any] = {}
        provenance: dict[str, Any] = {}
        top = read(index["manifests"][0]["digest"])
        if "config" in top:  # an image without layers gets no attestation
            return read(top["config"]["digest"]), {}
        for entry in top["manifests"]:
            manifest = read(entry["digest"])
            if "vnd.docker.reference.type" in entry.get("annotations", {}):
                provenance = read(manifest["layers"][0]["digest"])
            else:
                config = read(manifest["config"]["digest"])
        return config, provenance


def _decode(steps: list[dict[str, Any]]) -> Edge | None:
    nodes: dict[str, Node] = {}
    last: Edge | None = None
    for step in steps:
        inputs = tuple(
            Edge(nodes[name], int(output))
            for name, _, output in (text.partition(":") for text in step.get("inputs", ()))
        )
        kind, body = next(iter(step["op"]["Op"].items()), ("", {}))
        if not kind:  # the node that names the result
            return inputs[0] if inputs else None
        where = step["op"].get("platform", {})
        parts = (where.get("OS", ""), where.get("Architecture", ""), where.get("Variant", ""))
        platform = "/".join(filter(None, parts))
        nodes[step["id"]] = Node(_OPS[kind](body), inputs, platform=platform)
        last = Edge(nodes[step["id"]])
    return last


def _source(body: dict[str, Any]) -> ops.SourceOp:
    return ops.SourceOp(body["identifier"], body.get("attrs", {}))


def _merge(body: dict[str, Any]) -> ops.MergeOp:
    assert [entry.get("input", 0) for entry in body["inputs"]] == list(range(len(body["inputs"])))
    return ops.MergeOp()


def _exec(body: dict[str, Any]) -> ops.ExecOp:
    meta = body["meta"]
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
    kind = MOUNT_TYPES[body.get("mountType", 0)]
    cache, secret, ssh = body.get("cacheOpt"), body.get("secretOpt"), body.get("SSHOpt")

    def owned(entry: dict[str, Any]) -> tuple[str, int, int, int, bool]:
        numbers = (entry.get("uid", 0), entry.get("gid", 0), entry.get("mode", 0))
        return entry.get("ID") or "default", *numbers, entry.get("optional", False)

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
        kind, action = next(iter(entry["Action"].items()))
        numbers = (entry.get("input", 0), entry.get("secondaryInput", 0), entry.get("output", 0))
        actions.append(ops.FileAction(_ACTIONS[kind](action), *numbers))
    return ops.FileOp(tuple(actions))


def _copy(body: dict[str, Any]) -> ops.FileCopy:
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
        required_paths=tuple(body.get("required_paths", body.get("requiredPaths", ()))),
    )


def _mkfile(body: dict[str, Any]) -> ops.FileMkfile:
    data = base64.b64decode(body.get("data", ""))
    return ops.FileMkfile(body["path"], body.get("mode", 0), data, _owner(body), body.get("timestamp", 0))


def _mkdir(body: dict[str, Any]) -> ops.FileMkdir:
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


class EngineImages:
    """Resolves images from the engine's own store; `names` are the vertices it was asked to show."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.names: set[str] = set()
        self.digests: dict[str, str] = {}

    def resolve(self, ref: str, platform: object, name: str = "") -> ResolvedImage:
        """The image as `docker image save` writes it."""
        self.names.add(name)
        try:
            digest = self.digests[ref] = self.engine.inspect(ref)["Id"]
            with tempfile.TemporaryDirectory(prefix="pybuild-saved-") as scratch:
                archive = Path(scratch, "image.tar")
                self.engine.docker("image", "save", "--output", archive, ref)
                with tarfile.open(archive) as tar:
                    return ResolvedImage(ref, digest, _saved_config(tar))
        except ServiceError as error:
            raise SourceError(str(error)) from error


def _saved_config(tar: tarfile.TarFile) -> bytes:
    manifest = tar.extractfile("manifest.json")
    assert manifest
    config = tar.extractfile(json.load(manifest)[0]["Config"])
    assert config
    return config.read()
