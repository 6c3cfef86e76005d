"""Images copied between all places, with the digests that skopeo sees and makes."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path

import pytest

from tests.services.baseimages import BaseImage, skopeo
from tests.services.buildkit import Engine
from tests.services.registry import Registry

from .conftest import Pybuild


def _digest(pybuild: Pybuild, *words: str) -> str:
    return pybuild("convert", "-q", *words).stdout.decode().strip()


def test_files_and_the_store_keep_the_digest(pybuild: Pybuild, busybox_layout: BaseImage) -> None:
    chain = [
        "busybox",
        "oci:layout:tag",
        "oci-archive:archive.tar:tag",
        "docker-archive:saved.tar:name:1",
        "store:copy:1",
    ]
    digests = {_digest(pybuild, source, dest) for source, dest in itertools.pairwise(chain)}
    assert digests == {busybox_layout.digest}
    for place in (chain[1], chain[2]):
        assert json.loads(skopeo("inspect", place))["Digest"] == busybox_layout.digest
    assert pybuild("run", "copy:1", "echo", "runs").stdout == b"runs\n"


def test_a_registry_keeps_the_digest(pybuild: Pybuild, registry: Registry, busybox_layout: BaseImage) -> None:
    there = f"docker://{registry.host}/converted:1"
    assert _digest(pybuild, "busybox", there) == busybox_layout.digest
    assert _digest(pybuild, there, "oci:back") == busybox_layout.digest
    assert (Path("back") / "blobs" / busybox_layout.digest.replace(":", "/")).is_file()


def test_an_engine_takes_and_gives_images(pybuild: Pybuild, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in engine.environ().items():
        monkeypatch.setenv(name, value)
    name = "pybuild-converted:1"
    _digest(pybuild, "busybox", f"docker-daemon:{name}")
    try:
        engine.docker("run", "--rm", name, "true")
        _digest(pybuild, f"docker-daemon:{name}", "store:from-engine")
        assert pybuild("run", "from-engine", "echo", "runs").stdout == b"runs\n"
    finally:
        engine.docker("rmi", name)


def test_layers_are_packed_anew_when_that_is_asked_for(pybuild: Pybuild, busybox_layout: BaseImage) -> None:
    digest = _digest(pybuild, "--compression", "zstd", "busybox", "oci:zstd:1")
    assert digest != busybox_layout.digest
    manifest = json.loads((Path("zstd/blobs") / digest.replace(":", "/")).read_bytes())
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert manifest["config"]["digest"] == busybox_layout.manifest["config"]["digest"]


def test_mistakes_are_sentences(pybuild: Pybuild) -> None:
    for words in (
        ["busybox"],
        ["busybox", "dcoker://x"],
        ["nosuch", "oci:x"],
        ["oci:nowhere", "x"],
        ["--nosuch", "a", "b"],
    ):
        told = pybuild("convert", *words, code=125 if words[0] == "--nosuch" else 1).stderr
        assert b"Traceback" not in told
        assert told.startswith((b"ERROR: ", b"#1 ")), told


def test_a_platform_of_several_is_chosen(pybuild: Pybuild) -> None:
    dockerfile = b"FROM scratch\nCOPY Dockerfile /\n"
    Path("Dockerfile").write_bytes(dockerfile)
    pybuild("build", "--platform", "linux/amd64,linux/arm64", "-q", "-t", "both", ".")
    whole = _digest(pybuild, "both", "oci:both")
    assert json.loads((Path("both/blobs") / whole.replace(":", "/")).read_bytes())["manifests"]
    one = _digest(pybuild, "--platform", "linux/arm64", "both", "oci:one")
    assert "layers" in json.loads((Path("one/blobs") / one.replace(":", "/")).read_bytes())
    subprocess.run(["rm", "-rf", "both", "one"], check=True)
