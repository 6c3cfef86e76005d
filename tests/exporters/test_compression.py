"""Packing layers: right, the same every time, once, and only where it has to be."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
from pathlib import Path

import pytest
import zstandard

from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import Interrupted
from pybuild_magic.exporters import compression
from pybuild_magic.exporters.compression import MADE, Packing, pack_layers
from pybuild_magic.exporters.packed import PackedBlobs
from pybuild_magic.oci.manifest import decode_manifest
from pybuild_magic.oci.mediatype import OCI_LAYER_GZIP, Compression
from pybuild_magic.session import FileSink
from pybuild_magic.store import Compressed
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck
from tests.exporters.build import Lab, file

LEVELS = [
    *((Compression.GZIP, level) for level in (None, -2, 0, 1, 2, 3, 4, 6, 9)),
    *((Compression.ZSTD, level) for level in (None, 1, 3, 19)),
]


def unpacked(kind: str, data: bytes) -> bytes:
    if kind == "gzip":
        return gzip.decompress(data)
    return zstandard.ZstdDecompressor().decompress(data) if kind == "zstd" else data


@pytest.mark.parametrize(("kind", "level"), LEVELS)
@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_every_level_gives_the_layer_back(lab: Lab, kind: Compression, level: int | None, size: int) -> None:
    layer = lab.layer(file("a", random.Random(1).randbytes(size // 2) * 2))
    [form] = pack_layers(lab.store, [layer.diff_id], Packing(kind, level), Cancel())
    data = lab.store.blobs.read(form.digest)
    assert form.size == len(data)
    assert unpacked(kind, data) == lab.store.blobs.read(layer.diff_id)
    assert lab.store.compressed.diff_id(form.digest) == layer.diff_id


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD])
def test_the_bytes_do_not_depend_on_the_number_of_processors(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Compression
) -> None:
    content = file("a", b"".join(b"%d\n" % number for number in range(1_000_000)))
    digests = set[str]()
    for processors in (1, 2, 7):
        monkeypatch.setattr(os, "cpu_count", lambda count=processors: count)
        compression._pool.cache_clear()
        other = Lab(tmp_path / str(processors))
        [form] = pack_layers(other.store, [other.layer(content).diff_id], Packing(kind), Cancel())
        digests.add(form.digest)
    compression._pool.cache_clear()
    assert len(digests) == 1


def test_gzip_has_gos_header_and_no_time(lab: Lab) -> None:
    [form] = pack_layers(lab.store, [lab.layer(file("a", b"x")).diff_id], Packing(), Cancel())
    assert lab.store.blobs.read(form.digest)[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_a_layer_is_packed_once_for_each_set_of_parameters(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    diff_id = lab.layer(file("a", b"x" * 100)).diff_id
    calls: list[str] = []
    pack = compression._pack
    monkeypatch.setattr(
        compression, "_pack", lambda *args, **how: calls.append(args[2].parameters) or pack(*args, **how)
    )
    for packing in (Packing(), Packing(), Packing(level=6), Packing(level=6, force=True), Packing(Compression.ZSTD)):
        pack_layers(lab.store, [diff_id, diff_id], packing, Cancel())
    assert calls == ["gzip:default", "gzip:6", "zstd:default"]
    forms = lab.store.compressed.get(diff_id)
    assert {form.annotations[MADE] for form in forms} == set(calls)


def test_uncompressed_is_the_layer_itself(lab: Lab) -> None:
    layer = lab.layer(file("a", b"x"))
    [form] = pack_layers(lab.store, [layer.diff_id], Packing(Compression.UNCOMPRESSED), Cancel())
    assert (form.digest, form.size) == (layer.diff_id, layer.size)
    assert lab.store.compressed.get(layer.diff_id) == []


def test_a_pulled_layer_keeps_its_form_unless_forced(lab: Lab) -> None:
    layer = lab.layer(file("a", b"x"))
    pulled = gzip.compress(lab.store.blobs.read(layer.diff_id), 1)
    digest = lab.store.blobs.put(pulled)
    lab.store.compressed.put(layer.diff_id, Compressed(OCI_LAYER_GZIP, digest, len(pulled), "gzip"))

    def form(kind: Compression, *, force: bool) -> Compressed:
        return pack_layers(lab.store, [layer.diff_id], Packing(kind, force=force), Cancel())[0]

    for kind in Compression:
        assert form(kind, force=False).digest == digest
    assert form(Compression.GZIP, force=True).digest == digest  # the compression is right: BuildKit leaves it
    assert form(Compression.ZSTD, force=True).compression == "zstd"
    assert form(Compression.UNCOMPRESSED, force=True).digest == layer.diff_id
    assert form(Compression.ZSTD, force=False).digest == digest  # also after an export has made another form


def test_a_cancel_stops_it_and_leaves_no_blob(lab: Lab) -> None:
    diff_id = lab.layer(file("a", random.Random(1).randbytes(8 << 20))).diff_id
    before = {path for path in lab.store.root.rglob("*") if path.is_file() and "blobs" in path.parts}
    cancel = Cancel()
    with pytest.raises(Interrupted):
        pack_layers(lab.store, [diff_id], Packing(), cancel, lambda _: cancel.cancel())
    assert {path for path in lab.store.root.rglob("*") if path.is_file() and "blobs" in path.parts} == before
    assert lab.store.compressed.get(diff_id) == []


def test_progress_counts_every_byte_of_every_layer(lab: Lab) -> None:
    layers = [lab.layer(file(name, b"x" * 5000)) for name in "abc"]
    done: list[int] = []
    forms = pack_layers(lab.store, [layer.diff_id for layer in layers], Packing(), Cancel(), done.append)
    assert sum(done) == sum(layer.size for layer in layers)
    assert [hashlib.sha256(lab.store.blobs.read(form.digest)).hexdigest() for form in forms] == [
        form.digest[7:] for form in forms
    ]


def test_a_large_layer_of_an_image_for_the_store_stays_a_tar(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else was made of it: one build has one digest, and the image has one ID."""
    monkeypatch.setattr(compression, "_LARGE", 4096)
    result = lab.result(file("b", random.Random(1).randbytes(1 << 14)))
    first = lab.export("image", result, {"name": "a"})
    lab.export("oci", result, {}, FileSink(tmp_path / "x.tar"))
    second = lab.export("image", result, {"name": "a"})
    assert first["containerimage.digest"] == second["containerimage.digest"]
    asked = lab.export("image", result, {"name": "b", "compression": "gzip"})
    assert asked["containerimage.config.digest"] == first["containerimage.config.digest"]
    small = lab.export("image", lab.result(file("a", b"small")), {"name": "small"})
    assert [_kind(lab, response) for response in (first, asked, small)] == ["tar", "tar+gzip", "tar+gzip"]
    collect_garbage(lab.store)
    assert fsck(lab.store) == []


