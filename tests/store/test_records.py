"""Cache records, images, history, cache mounts, and stores that cannot be opened."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest

from pybuild_magic.errors import StoreError
from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.store import (
    CacheRecord,
    Compressed,
    HistoryRecord,
    KnownFiles,
    Store,
)
from tests.descriptors import opened

from .made import ZERO, image_of, layer_of


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
    files: list[dict[str, KnownFiles]] = [{f"/ctx/d{n}": {} for n in range(7)} for _ in range(2)]
    for n in range(5000):
        name = f"nämé-\udcfe-{n}".encode("utf-8", "surrogateescape")
        row = (n, 3, old, old + 1, hashlib.sha256(str(n).encode()).digest())
        files[n // 4000][f"/ctx/d{n % 7}"][name] = row
    for directories in files:
        store.digests.put(directories, time.time_ns())
    for directory, early in files[0].items():
        assert store.digests.known_in(directory) == early | files[1][directory]
    assert not store.digests.known_in("/ctx")


def test_digests_of_files_that_may_still_change_are_not_kept(store: Store) -> None:
    now = time.time_ns()
    second = now // 10**9 * 10**9
    times = {b"a": (now, now), b"b": (1, now), b"c": (second, second)}
    store.digests.put({"/ctx": {name: (1, 3, *changed, b"d" * 32) for name, changed in times.items()}}, time.time_ns())
    assert not store.digests.known_in("/ctx")


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
        assert first == second
        (first / "wheel").write_text("x")
    with mounts.acquire("pip", "private") as first, mounts.acquire("pip", "private") as second:
        assert first != second and (first / "wheel").exists()
    with mounts.acquire("../../etc", "locked") as odd:
        assert odd.parent == store.root / "cachemounts"
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


def test_a_store_of_a_newer_version_is_left_alone(store: Store) -> None:
    store.db.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match=r"newer version.*PYBUILD_HOME"):
        Store(store.root)


def test_a_damaged_database_is_a_sentence(store: Store) -> None:
    store.close()
    for path in store.root.glob("store.db*"):
        path.write_bytes(b"not a database" * 1000)
    before = opened("store.db")
    with pytest.raises(StoreError, match=r"database .*store\.db cannot be used.*Move") as caught:
        Store(store.root).images.list()
    assert opened("store.db") == before, f"it is left open by {caught.value!r}"


def test_a_permission_error_in_a_transaction_is_no_fault_of_the_database(store: Store) -> None:
    with pytest.raises(PermissionError, match="mine"), store.db.write():
        raise PermissionError("mine")
