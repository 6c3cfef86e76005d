"""The form of a base image's layers in an image: the one in which a store has met a layer first, as in BuildKit."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import uuid
from pathlib import Path

import pytest

from tests.services.buildkit import Engine

from .lab import Home

DOCKERFILE = "FROM base\nCOPY --from=base /f /g\n"
FORMS = ("", ",compression=uncompressed", ",compression=gzip,force-compression=true")


@pytest.mark.parametrize("order", ["a tar, then gzip", "gzip, then a tar"])
def test_a_layer_of_the_base_keeps_the_form_that_the_store_met_first(
    home: Home, engine: Engine, tmp_path: Path, order: str
) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        data = uuid.uuid4().hex.encode() * 200
        member = tarfile.TarInfo("f")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    seen: list[tuple[str, str]] = []
    for name in order.split(", then "):
        base = layout(tmp_path / name, archive.getvalue(), zipped=name == "gzip")
        for form in FORMS:
            output = f"type=oci,dest={tmp_path}/image.tar{form}"
            flags = (f"--build-context=base=oci-layout://{base}", "--provenance=false", f"--output={output}")
            engine.buildx_build(None, *flags, dockerfile=DOCKERFILE)
            theirs = base_layer(tmp_path / "image.tar")
            home.build(DOCKERFILE, build_contexts={"base": f"oci-layout://{base}"}, outputs=output)
            ours = base_layer(tmp_path / "image.tar")
            made_anew = "force" in form and order.startswith("a tar")  # by two compressors
            assert ours[0] == theirs[0]
            assert made_anew or ours == theirs
            seen.append(ours)
    assert seen[:3] == seen[3:]


def layout(root: Path, tar: bytes, *, zipped: bool) -> Path:
    """Write an image with one layer, in one of two forms."""
    blobs = root / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        kind = f"application/vnd.oci.image.{kind}"
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]}
    config = {"architecture": "amd64", "os": "linux", "rootfs": rootfs, "config": {}}
    layer = put(gzip.compress(tar), "layer.v1.tar+gzip") if zipped else put(tar, "layer.v1.tar")
    parts = {"config": put(json.dumps(config).encode(), "config.v1+json"), "layers": [layer]}
    manifest = put(json.dumps({"schemaVersion": 2, **parts}).encode(), "manifest.v1+json")
    entry = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return root


def base_layer(path: Path) -> tuple[str, str]:
    """Return the media type and the digest of an image's first layer."""
    with tarfile.open(path) as archive:
        index = json.load(archive.extractfile("index.json") or pytest.fail())
        name = f"blobs/{index['manifests'][0]['digest'].replace(':', '/')}"
        layer = json.load(archive.extractfile(name) or pytest.fail())["layers"][0]
    return layer["mediaType"], layer["digest"]
