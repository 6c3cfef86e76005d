"""Blobs, layers, cache records, images, history and what keeps what."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from pybuild_magic.errors import StoreError, UsageError
from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.store import (
    CacheRecord,
    Compressed,
    DigestMismatch,
    Entry,
    FileKey,
    HistoryRecord,
    Index,
    Layer,
    Store,
    write_layer,
)

ZERO = "sha256:" + "0" * 64


def layer_of(store: Store, content: str, size: int = 0) -> Layer:
    data = content.encode().ljust(size, b".")
    return write_layer(store, [(Entry("f", size=len(data)), data)])


def image_of(store: Store, name: str, layer: Layer, compressed: str = "") -> Descriptor:
    config = store.blobs.put(json.dumps({"rootfs": {"diff_ids": [layer.diff_id]}, "config": {"Env": []}}).encode())
    layers = [{"digest": compressed or layer.diff_id}]
    manifest = json.dumps({"config": {"digest": config}, "layers": layers}).encode()
    index = json.dumps({"manifests": [{"digest": store.blobs.put(manifest)}]}).encode()
    descriptor = Descriptor("application/vnd.oci.image.index.v1+json", store.blobs.put(index), len(index))
    store.images.put(name, descriptor)
    return descriptor


def test_a_blob_is_there_once_it_is_committed(store: Store) -> None:
    with store.blobs.ingest() as ingest:
        ingest.write(b"hello ")
        ingest.write(memoryview(b"world"))
        digest = ingest.digest
        assert not store.blobs.has(digest)
        assert ingest.commit(digest, 11) == digest
    assert store.blobs.read(digest) == b"hello world" and store.blobs.size(digest) == 11
    assert not list((store.root / "ingest").iterdir())


@pytest.mark.parametrize(("expected", "size"), [(ZERO, None), (None, 4), ("sha512:" + "0" * 128, 5)])
def test_wrong_content_is_refused_and_thrown_away(store: Store, expected: str | None, size: int | None) -> None:
    with pytest.raises(DigestMismatch, match="announced"), store.blobs.ingest() as ingest:
        ingest.write(b"hello")
        ingest.commit(expected, size)
    assert not list((store.root / "ingest").iterdir()) and store.fsck() == []


def test_blobs_of_other_digest_algorithms(store: Store) -> None:
    digest = "sha512:" + hashlib.sha512(b"hello").hexdigest()
    with store.blobs.ingest() as ingest:
        ingest.write(b"hello")
        ingest.commit(digest)
    assert store.blobs.read(digest) == b"hello" and store.fsck() == []


def test_what_is_no_digest_never_becomes_a_path(store: Store) -> None:
    for text in ("sha256:../../etc/passwd", "../x", "sha256:ABC", "md5:" + "0" * 32, ""):
        with pytest.raises(StoreError, match="is not a digest"):
            store.blobs.path(text)
        with pytest.raises(StoreError, match="is not a digest"):
            store.rootfs.commit(text, store.rootfs.workdir(), ZERO)


def test_an_interrupted_download_goes_on_where_it_stopped(store: Store) -> None:
    with pytest.raises(ConnectionError), store.blobs.ingest("url") as ingest:
        ingest.write(b"first half, ")
        raise ConnectionError
    store.gc()
    with store.blobs.ingest("url") as ingest:
        assert ingest.size == 12
        with store.blobs.ingest("url") as other:
            assert other.size == 0 and other.path != ingest.path
        ingest.write(b"second half")
        digest = ingest.commit()
    assert store.blobs.read(digest) == b"first half, second half"
    with store.blobs.ingest("url") as again:
        assert again.size == 0
        again.write(b"x")
        again.restart()
        again.write(b"y")
        assert store.blobs.read(again.commit()) == b"y"


def test_the_store_is_its_users_own(store: Store) -> None:
    assert stat.S_IMODE(store.root.stat().st_mode) == 0o700


def test_the_environment_moves_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "elsewhere"))
    with Store() as store:
        assert store.root == tmp_path / "elsewhere"
    monkeypatch.delenv("PYBUILD_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with Store() as store:
        assert store.root == tmp_path / "data" / "pybuild_magic"


def test_a_layer_outlives_the_store_object(store: Store) -> None:
    name = "nicht-\udcff-utf8-ü"
    entry = Entry(
        name, size=3, mode=0o4711, uid=7, mtime=5_999_999_999, xattrs={"security.capability": b"\1", "user.x": b""}
    )
    layer = write_layer(store, [(entry, b"abc")])
    with Store(store.root) as again:
        [read] = again.layer(layer.diff_id).index
        assert read == layer.index.entries[0]
        assert (read.path, read.mtime, dict(read.xattrs)) == (name, 5_000_000_000, {"security.capability": b"\1"})
        assert again.tree([layer.diff_id]).read(read) == b"abc"


def test_the_same_entries_make_the_same_layer(store: Store) -> None:
    assert layer_of(store, "x").diff_id == layer_of(store, "x").diff_id != layer_of(store, "y").diff_id


def test_content_that_shrinks_while_it_is_read_is_an_error(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"short")
    for content in (b"short", lambda: os.open(path, os.O_RDONLY), path.open("rb"), None):
        with pytest.raises(StoreError, match=r'"f" has [05] bytes where 9 were expected'):
            write_layer(store, [(Entry("f", size=9), content)])
    assert not list((store.root / "ingest").iterdir())


def test_contents_come_from_anywhere(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "f"
    data = os.urandom(3_000_000)
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    lower = write_layer(store, [(Entry("below", size=len(data)), data)])
    contents = [data, memoryview(data), (fd, 0), lower.span(lower.index.entries[0]), path.open("rb")]
    contents += [os.open(path, os.O_RDONLY), lambda: os.open(path, os.O_RDONLY), lambda: data]
    before = open_files()
    layer = write_layer(store, [(Entry(str(n), size=len(data)), content) for n, content in enumerate(contents)])
    digests = {entry.digest for entry in layer.index}
    assert digests == {hashlib.sha256(data).digest()} and len(layer.index) == 8
    if before:
        assert open_files() == before - 2  # the file and the descriptor that were handed over
    os.close(fd)


def open_files() -> int:
    """How many files this process has open; 0 where that cannot be seen."""
    open_ = Path("/proc/self/fd")
    return len(list(open_.iterdir())) if open_.is_dir() else 0


def test_a_known_digest_is_not_computed_again(store: Store) -> None:
    layer = write_layer(store, [(Entry("f", size=3, digest=b"d" * 32), b"abc")])
    assert layer.index.entries[0].digest == b"d" * 32


def test_damaged_indexes_are_store_errors() -> None:
    good = Index([Entry("a", size=4, digest=b"d" * 32), Entry("b", uid=3)]).encode()
    assert len(Index.decode(io.BytesIO(good))) == 2
    for at in range(len(good)):
        for bad in (good[:at], good[:at] + bytes([good[at] ^ 0xFF]) + good[at + 1 :]):
            try:
                Index.decode(io.BytesIO(bad))
            except StoreError as error:
                assert "fsck" in error.hint


def test_cache_records_by_key_and_alias(store: Store) -> None:
    layer = layer_of(store, "x")
    blob = store.blobs.put(b"blob")
    store.cache.put("content", CacheRecord((layer.diff_id,), b"meta", (blob,), description="RUN x"))
    store.cache.alias("definition", "content")
    store.cache.alias("older", "definition")
    for key in ("content", "definition", "older"):
        record = store.cache.get(key)
        assert record is not None
        assert (record.diff_ids, record.meta, record.blobs) == ((layer.diff_id,), b"meta", (blob,))
    assert store.cache.get("other") is None
    store.cache.alias("loop", "pool")
    store.cache.alias("pool", "loop")
    assert store.cache.get("loop") is None
    with pytest.raises(StoreError, match=f"has no {ZERO}"):
        store.cache.put("broken", CacheRecord((ZERO,)))


def test_a_record_whose_layer_is_gone_does_not_count(store: Store) -> None:
    layer = layer_of(store, "x")
    store.cache.put("key", CacheRecord((layer.diff_id,)))
    store.db.execute("DELETE FROM layers")
    assert store.cache.get("key") is None
    assert list(store.cache.items()) == []


def test_images_by_name(store: Store) -> None:
    descriptor = image_of(store, "docker.io/library/hello:latest", layer_of(store, "x"))
    found = store.images.get("docker.io/library/hello:latest")
    assert found is not None and found.descriptor == descriptor
    assert [image.name for image in store.images.list()] == ["docker.io/library/hello:latest"]
    assert store.images.remove("docker.io/library/hello:latest")
    assert not store.images.remove("docker.io/library/hello:latest")
    with pytest.raises(StoreError, match=f"has no blob {ZERO}"):
        store.images.put("x", Descriptor("m", ZERO, 1))


def test_compressed_forms_are_found_both_ways(store: Store) -> None:
    layer = layer_of(store, "x")
    here = Compressed("application/gzip", store.blobs.put(b"gz"), 2, "gzip", {"a": "b"})
    away = Compressed("application/gzip", ZERO, 9, "gzip")
    store.compressed.put(layer.diff_id, here)
    store.compressed.put(layer.diff_id, away)
    assert store.compressed.get(layer.diff_id) == [here]
    assert set(map(str, store.compressed.get(layer.diff_id, missing_ok=True))) == {str(here), str(away)}
    assert store.compressed.diff_id(ZERO) == layer.diff_id == store.compressed.diff_id(layer.diff_id)
    assert store.compressed.diff_id(here.digest.replace("a", "b")) is None


def test_history_keeps_the_last_builds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pybuild_magic.store.history.KEEP_BUILDS", 3)
    for number in range(5):
        store.history.put(HistoryRecord(f"r{number}", created=float(number)))
    store.history.put(HistoryRecord("r4", created=4.0, completed=6.5, status="completed"))
    assert [record.ref for record in store.history.list()] == ["r4", "r3", "r2"]
    newest = store.history.get("r4")
    assert newest is not None and newest.duration == 2.5 and store.history.get("r0") is None
    assert store.history.remove("r4") and not store.history.remove("r4")


def test_digests_of_files_are_remembered_for_their_state(store: Store) -> None:
    old = time.time_ns() - 10**10
    names = [f"/ctx/d{n % 7}/nämé-\udcfe-{n}" for n in range(5000)]
    keys = [FileKey(name, n, 3, old, old + 1) for n, name in enumerate(names)]
    digests = [hashlib.sha256(str(n).encode()).digest() for n in range(5000)]
    store.digests.put(zip(keys[:4000], digests[:4000], strict=True))
    store.digests.put(zip(keys[4000:], digests[4000:], strict=True))
    assert store.digests.get(keys) == digests
    for field in ("ino", "size", "mtime_ns", "ctime_ns"):
        assert store.digests.get([keys[0]._replace(**{field: 99})]) == [None]
    assert store.digests.get([FileKey("/ctx/other", 0, 3, old, old)]) == [None]


def test_digests_of_files_that_may_still_change_are_not_kept(store: Store) -> None:
    now = time.time_ns()
    second = now // 10**9 * 10**9
    keys = [FileKey("/a", 1, 3, now, now), FileKey("/b", 1, 3, 1, now), FileKey("/c", 1, 3, second, second)]
    store.digests.put((key, b"d" * 32) for key in keys)
    assert store.digests.get(keys) == [None] * 3


def test_collection_spares_what_is_needed(store: Store) -> None:
    of_image, of_record, of_nobody = (layer_of(store, name) for name in ("image", "record", "nobody"))
    gz = store.blobs.put(b"compressed")
    store.compressed.put(of_image.diff_id, Compressed("m", gz, 10, "gzip"))
    image_of(store, "name", of_image, compressed=gz)
    store.cache.put("key", CacheRecord((of_record.diff_id,), blobs=(store.blobs.put(b"extra"),)))
    log, loose = store.blobs.put(b"log"), store.blobs.put(b"loose")
    store.history.put(HistoryRecord("ref", log=log))
    assert store.gc() > 0
    assert store.has_layer(of_image.diff_id) and store.has_layer(of_record.diff_id)
    assert not store.has_layer(of_nobody.diff_id) and not store.blobs.has(of_nobody.diff_id)
    assert store.blobs.has(gz) and store.blobs.has(log) and not store.blobs.has(loose)
    assert store.fsck() == [] and store.gc() == 0
    store.images.remove("name")
    store.cache.remove("key")
    store.history.remove("ref")
    store.gc()
    assert not list((store.root / "blobs" / "sha256").iterdir()) and store.fsck() == []


def test_a_lease_keeps_what_was_made_or_used_since(store: Store) -> None:
    old = layer_of(store, "old")
    with Store(store.root) as other:
        with store.lease():
            new = layer_of(store, "new")
            assert store.has_layer(old.diff_id)
            other.gc()
            assert other.has_layer(new.diff_id) and other.has_layer(old.diff_id)
        other.gc()
        assert not other.has_layer(new.diff_id) and not other.has_layer(old.diff_id)


def test_a_tree_needs_its_layers_and_keeps_them(store: Store) -> None:
    layer = layer_of(store, "x")
    with Store(store.root) as other:
        with store.lease():
            store.tree([layer.diff_id])
            other.gc()
            assert other.has_layer(layer.diff_id)
        other.gc()
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
    store.gc()
    assert paths[0].exists()
    store.cache.remove("key")
    store.gc()
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


def test_directories_are_removed_by_who_can(tmp_path: Path) -> None:
    removed: list[Path] = []

    def remove(path: Path) -> None:
        removed.append(path)
        path.rmdir()

    with Store(tmp_path / "store", remove_tree=remove) as store:
        layer = layer_of(store, "x")
        store.rootfs.commit(layer.diff_id, store.rootfs.workdir(), layer.diff_id)
        store.rootfs.evict(layer.diff_id)
        assert len(removed) == 1


def test_cache_mounts_are_shared_as_asked(store: Store) -> None:
    mounts = store.cachemounts
    with mounts.acquire("pip") as first, mounts.acquire("pip") as second:
        assert first.path == second.path and first.fresh and not second.fresh
        (first.path / "wheel").write_text("x")
    with mounts.acquire("pip", "private") as first, mounts.acquire("pip", "private") as second:
        assert first.path != second.path and (first.path / "wheel").exists()
    with mounts.acquire("../../etc", "locked") as odd:
        assert odd.path.parent == store.root / "cachemounts"
    order: list[str] = []

    def wait() -> None:
        with Store(store.root) as other, other.cachemounts.acquire("pip", "locked"):
            order.append("second")

    with mounts.acquire("pip", "locked"):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_disk_usage_adds_up(store: Store) -> None:
    base, top, image = (layer_of(store, name, 100_000) for name in ("base", "top", "image"))
    store.cache.put("base", CacheRecord((base.diff_id,), description="RUN base"))
    store.cache.put("top", CacheRecord((base.diff_id, top.diff_id)))
    store.cache.put("image", CacheRecord((image.diff_id,)))
    image_of(store, "name", image)
    with store.cachemounts.acquire("pip") as mount:
        (mount.path / "wheel").write_bytes(bytes(50_000))
    usage = store.du()
    rows = {row.id: row for row in usage.rows}
    assert usage.total == sum(row.size for row in usage.rows) > 350_000
    assert rows[base.diff_id].size > 100_000 and rows[base.diff_id].description == "RUN base"
    assert rows[image.diff_id].shared and not rows[top.diff_id].shared
    assert rows[mount.path.name].type == "exec.cachemount" and rows[mount.path.name].size >= 50_000
    assert 200_000 < usage.reclaimable < usage.total - 100_000
    with store.lease():
        store.has_layer(top.diff_id)
        assert {row.id for row in store.du().rows if row.in_use} == {top.diff_id, "store.db"}


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
        (mount.path / "x").write_text("x")
    pruned = store.prune()
    assert records(store) == {"c"} and not mount.path.exists()
    assert {row.id for row in pruned.records} == {layers["a"].diff_id, layers["b"].diff_id, mount.path.name}
    assert (
        pruned.reclaimed > 200_000 and not store.has_layer(layers["a"].diff_id) and store.has_layer(layers["c"].diff_id)
    )
    store.prune(all=True)
    assert records(store) == set() and not list((store.root / "blobs" / "sha256").iterdir())


def test_prune_by_age_size_and_filter(store: Store) -> None:
    layers = fill(store)
    store.db.execute("UPDATE cache SET last_used = last_used - 1000 WHERE key = 'a'")
    store.db.execute("UPDATE layers SET last_used = last_used - 1000 WHERE diff_id = ?", (layers["a"].diff_id,))
    store.prune(until=500)
    assert records(store) == {"b", "c"}
    store.prune(filters=["description~=^RUN z"])
    store.prune(filters=["type=exec.cachemount"])
    store.prune(keep_storage=10_000_000)
    assert records(store) == {"b", "c"}
    store.prune(filters=[f"id={layers['b'].diff_id}", "shared=false", "inuse!=true"])
    assert records(store) == {"c"}
    layers = fill(store)
    for number, name in enumerate("bca"):
        for table, column, key in (("cache", "key", name), ("layers", "diff_id", layers[name].diff_id)):
            store.db.execute(f"UPDATE {table} SET last_used = ? WHERE {column} = ?", (number, key))
    store.prune(all=True, keep_storage=store.du().total - 150_000)
    assert records(store) == {"a"}
    with pytest.raises(UsageError, match=r'"typ=x" is not a filter\. Did you mean type\?'):
        store.prune(filters=["typ=x"])
    with pytest.raises(UsageError, match="no valid regular expression"):
        store.prune(filters=["type~=("])


def test_prune_leaves_what_runs_and_what_images_need(store: Store) -> None:
    layers = fill(store)
    image_of(store, "name", layers["b"])
    with store.lease():
        store.cache.get("a")
        with Store(store.root) as other:
            other.prune(all=True)
            assert records(other) == {"a"} and other.has_layer(layers["a"].diff_id)
    assert store.has_layer(layers["b"].diff_id) and not store.has_layer(layers["c"].diff_id) and store.fsck() == []


def test_fsck_finds_and_repairs_every_kind_of_damage(store: Store) -> None:
    layers = fill(store)
    image_of(store, "name", layers["c"])
    lost, flipped = store.blobs.path(layers["a"].diff_id), store.blobs.path(layers["b"].diff_id)
    lost.unlink()
    data = bytearray(flipped.read_bytes())
    data[600] ^= 1
    flipped.write_bytes(data)
    work = store.rootfs.commit(layers["c"].diff_id, store.rootfs.workdir(), layers["c"].diff_id)
    work.rmdir()
    log = store.blobs.put(b"log")
    store.history.put(HistoryRecord("ref", log=log))
    store.blobs.path(log).write_bytes(b"lag")
    found = store.fsck()
    assert {(problem.kind, problem.id) for problem in found} == {
        ("blob", layers["a"].diff_id), ("blob", layers["b"].diff_id), ("blob", log),
        ("layer", layers["a"].diff_id), ("layer", layers["b"].diff_id), ("rootfs", layers["c"].diff_id),
        ("cache", "a"), ("cache", "b"), ("history", "ref"),
    }  # fmt: skip
    assert all(problem.repaired for problem in store.fsck(repair=True))
    assert store.fsck() == [] and store.has_layer(layers["c"].diff_id)
    assert store.cache.get("a") is None and store.cache.get("c") is not None
    again = layer_of(store, "a", 100_000)
    assert again.diff_id == layers["a"].diff_id and store.fsck() == []


def test_fsck_tells_of_an_image_that_lost_a_part(store: Store) -> None:
    descriptor = image_of(store, "name", layer_of(store, "x"))
    store.db.execute("DELETE FROM blobs WHERE digest = ?", (descriptor.digest,))
    [problem] = store.fsck()
    assert problem.kind == "image" and "lacks its manifest" in problem.message
    store.fsck(repair=True)
    assert store.images.list() == [] and store.fsck() == []


def test_blobs_that_missed_the_disk_in_a_power_cut_are_dropped(store: Store) -> None:
    kept, lost = layer_of(store, "kept"), layer_of(store, "lost")
    store.cache.put("lost", CacheRecord((lost.diff_id,)))
    store.db.execute("UPDATE blobs SET boot = 'another'")
    store.blobs.path(lost.diff_id).write_bytes(b"")
    with Store(store.root) as again:
        assert again.has_layer(kept.diff_id) and not again.has_layer(lost.diff_id)
        assert again.cache.get("lost") is None and again.fsck() == []


def test_blobs_reach_the_disk_after_the_build(store: Store) -> None:
    with store.lease():
        layer_of(store, "x")
    store.close()
    assert store.db.read("SELECT count(*) FROM blobs WHERE boot != ''") == [(0,)]


def test_a_store_of_a_newer_version_is_left_alone(store: Store) -> None:
    store.db.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match=r"newer version.*PYBUILD_HOME"):
        Store(store.root)


def test_a_damaged_database_is_a_sentence(store: Store) -> None:
    store.close()
    for path in store.root.glob("store.db*"):
        path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=r"database .*store\.db cannot be used.*Move"):
        Store(store.root).images.list()
