"""Images made with tarfile and json alone, so that a mistake in the package cannot hide in its own tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@dataclass
class Made:
    """An image for one platform, and all its blobs."""

    manifest: bytes
    media_type: str
    config: bytes
    layers: list[bytes]
    """As they are in a registry, bottom first."""
    diff_ids: list[str]
    platform: dict[str, str]
    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def digest(self) -> str:
        return digest(self.manifest)

    def descriptor(self) -> dict[str, Any]:
        entry = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest)}
        return entry | {"platform": self.platform}


def make(
    *layers: dict[str, bytes],
    compression: str = "gzip",
    docker: bool = False,
    architecture: str = "amd64",
    diff_ids: list[str] | None = None,
    config: dict[str, Any] | None = None,
    layer_type: str = "",
    packed: list[bytes] | None = None,
    urls: list[str] | None = None,
) -> Made:
    """An image of these layers; `diff_ids`, `layer_type` and `packed` are lies to tell of them."""
    tars = [tar(files) for files in layers]
    if packed is not None:
        pass
    elif compression == "gzip":
        packed = [gzip.compress(data, 6, mtime=0) for data in tars]
    elif compression == "zstd":
        packed = [zstandard.compress(data) for data in tars]
    else:
        packed = tars
    ids = diff_ids if diff_ids is not None else [digest(data) for data in tars]
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": config or {"Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": ids},
        "history": [{"created_by": f"layer {number}"} for number in range(len(tars))],
    }
    config_data = json.dumps(document).encode()
    if docker:
        types = (
            f"{DOCKER}distribution.manifest.v2+json",
            f"{DOCKER}container.image.v1+json",
            f"{DOCKER}image.rootfs.diff.tar.gzip",
        )
    else:
        suffix = {"gzip": "+gzip", "zstd": "+zstd"}.get(compression, "")
        types = (f"{OCI}manifest.v1+json", f"{OCI}config.v1+json", f"{OCI}layer.v1.tar{suffix}")
    manifest = {
        "schemaVersion": 2,
        "mediaType": types[0],
        "config": {"mediaType": types[1], "digest": digest(config_data), "size": len(config_data)},
        "layers": [
            {"mediaType": layer_type or types[2], "digest": digest(data), "size": len(data)}
            | ({"urls": urls} if urls else {})
            for data in packed
        ],
    }
    data = json.dumps(manifest).encode()
    made = Made(data, types[0], config_data, packed, ids, {"os": "linux", "architecture": architecture})
    made.blobs = {digest(blob): blob for blob in (data, config_data, *packed)}
    return made


def make_index(*images: Made, docker: bool = False, platforms: bool = True) -> tuple[bytes, str]:
    """(an index of these images, its media type); without `platforms` it does not say what they are for."""
    media_type = f"{DOCKER}distribution.manifest.list.v2+json" if docker else f"{OCI}index.v1+json"
    entries = [each.descriptor() for each in images]
    for entry in entries if not platforms else ():
        del entry["platform"]
    index = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return json.dumps(index).encode(), media_type


def write_layout(path: Path, *images: Made, tag: str = "", index: bool = False, platforms: bool = True) -> Path:
    """An image layout; with `index`, one index of all the images, which says their `platforms`."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    for image in images:
        for name, data in image.blobs.items():
            (blobs / name.partition(":")[2]).write_bytes(data)
    entries = [image.descriptor() for image in images]
    if index:
        data, media_type = make_index(*images, platforms=platforms)
        (blobs / digest(data).partition(":")[2]).write_bytes(data)
        entries = [{"mediaType": media_type, "digest": digest(data), "size": len(data)}]
    if tag:
        entries[0]["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return path


def skopeo(*arguments: object) -> str:
    """Run skopeo; its output."""
    command = ["skopeo", "--insecure-policy", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def upload(layout: Path, ref: str, credentials: str = "") -> None:
    """Put a layout into a registry with skopeo, every byte as it is."""
    login = ["--dest-creds", credentials] if credentials else []
    skopeo("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", *login, f"oci:{layout}", f"docker://{ref}")
