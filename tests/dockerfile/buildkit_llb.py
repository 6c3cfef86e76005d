"""BuildKit's own view of a build: vertex names, the LLB of its provenance, and the image config."""

from __future__ import annotations

import functools
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pybuild_magic.dockerfile.metadata import ResolvedImage
from pybuild_magic.errors import SourceError
from tests.services import ServiceError
from tests.services.buildkit import Engine

from .provenance import Line, attested, decode, graph


@dataclass(frozen=True)
class Built:
    """What BuildKit says of one build."""

    names: set[str]
    graph: list[Line]
    config: dict[str, Any]


def build(engine: Engine, context: Path, out: Path, *flags: str, dockerfile: str, env: dict[str, str]) -> Built:
    """Run one build without cache and read everything that it says."""
    fixed = ("--no-cache", "--provenance=mode=max", "--progress=rawjson", "--output", f"type=oci,dest={out}")
    done = engine.buildx_build(context, *fixed, *flags, dockerfile=dockerfile, env=env, check=False)
    assert done.returncode == 0, done.stderr.partition("Dockerfile:")[2] or done.stderr[-2000:]
    messages = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    names = {vertex["digest"]: vertex["name"] for message in messages for vertex in message.get("vertexes", ())}
    config, provenance = _image(out)
    return Built(set(names.values()), graph(decode(attested(provenance), names)), config)


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
            return ResolvedImage(ref, digest, _saved_config(self.engine, digest))
        except ServiceError as error:
            raise SourceError(str(error)) from error


@functools.cache
def _saved_config(engine: Engine, digest: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="pybuild-saved-") as scratch:
        archive = Path(scratch, "image.tar")
        engine.docker("image", "save", "--output", archive, digest)
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest
            config = tar.extractfile(json.load(manifest)[0]["Config"])
            assert config
            return config.read()
