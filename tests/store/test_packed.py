"""One form a layer: a tar whose packed form is here is dropped for room, and made again when somebody reads it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import time

import pytest

from pybuild_magic.errors import StoreError
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.status.report import Reporter
from pybuild_magic.store import CacheRecord, Compressed, Layer, Store, import_tar, policy
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.collector import Collector
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.history import HistoryRecord
from pybuild_magic.store.policy import TAR

from .made import image_of

CONTENT = os.urandom(10_000) * 100


def pulled(store: Store, name: str, content: bytes = CONTENT) -> Layer:
    """A layer as a pull leaves it, in both forms, which no registry is known to have."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    packed = gzip.compress(buffer.getvalue(), 9)
    layer = import_tar(store, io.BytesIO(packed))
    store.compressed.put(layer.diff_id, Compressed("m", store.blobs.put(packed), len(packed), "gzip"))
    store.cache.put(name, CacheRecord((layer.diff_id,)))
    store._durability.flush()
    return layer


def room(store: Store) -> int:
    return sum(path.stat().st_size for path in (store.root / "blobs").rglob("*") if path.is_file())


@pytest.fixture
def dropped(store: Store) -> Layer:
    """A layer of which the packed form alone is there."""
    layer = pulled(store, "f")
    image_of(store, "name", layer, store.compressed.get(layer.diff_id)[0].digest)
    done = Collector(store, lambda: None).run(1)
    assert done.counts[TAR] == 1 and not store.blobs.path(layer.diff_id).exists()
    return layer


def test_a_tar_goes_and_comes_back_byte_for_byte(store: Store, dropped: Layer) -> None:
    assert room(store) < len(CONTENT) / 3 and fsck(store) == []
    assert store.has_layer(dropped.diff_id) and store.blobs.has(dropped.diff_id)
    assert store.blobs.size(dropped.diff_id) == dropped.size
    tree = store.tree([dropped.diff_id])
    assert [entry.path for entry in tree.walk()] == ["f"] and not store.blobs.path(dropped.diff_id).exists()
    said: list[SolveStatus] = []
    with Reporter(said.append).vertex("sha256:" + "1" * 64, "RUN").bound():
        assert tree.read(next(iter(tree.walk()))) == CONTENT
    last = said[-1].statuses[-1]
    assert last.name.startswith("extracting sha256:") and last.completed and last.current == dropped.size
    assert "sha256:" + hashlib.sha256(store.blobs.read(dropped.diff_id)).hexdigest() == dropped.diff_id
    assert fsck(store) == []


def test_a_layer_that_is_in_use_keeps_its_tar(store: Store) -> None:
    layer = pulled(store, "f")
    with Store(store.root) as other, other.lease():
        assert other.has_layer(layer.diff_id)
        Collector(store, lambda: None).run(1)
        assert store.blobs.path(layer.diff_id).exists()
    collect_garbage(store)


def test_a_packed_form_that_is_all_there_is_stays(store: Store, dropped: Layer) -> None:
    form = store.compressed.get(dropped.diff_id)[0]
    store.compressed.seen_in(form.digest, "registry.test", "some/where")
    Collector(store, lambda: None).run(1)
    assert store.blobs.path(form.digest).exists() and store.blobs.verify(dropped.diff_id) == ""


def test_a_tar_stays_until_its_packed_form_is_on_the_disk(store: Store) -> None:
    layer = pulled(store, "f")
    form = store.compressed.get(layer.diff_id)[0]
    store.db.execute("UPDATE blobs SET boot = 'x' WHERE digest = ?", (form.digest,))
    image_of(store, "name", layer, form.digest)
    assert TAR not in Collector(store, lambda: None).run(1).counts and store.blobs.path(layer.diff_id).exists()


def test_a_broken_packed_form_is_told_and_repaired(store: Store, dropped: Layer) -> None:
    path = store.blobs.path(store.compressed.get(dropped.diff_id)[0].digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(StoreError):
        store.blobs.read(dropped.diff_id)
    assert {problem.kind for problem in fsck(store)} >= {"blob", "layer"}
    fsck(store, repair=True)
    assert not store.has_layer(dropped.diff_id) and fsck(store) == []


def test_a_broken_tar_leaves_the_packed_layer(store: Store) -> None:
    layer = pulled(store, "f")
    store.blobs.path(layer.diff_id).write_bytes(b"broken")
    assert [problem.kind for problem in fsck(store, repair=True)] == ["blob"]
    assert store.has_layer(layer.diff_id) and fsck(store) == []
    assert store.blobs.verify(layer.diff_id) == ""


@pytest.mark.parametrize("processes", ["one", "many"])
def test_seven_images_take_no_more_than_their_larger_forms_and_a_third(
    store: Store, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    """Whether one process has built them, or each a process of its own, the last of which is gone."""
    monkeypatch.setattr(policy, "_SPARE_LEAST", 0)
    layers: list[Layer] = []
    for n in range(7):
        builder = store if processes == "one" else Store(store.root)
        with builder.lease():
            builder.history.put(HistoryRecord(str(n), created=time.time()))
            content = os.urandom(400_000) + bytes(600_000)
            layers.append(layer := pulled(builder, str(n), content))
            work = builder.rootfs.workdir()
            (work / "f").write_bytes(content)
            builder.rootfs.commit(layer.diff_id, work, layer.diff_id, len(content))
        if builder is not store:
            builder.close()
    collector = Collector(store, lambda: 1 << 40)
    assert collector.size() > 2 * sum(layer.size for layer in layers)
    collector.start()
    collector.finish()
    assert collector.size() <= 1.3 * sum(layer.size for layer in layers) + 100_000
    assert store.rootfs.get(layers[-1].diff_id), "what the last build used is at hand"
    assert fsck(store) == []
    assert [store.blobs.verify(layer.diff_id) for layer in layers] == [""] * 7
