"""Compressed streams that are cut or damaged, at every door that they come in by: a sentence, and nothing is kept."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import zstandard

from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.errors import BuildError
from pybuild_magic.images.archive import Archive
from pybuild_magic.images.load import load_image
from pybuild_magic.notebook.cells import import_file
from pybuild_magic.oci.validate import problems
from pybuild_magic.results.contents import TarView
from pybuild_magic.session import MemorySource, TarSource
from pybuild_magic.store import Store, decompress
from tests.oci.images import SmallImage
from tests.solver.compare import solve

from .images import tar
from .servers import HTTPServer, Reply

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
CONTENT = random.Random(5).randbytes(90_000)
PLAIN = tar({"Dockerfile": b"FROM scratch\nCOPY f /\n", "f": CONTENT})


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda data: data[: len(data) * 2 // 3],
    "cut at the start": lambda data: data[:9],
    "flipped": lambda data: _flipped(data, len(data) // 2),
}


@pytest.fixture(params=[(packer, damage) for packer in PACKERS for damage in DAMAGES], ids=" ".join)
def damaged(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    """Pack a tar, and damage that."""
    packer, damage = request.param
    return lambda data: DAMAGES[damage](PACKERS[packer](data))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def refused(what: Callable[[], object]) -> None:
    with pytest.raises(BuildError) as caught:
        what()
    message = str(caught.value)
    assert message.endswith(".") and "Error" not in message, message


def test_of_an_archive_of_images(damaged: Callable[[bytes], bytes], store: Store, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    path.write_bytes(damaged(SmallImage(CONTENT).archive("docker.io/library/a:1")))
    refused(lambda: load_image(store, path))
    assert not store.images.list() and not list((store.root / "ingest").iterdir())


def test_of_a_layer_in_an_archive_and_in_its_check(damaged: Callable[[bytes], bytes], store: Store) -> None:
    """The digests are right, so nothing but the decompressor can say that something is wrong."""
    image = SmallImage(CONTENT)
    archive = Archive(io.BytesIO(image.docker_archive("a:1", packed=damaged(image.layer))))
    problem = problems(archive, archive.index().manifests[0], decompress)
    assert problem and all(text.endswith(".") and "Error" not in text for text in problem)


def test_of_a_layer_that_is_pulled(damaged: Callable[[bytes], bytes], tmp_path: Path) -> None:
    layer = damaged(PLAIN)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [_digest(PLAIN)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
        }
    ).encode()
    with HTTPServer() as server, _builder(tmp_path) as builder:
        headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        for where in ("1", _digest(manifest)):
            server.on(f"/v2/a/manifests/{where}", Reply(manifest, headers=headers), forever=True)
        for blob in (config, layer):
            server.on(f"/v2/a/blobs/{_digest(blob)}", Reply(blob), forever=True)
        text = f"FROM --platform=linux/amd64 {server.host}/a:1 AS a\nFROM scratch\nCOPY --from=a f /g"
        refused(lambda: solve(builder, text, MemorySource({})))
        assert not builder.store.has_layer(_digest(PLAIN))


def test_of_what_add_unpacks(damaged: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = damaged(PLAIN)
    with HTTPServer() as server, _builder(tmp_path) as builder:
        server.on("/a.tar", Reply(data), forever=True)
        for where in ("a.tar", f"--unpack=true {server.url}/a.tar"):
            try:
                build = solve(builder, f"FROM scratch\nADD {where} /x/", MemorySource({"a.tar": data}))
            except BuildError as error:
                assert "Error" not in str(error)
            else:  # Not even the first header is to be had, so that it is a file like any other, as for BuildKit.
                assert build.response.files is not None
                sizes = {entry.path: entry.size for entry in build.response.files}
                assert sizes == {"x": 0, "x/a.tar": len(data)}


def test_of_a_context(damaged: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = damaged(PLAIN)
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    for archive in (data, path, io.BytesIO(data)):
        refused(lambda archive=archive: TarSource(archive))


def test_of_a_tar_that_is_looked_into(damaged: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(damaged(PLAIN))
    refused(lambda: TarView(path))
    with patch("pybuild_magic.notebook.cells.shell"):  # whether or not there is one, nothing is to come of it
        refused(lambda: import_file([str(path)]))


@pytest.mark.parametrize("packer", ["plain", *PACKERS])
def test_a_tar_that_is_whole_is_looked_into(packer: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(PACKERS.get(packer, bytes)(PLAIN))
    view = TarView(path)
    assert [entry.path for _, entry in view.entries()] == ["Dockerfile", "f"]
    assert view.read("f", 40_000, 10) == (view.read("f", 0, 0)[0], CONTENT[40_000:40_010])
    assert view.read("f", 89_999, 10)[1] == CONTENT[-1:]


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


class _builder:  # noqa: N801 - reads as a statement
    def __init__(self, folder: Path) -> None:
        self._builder = EmbeddedBuilder(Store(folder / "store"))

    def __enter__(self) -> EmbeddedBuilder:
        return self._builder

    def __exit__(self, *_: object) -> None:
        self._builder.close()
