"""What keeps what: leases, collection, pruning, and the repair of a store that lost a part."""

from __future__ import annotations

import shutil

import pytest

from pybuild_magic.errors import StoreError, UsageError
from pybuild_magic.store import (
    CacheRecord,
    Compressed,
    HistoryRecord,
    Layer,
    Store,
)
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.usage import disk_usage, prune

from .made import image_of, layer_of


def test_collection_spares_what_is_needed(store: Store) -> None:
    of_image, of_record, of_nobody = (layer_of(store, name) for name in ("image", "record", "nobody"))
    gz = store.blobs.put(b"compressed")
    store.compressed.put(of_image.diff_id, Compressed("m", gz, 10, "gzip"))
    image_of(store, "name", of_image, compressed=gz)
    store.cache.put("key", CacheRecord((of_record.diff_id,), blobs=(store.blobs.put(b"extra"),)))
    log, loose = store.blobs.put(b"log"), store.blobs.put(b"loose")
    store.history.put(HistoryRecord("ref", log=log))
    assert collect_garbage(store) > 0
    assert store.has_layer(of_image.diff_id) and store.has_layer(of_record.diff_id)
    assert not store.has_layer(of_nobody.diff_id) and not store.blobs.has(of_nobody.diff_id)
    assert store.blobs.has(gz) and store.blobs.has(log) and not store.blobs.has(loose)
    assert fsck(store) == [] and collect_garbage(store) == 0
    store.images.remove("name")
    store.cache.remove("key")
    store.history.remove("ref")
    collect_garbage(store)
    assert not list((store.root / "blobs" / "sha256").iterdir()) and fsck(store) == []


def test_a_lease_keeps_what_was_made_or_used_since(store: Store) -> None:
    old = layer_of(store, "old")
    with Store(store.root) as other:
        with store.lease():
            new = layer_of(store, "new")
            assert store.has_layer(old.diff_id)
            collect_garbage(other)
            assert other.has_layer(new.diff_id) and other.has_layer(old.diff_id)
        collect_garbage(other)
        assert not other.has_layer(new.diff_id) and not other.has_layer(old.diff_id)


def test_a_tree_needs_its_layers_and_keeps_them(store: Store) -> None:
    layer = layer_of(store, "x")
    with Store(store.root) as other:
        with store.lease():
            store.tree([layer.diff_id])
            collect_garbage(other)
            assert other.has_layer(layer.diff_id)
        collect_garbage(other)
    with pytest.raises(StoreError, match=f"has no layer {layer.diff_id}"):
        store.tree([layer.diff_id])


def test_a_layers_directory_is_made_once_and_goes_with_the_layer(store: Store) -> None:
    layer = layer_of(store, "x")
    store.cache.put("key", CacheRecord((layer.diff_id,)))
    assert store.rootfs.get(layer.diff_id) is None
    works = [store.rootfs.workdir() for _ in range(2)]
    for work in works:
        (work / "f").write_text(work.name)
    paths = [store.rootfs.commit(layer.diff_id, work, layer.diff_id, 4) for work in works]
    assert paths[0] == paths[1] == store.rootfs.get(layer.diff_id)
    assert (paths[0] / "f").read_text() == works[0].name and not works[1].exists()
    collect_garbage(store)
    assert paths[0].exists()
    store.cache.remove("key")
    collect_garbage(store)
    assert not paths[0].exists() and store.rootfs.get(layer.diff_id) is None


def test_an_evicted_directory_can_be_made_again(store: Store) -> None:
    layer = layer_of(store, "x")
    for _ in range(2):
        work = store.rootfs.workdir()
        (work / "locked").mkdir()
        (work / "locked" / "f").write_text("x")
        (work / "locked").chmod(0)
        path = store.rootfs.commit(layer.diff_id, work, layer.diff_id)
        store.rootfs.evict(layer.diff_id)
        assert not path.exists() and store.rootfs.get(layer.diff_id) is None
    assert not list((store.root / "trash").iterdir())


def test_disk_usage_adds_up(store: Store) -> None:
    base, top, image = (layer_of(store, name, 100_000) for name in ("base", "top", "image"))
    store.cache.put("base", CacheRecord((base.diff_id,), description="RUN base"))
    store.cache.put("top", CacheRecord((base.diff_id, top.diff_id)))
    store.cache.put("image", CacheRecord((image.diff_id,)))
    image_of(store, "name", image)
    with store.cachemounts.acquire("pip") as mount:
        (mount / "wheel").write_bytes(bytes(50_000))
    usage = disk_usage(store)
    rows = {row.id: row for row in usage.rows}
    assert usage.total == sum(row.size for row in usage.rows) > 350_000
    assert rows[base.diff_id].size > 100_000 and rows[base.diff_id].description == "RUN base"
    assert rows[image.diff_id].shared and not rows[top.diff_id].shared
    assert rows[mount.name].type == "exec.cachemount" and rows[mount.name].size >= 50_000
    assert 200_000 < usage.reclaimable < usage.total - 100_000
    with store.lease():
        store.has_layer(top.diff_id)
        assert {row.id for row in disk_usage(store).rows if row.in_use} == {top.diff_id, "store.db"}


def records(store: Store) -> set[str]:
    return {key for key, _ in store.cache.items()}


def fill(store: Store) -> dict[str, Layer]:
    layers = {name: layer_of(store, name, 100_000) for name in ("a", "b", "c")}
    for name, layer in layers.items():
        kind = "internal" if name == "c" else "regular"
        store.cache.put(name, CacheRecord((layer.diff_id,), kind=kind, description=f"RUN {name}"))
    return layers


