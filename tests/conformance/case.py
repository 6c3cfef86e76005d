"""What a case is, and how its files are made: the same bytes, modes, owners and times on every machine."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import stat
import tarfile
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, TypeAlias

import zstandard

TIME = 1_000_000_000
"""Seconds since 1970 of every file that is not given another time."""


@dataclass(frozen=True)
class File:
    """A regular file; `sparse` makes it that many bytes long, with `data` at its end."""

    data: str | bytes = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = TIME
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    sparse: int = 0


@dataclass(frozen=True)
class Dir:
    """A directory whose metadata matter, or that is empty; others come into being with what is in them."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: float = TIME


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    to: str
    mtime: float = TIME


@dataclass(frozen=True)
class Hard:
    """A further name of the file at `to`, a path of the same tree."""

    to: str
    mode: int = 0o644
    """In a tar, where the header of every name has all metadata."""


@dataclass(frozen=True)
class Special:
    """A fifo (`p`), a socket (`s`), a character (`c`) or block (`b`) device."""

    kind: str
    major: int = 0
    minor: int = 0
    mode: int = 0o644


@dataclass(frozen=True)
class Tar:
    """A tar of a tree, in the order given; `extra` are members as they are, however odd."""

    tree: Tree | Pairs = field(default_factory=dict)
    """Pairs where a path is there more than once."""
    compression: str = ""
    extra: tuple[tarfile.TarInfo, ...] = ()
    format: int = tarfile.PAX_FORMAT
    mode: int = 0o644


