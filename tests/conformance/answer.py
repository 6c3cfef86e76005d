"""What a builder answered, in a form that can be kept and compared; read with tarfile and json alone."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import tarfile
from pathlib import Path
from typing import IO, Any

import msgspec
import zstandard

from tests.dockerfile.provenance import Line, Provenance, attested
from tests.services import cache_dir

from .attested import attachment

PREVIEW = 400
"""Bytes of a file that are kept to be shown."""


class Member(msgspec.Struct, omit_defaults=True):
    """One member of a layer's tar, with all that its headers say."""

    name: str
    type: str
    mode: int
    uid: int
    gid: int
    mtime: str
    size: int = 0
    link: str = ""
    device: str = ""
    owner: str = ""
    pax: dict[str, str] = {}
    content: str = ""
    """sha256 of a file's bytes."""
    preview: str = ""


class Layer(msgspec.Struct):
    """A layer: digest of its tar and of the blob, and what the blob is."""

    diff_id: str
    digest: str
    media_type: str


class Image(msgspec.Struct):
    """One image of a result, one a platform."""

    platform: str
    digest: str
    manifest: dict[str, Any]
    config_digest: str
    config: dict[str, Any]
    layers: list[Layer]
    provenance: Provenance
    """The graph, as it is attested."""
    statement: dict[str, Any] = {}
    """The whole attestation."""
    attachment: dict[str, Any] = {}
    """How the image has it."""
    graph: list[Line] = []
    """The graph as it is compared."""


class Answer(msgspec.Struct):
    """An image, or a refusal."""

    images: list[Image] = []
    index: dict[str, Any] = {}
    """What `index.json` points to when it is an index, without attestations."""
    error: str = ""
    lines: list[int] = []
    """The lines of the Dockerfile that the refusal marks."""
    names: dict[str, str] = {}
    """The names of BuildKit's vertices, by digest."""


def read_answer(archive: Path, *, multi: bool = False) -> Answer:
    """The answer in an OCI archive; the listings of its layers are kept for `members`.

    `multi` says that it has an index though it has one image, and not for the sake of an attestation.
    """
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> IO[bytes]:
            file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file
            return file

        file = tar.extractfile("index.json")
        assert file
        root = json.load(file)["manifests"]
        assert len(root) == 1, root
        top = json.load(blob(root[0]["digest"]))
        index: dict[str, Any] = {}
        entries = root
        attestations: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        if "manifests" in top:
            entries = [entry for entry in top["manifests"] if entry.get("platform", {}).get("os") != "unknown"]
            if multi or len(entries) > 1 or entries == top["manifests"]:
                index = {**top, "manifests": entries}
            for entry in top["manifests"]:
                if of := entry.get("annotations", {}).get("vnd.docker.reference.digest"):
                    manifest = json.load(blob(entry["digest"]))
                    (layer,) = manifest["layers"]
                    made = attachment(entry, manifest, json.load(blob(manifest["config"]["digest"])))
                    attestations[of] = json.load(blob(layer["digest"])), made
        images: list[Image] = []
        for entry in entries:
            manifest = json.load(blob(entry["digest"]))
            config = json.load(blob(manifest["config"]["digest"]))
            layers: list[Layer] = []
            for diff_id, layer in zip(config["rootfs"]["diff_ids"] or (), manifest["layers"] or (), strict=True):
                layers.append(Layer(diff_id, layer["digest"], layer["mediaType"]))
                _keep(diff_id, layer["digest"], blob)
            platform = "/".join(filter(None, (config.get(key, "") for key in ("os", "architecture", "variant"))))
            statement, made = attestations.get(entry["digest"], ({}, {}))
            images.append(
                Image(
                    platform,
                    entry["digest"],
                    manifest,
                    manifest["config"]["digest"],
                    config,
                    layers,
                    attested(statement),
                    statement=statement,
                    attachment=made,
                )
            )
        return Answer(images, index)


def members(diff_id: str) -> list[Member]:
    """The members of a layer that `read_answer` has seen, on this machine, at any time."""
    return msgspec.json.decode(gzip.decompress(_listing(diff_id).read_bytes()), type=list[Member])


def has_members(answer: Answer) -> bool:
    """Whether the listings of all its layers are kept."""
    return all(_listing(layer.diff_id).exists() for image in answer.images for layer in image.layers)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that another process sees whole or not at all."""
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    Path(file.name).rename(path)


def _listing(diff_id: str) -> Path:
    hexadecimal = diff_id.partition(":")[2]
    return cache_dir() / "conformance" / "layers-2" / hexadecimal[:2] / f"{hexadecimal}.json.gz"


def _keep(diff_id: str, digest: str, blob: Any) -> None:
    path = _listing(diff_id)
    if path.exists():
        return
    data = _unpack(blob(digest).read())
    if "sha256:" + hashlib.sha256(data).hexdigest() != diff_id:
        raise AssertionError(f"layer {digest} does not unpack to its diffID {diff_id}")
    write_whole(path, gzip.compress(msgspec.json.encode(_members(data)), 1))


def _unpack(data: bytes) -> bytes:
    for magic, unpack in ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ", lzma.decompress)):
        if data.startswith(magic):
            return unpack(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


_TYPES = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
_SHOWN = {"path", "linkpath", "size", "uid", "gid", "mtime", "uname", "gname"}


def _members(data: bytes) -> list[Member]:
    import io

    found: list[Member] = []
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as tar:
        for info in tar:
            member = Member(
                text(info.name),
                _TYPES.get(info.type, repr(info.type)),
                info.mode,
                info.uid,
                info.gid,
                str(info.pax_headers.get("mtime", info.mtime)),
                info.size,
                text(info.linkname),
                f"{info.devmajor}:{info.devminor}" if info.ischr() or info.isblk() else "",
                f"{info.uname}:{info.gname}" if info.uname or info.gname else "",
                {key: text(value) for key, value in info.pax_headers.items() if key not in _SHOWN},
            )
            if info.isreg():
                file = tar.extractfile(info)
                assert file
                content = file.read()
                member.content = hashlib.sha256(content).hexdigest()
                member.preview = content[:PREVIEW].decode("utf-8", "backslashreplace")
            found.append(member)
    return found


def text(value: str) -> str:
    """A name as valid text: bytes that are not UTF-8 become escapes."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