def test_prune_takes_records_and_their_layers(store: Store) -> None:
    layers = fill(store)
    with store.cachemounts.acquire("pip") as mount:
        (mount / "x").write_text("x")
    pruned = prune(store)
    assert records(store) == {"c"} and not mount.exists()
    assert {row.id for row in pruned.records} == {layers["a"].diff_id, layers["b"].diff_id, mount.name}
    assert (
        pruned.reclaimed > 200_000 and not store.has_layer(layers["a"].diff_id) and store.has_layer(layers["c"].diff_id)
    )
    prune(store, all=True)
    assert records(store) == set() and not list((store.root / "blobs" / "sha256").iterdir())


def test_prune_by_age_size_and_filter(store: Store) -> None:
    layers = fill(store)
    store.db.execute("UPDATE cache SET last_used = last_used - 1000 WHERE key = 'a'")
    store.db.execute("UPDATE layers SET last_used = last_used - 1000 WHERE diff_id = ?", (layers["a"].diff_id,))
    prune(store, until=500)
    assert records(store) == {"b", "c"}
    prune(store, filters=["description~=^RUN z"])
    prune(store, filters=["type=exec.cachemount"])
    prune(store, keep_storage=10_000_000)
    assert records(store) == {"b", "c"}
    prune(store, filters=[f"id={layers['b'].diff_id}", "shared=false", "inuse!=true"])
    assert records(store) == {"c"}
    layers = fill(store)
    for number, name in enumerate("bca"):
        for table, column, key in (("cache", "key", name), ("layers", "diff_id", layers[name].diff_id)):
            store.db.execute(f"UPDATE {table} SET last_used = ? WHERE {column} = ?", (number, key))
    prune(store, all=True, keep_storage=disk_usage(store).total - 150_000)
    assert records(store) == {"a"}
    with pytest.raises(UsageError, match=r'"typ=x" is not a filter\. Did you mean type\?'):
        prune(store, filters=["typ=x"])
    with pytest.raises(UsageError, match="no valid regular expression"):
        prune(store, filters=["type~=("])


def test_prune_leaves_what_runs_and_what_images_need(store: Store) -> None:
    layers = fill(store)
    image_of(store, "name", layers["b"])
    with store.lease():
        store.cache.get("a")
        with Store(store.root) as other:
            prune(other, all=True)
            assert records(other) == {"a"} and other.has_layer(layers["a"].diff_id)
    assert store.has_layer(layers["b"].diff_id) and not store.has_layer(layers["c"].diff_id) and fsck(store) == []


def test_fsck_finds_and_repairs_every_kind_of_damage(store: Store) -> None:
    layers = fill(store)
    image_of(store, "name", layers["c"])
    lost, flipped = store.blobs.path(layers["a"].diff_id), store.blobs.path(layers["b"].diff_id)
    lost.unlink()
    data = bytearray(flipped.read_bytes())
    data[600] ^= 1
    flipped.write_bytes(data)
    work = store.rootfs.commit(layers["c"].diff_id, store.rootfs.workdir(), layers["c"].diff_id)
    shutil.rmtree(work)
    log = store.blobs.put(b"log")
    store.history.put(HistoryRecord("ref", log=log))
    store.blobs.path(log).write_bytes(b"lag")
    found = fsck(store)
    assert {(problem.kind, problem.id) for problem in found} == {
        ("blob", layers["a"].diff_id), ("blob", layers["b"].diff_id), ("blob", log),
        ("layer", layers["a"].diff_id), ("layer", layers["b"].diff_id), ("rootfs", layers["c"].diff_id),
        ("cache", "a"), ("cache", "b"), ("history", "ref"),
    }  # fmt: skip
    assert all(problem.repaired for problem in fsck(store, repair=True))
    assert fsck(store) == [] and store.has_layer(layers["c"].diff_id)
    assert store.cache.get("a") is None and store.cache.get("c") is not None
    again = layer_of(store, "a", 100_000)
    assert again.diff_id == layers["a"].diff_id and fsck(store) == []


def test_fsck_tells_of_an_image_that_lost_a_part(store: Store) -> None:
    descriptor = image_of(store, "name", layer_of(store, "x"))
    store.db.execute("DELETE FROM blobs WHERE digest = ?", (descriptor.digest,))
    [problem] = fsck(store)
    assert problem.kind == "image" and "lacks its manifest" in problem.message
    fsck(store, repair=True)
    assert store.images.list() == [] and fsck(store) == []


def test_blobs_that_missed_the_disk_in_a_power_cut_are_dropped(store: Store) -> None:
    kept, lost = layer_of(store, "kept"), layer_of(store, "lost")
    store.cache.put("lost", CacheRecord((lost.diff_id,)))
    store.db.execute("UPDATE blobs SET boot = 'another'")
    store.blobs.path(lost.diff_id).write_bytes(b"")
    with Store(store.root) as again:
        assert again.has_layer(kept.diff_id) and not again.has_layer(lost.diff_id)
        assert again.cache.get("lost") is None and fsck(again) == []


def test_blobs_reach_the_disk_after_the_build(store: Store) -> None:
    with store.lease():
        layer_of(store, "x")
    store.close()
    assert store.db.read("SELECT count(*) FROM blobs WHERE boot != ''") == [(0,)]