@dataclass(frozen=True)
class Layout:
    """An OCI image layout with one image: its layers, its config (merged over a plain one), its history."""

    layers: tuple[Tree | Pairs, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    """`config` of the image config: Env, Cmd, …"""
    top: Mapping[str, Any] = field(default_factory=dict)
    """Other fields of the image config."""
    compression: str = "gz"


Node: TypeAlias = "str | bytes | File | Dir | Link | Hard | Special | Tar | Layout"
Tree: TypeAlias = "Mapping[str, Node]"
Pairs: TypeAlias = "tuple[tuple[str, Node], ...]"


@dataclass(frozen=True)
class Case:
    """One Dockerfile with what it is built from and how; placeholders are explained at `Group`."""

    name: str
    dockerfile: str
    context: Tree = field(default_factory=dict)
    beside: Tree = field(default_factory=dict)
    """Files that flags name as `{beside}/…`: secrets, named contexts."""
    flags: str = ""
    epoch: int = 0
    says: str | tuple[str, str] = ""
    """What both refusals must say, where their words differ for a good reason; or what BuildKit's and ours must."""
    instead: str = ""
    """What the engine builds in place of `dockerfile`, where it is older than the reference: files and layers are
    then compared, config and bytes are not."""
    note: str = ""
    """Why a level differs, or what the reference is where the engine is older; stands in the table."""
    source: str = "{context}"
    """The context argument: a directory, a URL, `-`."""

    @property
    def digest(self) -> str:
        """Changes with everything that the reference's answer depends on."""
        return fingerprint(
            self.instead or self.dockerfile, self.context, self.beside, self.flags, self.epoch, self.source
        )

    def make(self, root: Path) -> Path:
        """Write the context and `beside/` below `root`; the path of the context."""
        # BuildKit keeps contexts by the names of their directories, and takes a file of equal size and time as
        # unchanged: each case has a name of its own.
        context = root / f"context-{self.digest[:16]}"
        write_tree(context, self.context)
        write_tree(root / "beside", self.beside)
        return context


def fingerprint(*values: Any) -> str:
    """Hexadecimal digits that change with the values, which may be trees and the dataclasses of this module."""
    return hashlib.sha256(json.dumps(values, default=_plain, sort_keys=True).encode()).hexdigest()


CASES: dict[str, Case] = {}
SITE: dict[str, tuple[bytes, Mapping[str, str]]] = {}
"""What the HTTP server answers: path -> (body, headers)."""


def serve(path: str, body: bytes | str, **headers: str) -> None:
    """Let `{http}/PATH` answer `body`; `Last_Modified=` stands for the header Last-Modified."""
    data = body.encode() if isinstance(body, str) else body
    SITE["/" + path] = (data, {name.replace("_", "-"): value for name, value in headers.items()})


def group(name: str, tree: Tree | None = None) -> Callable[..., None]:
    """A function that declares the cases of one group; `tree` is the context of those that bring none.

    In Dockerfile and flags, `{http}` is the HTTP server of `serve`, `{git}` the URL of its repository, `{commit}` and
    `{tagged}` commits of it; in flags, `{context}` and `{beside}` are directories.
    """

    def case(title: str, dockerfile: str, context: Tree | None = None, *, raw: bool = False, **fields: Any) -> None:
        full = f"{name}/{title}"
        assert full not in CASES, f"two cases are called {full}"
        text = dockerfile if raw else textwrap.dedent(dockerfile).lstrip("\n")
        CASES[full] = Case(full, text, (tree or {}) if context is None else context, **fields)

    return case


def write_tree(root: Path, tree: Tree) -> None:
    """Make the tree at `root`, a new directory; sockets and devices need root."""
    root.mkdir(parents=True)
    folders: dict[Path, Dir] = {root: Dir()}
    late: list[tuple[Path, float]] = []
    for name, node in tree.items():
        path = Path(os.fsdecode(os.fsencode(root) + b"/" + name.encode("utf-8", "surrogateescape")))
        for above in [*reversed(path.parents)]:
            if above.is_relative_to(root) and above not in folders:
                above.mkdir()
                folders[above] = Dir()
        if isinstance(node, Dir):
            if not path.is_dir():
                path.mkdir()
            folders[path] = node
        elif isinstance(node, Layout):
            write_layout(path, node)
        else:
            _write_node(root, path, node)
            late.append((path, getattr(node, "mtime", TIME)))
    for path, mtime in late:
        os.utime(path, ns=(int(mtime * 1e9),) * 2, follow_symlinks=False)
    for path, folder in sorted(folders.items(), reverse=True):
        os.chown(path, folder.uid, folder.gid)
        path.chmod(folder.mode)
        os.utime(path, ns=(int(folder.mtime * 1e9),) * 2)


def change_tree(root: Path, changes: Mapping[str, Node | None], mtime: float = TIME) -> None:
    """Write nodes in place of those that are there, and remove what is None; `mtime` is for those without a time."""
    for name, node in changes.items():
        path = root / name
        if path.is_dir() and not path.is_symlink() and not isinstance(node, Dir):
            shutil.rmtree(path)
        elif not isinstance(node, Dir):
            path.unlink(missing_ok=True)
        if node is None:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(node, Dir):
            path.mkdir(exist_ok=True)
            os.chown(path, node.uid, node.gid)
            path.chmod(node.mode)
        else:
            _write_node(root, path, node)
        os.utime(path, ns=(int(getattr(node, "mtime", mtime) * 1e9),) * 2, follow_symlinks=False)


def _write_node(root: Path, path: Path, node: Node) -> None:
    if isinstance(node, str | bytes):
        node = File(node)
    if isinstance(node, Tar):
        node = File(tar(node), node.mode)
    if isinstance(node, File):
        data = node.data.encode("utf-8", "surrogateescape") if isinstance(node.data, str) else node.data
        with path.open("wb") as file:
            file.truncate(node.sparse)
            file.seek(max(0, node.sparse - len(data)))
            file.write(data)
        os.chown(path, node.uid, node.gid)
        path.chmod(node.mode)
        for name, value in node.xattrs.items():
            os.setxattr(path, name, value)
    elif isinstance(node, Link):
        path.symlink_to(node.to)
    elif isinstance(node, Hard):
        path.hardlink_to(root / node.to)
    elif isinstance(node, Special):
        kind = {"p": stat.S_IFIFO, "s": stat.S_IFSOCK, "c": stat.S_IFCHR, "b": stat.S_IFBLK}[node.kind]
        os.mknod(path, kind | node.mode, os.makedev(node.major, node.minor))
        path.chmod(node.mode)
    else:
        raise TypeError(f"a tree cannot hold {node!r}")


_KINDS = {"p": tarfile.FIFOTYPE, "c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE}


def tar(spec: Tar) -> bytes:
    """The archive's bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=spec.format, encoding="utf-8") as archive:
        for name, node in spec.tree.items() if isinstance(spec.tree, Mapping) else spec.tree:
            _add(archive, name, File(node) if isinstance(node, str | bytes) else node)
        for member in spec.extra:
            archive.addfile(member)
    return compress(buffer.getvalue(), spec.compression)


def _add(archive: tarfile.TarFile, name: str, node: Node) -> None:
    info = tarfile.TarInfo(name)
    info.mtime = getattr(node, "mtime", TIME)
    info.mode, info.uid, info.gid = getattr(node, "mode", 0o777), getattr(node, "uid", 0), getattr(node, "gid", 0)
    data = b""
    if isinstance(node, File):
        data = node.data.encode() if isinstance(node.data, str) else node.data
        info.size = len(data)
        info.pax_headers = {f"SCHILY.xattr.{key}": value.decode("latin-1") for key, value in node.xattrs.items()}
    elif isinstance(node, Dir):
        info.type = tarfile.DIRTYPE
    elif isinstance(node, Link):
        info.type, info.linkname = tarfile.SYMTYPE, node.to
    elif isinstance(node, Hard):
        info.type, info.linkname = tarfile.LNKTYPE, node.to
    elif isinstance(node, Special):
        info.type, info.devmajor, info.devminor = _KINDS[node.kind], node.major, node.minor
    archive.addfile(info, io.BytesIO(data))


def compress(data: bytes, how: str) -> bytes:
    """`data` as gz, bz2, xz, zst, or as it is."""
    if how == "gz":
        return gzip.compress(data, mtime=0)
    if how == "bz2":
        return bz2.compress(data)
    if how == "xz":
        return lzma.compress(data)
    if how == "zst":
        return zstandard.compress(data)
    return data


def write_layout(root: Path, layout: Layout) -> None:
    """Write an OCI image layout directory; its image has the tag `latest`."""
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(media_type: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    oci = "application/vnd.oci.image."
    suffix = {"": "", "gz": "+gzip", "zst": "+zstd"}[layout.compression]
    tars = [tar(Tar(tree)) for tree in layout.layers]
    layers = [blob(f"{oci}layer.v1.tar{suffix}", compress(data, layout.compression)) for data in tars]
    created = "2001-02-03T04:05:06.789Z"
    config = {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": dict(layout.config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in tars]},
        "history": [{"created": created, "created_by": f"layer {number}"} for number, _ in enumerate(tars)],
        **layout.top,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}manifest.v1+json",
        "config": blob(f"{oci}config.v1+json", json.dumps(config).encode()),
        "layers": layers,
    }
    descriptor = blob(f"{oci}manifest.v1+json", json.dumps(manifest).encode())
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    descriptor["platform"] = {"architecture": "amd64", "os": "linux"}
    index = {"schemaVersion": 2, "mediaType": f"{oci}index.v1+json", "manifests": [descriptor]}
    (root / "index.json").write_text(json.dumps(index))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"": type(value).__name__, **vars(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tarfile.TarInfo):
        return value.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape").hex()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} has no plain form")
