"""One Dockerfile through the embedded builder and through BuildKit, and what differs between the two images."""

from __future__ import annotations

import json
import os
import secrets
import socket
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pybuild_magic.builders import SolveResponse
from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.cancel import Cancel
from pybuild_magic.request.solve_request import ExporterEntry, SolveRequest
from pybuild_magic.session import DirSource, FileSink, LocalDir, MemorySource, Session
from pybuild_magic.status.messages import SolveStatus, Vertex, VertexStatus
from tests.services.buildkit import Engine

TIME = 1_700_000_000


@dataclass(frozen=True)
class File:
    """A file of a context."""

    data: str | bytes = ""
    mode: int = 0o644


@dataclass(frozen=True)
class Dir:
    """An empty directory of a context."""

    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    """A symbolic link of a context."""

    to: str


@dataclass(frozen=True)
class Hard:
    """A further name of a file that is in the context before."""

    to: str


@dataclass(frozen=True)
class Fifo:
    """A named pipe."""


@dataclass(frozen=True)
class Socket:
    """A Unix socket."""


Item = str | bytes | File | Dir | Link | Hard | Fifo | Socket
Spec = Mapping[str, Item]


def write_context(root: Path, spec: Spec) -> Path:
    """Make the files; all have the same time."""
    root.mkdir(parents=True, exist_ok=True)
    for path, item in spec.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(item, Dir):
            target.mkdir(exist_ok=True)
            target.chmod(item.mode)
        elif isinstance(item, Link):
            target.symlink_to(item.to)
        elif isinstance(item, Hard):
            target.hardlink_to(root / item.to)
        elif isinstance(item, Fifo):
            os.mkfifo(target)
        elif isinstance(item, Socket):
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(target))
        else:
            item = item if isinstance(item, File) else File(item)
            target.write_bytes(item.data.encode() if isinstance(item.data, str) else item.data)
            target.chmod(item.mode)
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (TIME, TIME), follow_symlinks=False)
    return root


@dataclass
class Build:
    """A build that the embedded builder did."""

    response: SolveResponse
    vertices: dict[str, Vertex] = field(default_factory=dict)
    """By name, in their last state."""
    logs: bytes = b""
    counted: dict[str, VertexStatus] = field(default_factory=dict)
    """The counters by their names, in their last state."""

    def cached(self) -> set[str]:
        """The names of the vertices that were CACHED."""
        return {name for name, vertex in self.vertices.items() if vertex.cached}

    def ran(self) -> set[str]:
        """The names of the instructions that were run; not FROM, of which only the key may have been asked."""
        done = {name for name, vertex in self.vertices.items() if vertex.completed and not vertex.cached}
        return {name for name in done if not name.startswith(("[internal]", "exporting")) and "] FROM " not in name}


def solve(
    builder: EmbeddedBuilder,
    dockerfile: str,
    context: LocalDir,
    *,
    exporters: tuple[ExporterEntry, ...] = (),
    attrs: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
    entitlements: tuple[str, ...] = (),
    **session: Any,
) -> Build:
    """Build with the embedded builder."""
    dirs = {"dockerfile": MemorySource({"Dockerfile": dockerfile}), "context": context}
    request = SolveRequest(
        ref=secrets.token_hex(8),
        frontend_attrs={"filename": "Dockerfile", **(attrs or {})},
        exporters=exporters,
        entitlements=entitlements,
    )
    vertices: dict[str, Vertex] = {}
    logs: list[bytes] = []
    counted: dict[str, VertexStatus] = {}

    def sink(message: SolveStatus) -> None:
        counted.update({status.id: status for status in message.statuses})
        vertices.update({vertex.name: vertex for vertex in message.vertexes})
        logs.extend(log.data for log in message.logs)

    local = Session(local_dirs={**dirs, **session.pop("local_dirs", {})}, **session)
    response = builder.solve(request, local, sink, cancel or Cancel())
    return Build(response, vertices, b"".join(logs), counted)


def build_oci(builder: EmbeddedBuilder, dockerfile: str, context: LocalDir, dest: Path, **more: Any) -> Build:
    """As `Engine.build_oci`."""
    output = {"compression": "uncompressed", "force-compression": "true", "rewrite-timestamp": "true"}
    attrs = {"build-arg:SOURCE_DATE_EPOCH": "0", **more.pop("attrs", {})}
    return solve(
        builder,
        dockerfile,
        context,
        exporters=(ExporterEntry("oci", output, "0"),),
        sinks={"0": FileSink(dest)},
        attrs=attrs,
        **more,
    )


@dataclass(frozen=True)
class Image:
    """An image of an OCI archive, read with tarfile and json alone."""

    digest: str
    config: dict[str, Any]
    layers: list[list[str]]
    """A line for each entry of each layer, in the tar's order."""


def read_image(archive: Path) -> Image:
    """The only image of an OCI archive."""
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            member = tar.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert member is not None
            return member.read()

        index = tar.extractfile("index.json")
        assert index is not None
        digest = json.loads(index.read())["manifests"][0]["digest"]
        manifest = json.loads(blob(digest))
        config = json.loads(blob(manifest["config"]["digest"]))
        layers: list[list[str]] = []
        for layer in manifest["layers"]:
            member = tar.extractfile(f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}")
            with tarfile.open(fileobj=member) as content:
                layers.append([_line(content, entry) for entry in content])
    return Image(digest, config, layers)


def _line(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    data = tar.extractfile(entry) if entry.isreg() else None
    shown = data.read(64) if data else b""
    kind = entry.type.decode()
    link = f" -> {entry.linkname}" if entry.linkname else ""
    extra = {key: value for key, value in entry.pax_headers.items() if key not in ("path", "linkpath", "mtime")}
    device = f" {entry.devmajor}:{entry.devminor}" if entry.isdev() else ""
    return (
        f"{kind} {entry.mode:05o} {entry.uid}:{entry.gid} {entry.size} {entry.mtime} {entry.name}{link}{device} "
        f"{shown!r} {extra or ''}"
    ).strip()


def both(
    builder: EmbeddedBuilder, engine: Engine, dockerfile: str, spec: Spec, tmp: Path, *flags: str, **more: Any
) -> tuple[Image, Image]:
    """(ours, BuildKit's) of the same Dockerfile and context, without BuildKit's cache."""
    context = write_context(tmp / "context", spec)
    engine.build_oci(context, tmp / "theirs.tar", *flags, dockerfile=dockerfile)
    build_oci(builder, dockerfile, DirSource(context), tmp / "ours.tar", **more)
    return read_image(tmp / "ours.tar"), read_image(tmp / "theirs.tar")