def _kind(lab: Lab, response: dict[str, str]) -> str:
    """Of the one layer of an image."""
    [layer] = decode_manifest(lab.store.blobs.read(response["containerimage.digest"])).layers
    return layer.media_type.rpartition(".")[2]


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_packed_form_that_a_collection_took_is_made_again(lab: Lab, kind: str) -> None:
    result = lab.result(file("a", random.Random(1).randbytes(1 << 19) * 4))
    [diff_id] = result.targets[0].snapshot
    lab.export("image", result, {"name": "a", "compression": kind})
    [form] = lab.store.compressed.get(diff_id)
    data = lab.store.blobs.read(form.digest)
    lab.store.db.execute("DELETE FROM blobs WHERE digest = ?", (form.digest,))
    collect_garbage(lab.store)
    assert not lab.store.blobs.has(form.digest)
    with PackedBlobs(lab.store, None, Cancel()).open(form.digest) as file_:
        assert file_.read() == data
    assert unpacked(kind, data) == lab.store.blobs.read(diff_id)


def test_a_layer_that_is_written_out_is_kept_packed(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_LARGE", 1)
    result = lab.result(file("a", b"content"))
    lab.export("oci", result, {}, FileSink(tmp_path / "x.tar"))
    assert lab.store.compressed.get(result.targets[0].snapshot[0])
