"""The store kept below its limit: what goes first, what stays, and who is given way to."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic.store import CacheRecord, Compressed, Layer, Store, policy
from pybuild_magic.store.collector import Collected, Collector
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.limit import limit_of, quota_of
from pybuild_magic.store.policy import COMPRESSED, DIRECTORY, MOUNT, RECORD
from pybuild_magic.store.usage import disk_usage
from tests.services import require
from tests.services.common import need_root

from .made import image_of, layer_of

SIZE = 1_000_000
HOUR = 3600.0


@pytest.fixture
def collector(store: Store) -> Collector:
    return Collector(store, lambda: None)


def age(store: Store, layer: Layer, seconds: float) -> None:
    """Let a layer, its record and its directory be unused for so long."""
    for table, column in (("layers", "diff_id"), ("rootfs", "diff_id"), ("blobs", "digest")):
        store.db.execute(f"UPDATE {table} SET last_used = last_used - ? WHERE {column} = ?", (seconds, layer.diff_id))
    store.db.execute("UPDATE cache SET last_used = last_used - ? WHERE diff_ids LIKE ?", (seconds, f"%{layer.diff_id}"))


def filled(store: Store, name: str, seconds: float, below: tuple[Layer, ...] = ()) -> Layer:
    """A layer of 1 MB with a record, a directory of 1 MB and a packed form of 1 MB that a registry has."""
    layer = layer_of(store, name, SIZE)
    store.cache.put(name, CacheRecord(tuple(one.diff_id for one in (*below, layer)), description=f"RUN {name}"))
    work = store.rootfs.workdir()
    (work / "f").write_bytes(bytes(SIZE))
    store.rootfs.commit(layer.diff_id, work, layer.diff_id, SIZE)
    packed = store.blobs.put(name.encode().ljust(SIZE))
    store.compressed.put(layer.diff_id, Compressed("m", packed, SIZE, "gzip"))
    store.compressed.seen_in(packed, "registry.test", "some/where")
    age(store, layer, seconds)
    store.db.execute("UPDATE blobs SET last_used = last_used - ? WHERE digest = ?", (seconds, packed))
    return layer


def forms(store: Store, layer: Layer) -> str:
    """Which forms a layer has: Directory, Packed, Tar."""
    found = "D" if store.rootfs.get(layer.diff_id) else ""
    found += "P" if store.compressed.get(layer.diff_id) else ""
    return found + ("T" if store.has_layer(layer.diff_id) else "")


def test_what_is_made_again_goes_first_and_the_longest_unused_of_it(store: Store, collector: Collector) -> None:
    old, new = filled(store, "old", 10 * HOUR), filled(store, "new", HOUR)
    total = collector.plan(1 << 40).total
    for goes, expected in ((1, ("PT", "DPT")), (1, ("PT", "PT")), (1, ("T", "PT")), (1, ("T", "T")), (1, ("", "T"))):
        total -= goes * SIZE
        done = collector.run(total + SIZE // 2)
        assert (forms(store, old), forms(store, new)) == expected
        assert done.freed >= SIZE and sum(done.counts.values()) == 1
        assert fsck(store) == []
    assert collector.run(0).counts == {RECORD: 1} and not store.has_layer(new.diff_id)
    assert not list((store.root / "rootfs").iterdir()) and not list((store.root / "trash").iterdir())


def test_a_dry_run_tells_what_would_go_and_takes_nothing(store: Store, collector: Collector) -> None:
    layer = filled(store, "old", HOUR)
    plan = collector.plan(0)
    assert [step.kind for step in plan.steps] == [DIRECTORY, COMPRESSED, RECORD]
    assert plan.freed >= 3 * SIZE and plan.steps[-1].description == "RUN old"
    assert forms(store, layer) == "DPT"
    assert collector.run(0).freed == plan.freed


@pytest.mark.parametrize("quick", [True, False])
def test_layers_are_kept_in_one_form_when_nobody_works_with_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    """Far below the limit too; what is quickly made again goes at once."""
    monkeypatch.setattr(policy, "_SPARE_LEAST", 0)
    collector = Collector(store, lambda: 1 << 40, lambda: quick)
    old, new = filled(store, "old", 10 * HOUR), filled(store, "new", 0)
    assert policy.spare(store) > 3 * SIZE
    collector.start()
    collector.wait()
    assert (forms(store, old), forms(store, new)) == (("T", "PT") if quick else ("T", "DPT"))
    assert fsck(store) == []
    age(store, new, 2 * HOUR)
    store.db.execute("UPDATE blobs SET last_used = last_used - 7200")
    plan = collector.plan()
    assert plan.total - plan.freed <= 1.3 * 2 * SIZE + 200_000
    before = collector.size()
    assert before - collector.run().freed == collector.size()
    assert policy.spare(store) == 0


def test_a_directory_that_refers_to_the_tar_stays_as_it_takes_no_room(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made again, it would give each build seconds where each name has to be made."""
    monkeypatch.setattr(policy, "_SPARE_LEAST", 0)
    collector = Collector(store, lambda: 1 << 40, lambda: True)
    small, full = filled(store, "small", 0), filled(store, "full", 0)
    store.rootfs.resize(small.diff_id, SIZE // 50)
    assert policy.spare(store) > SIZE
    collector.run()
    assert "D" in forms(store, small) and "D" not in forms(store, full)


def test_images_with_a_name_stay_with_all_that_cannot_be_had_again(store: Store, collector: Collector) -> None:
    of_image, own = filled(store, "image", 10 * HOUR), layer_of(store, "own", SIZE)
    mine = store.blobs.put(b"m" * SIZE)
    store.compressed.put(own.diff_id, Compressed("m", mine, SIZE, "gzip"))
    image_of(store, "a", of_image, store.compressed.get(of_image.diff_id)[0].digest)
    image_of(store, "b", own, mine)
    collector.run(0)
    assert forms(store, of_image) == "T" and forms(store, own) == "PT"
    assert fsck(store) == []


def test_a_layer_below_stays_as_long_as_one_above_it(store: Store, collector: Collector) -> None:
    """However long ago it was used itself: without it the younger one is nothing."""
    base = filled(store, "base", 10 * HOUR)
    other = filled(store, "other", 5 * HOUR)
    filled(store, "top", HOUR, below=(base,))
    total = collector.plan(1 << 40).total
    done = collector.run(total - 6 * SIZE - SIZE // 2)
    assert done.counts == {DIRECTORY: 3, COMPRESSED: 3, RECORD: 1}
    assert store.has_layer(base.diff_id) and not store.has_layer(other.diff_id)


def test_running_builds_keep_what_they_use(store: Store, collector: Collector) -> None:
    used, unused = filled(store, "used", HOUR), filled(store, "unused", HOUR)
    with Store(store.root) as other, other.lease():
        assert other.cache.get("used") and other.rootfs.get(used.diff_id) and other.compressed.get(used.diff_id)
        collector.run(0)
        assert forms(other, used) == "DPT"
        assert not other.has_layer(unused.diff_id)


def test_cache_mounts_go_in_turn_but_not_when_they_are_held(store: Store, collector: Collector) -> None:
    filled(store, "young", 0)
    for name in ("held", "free"):
        with store.cachemounts.acquire(name) as mount:
            (mount / "x").write_bytes(os.urandom(SIZE))
    store.db.execute("UPDATE cachemounts SET last_used = last_used - ?", (HOUR,))
    with store.cachemounts.acquire("held"):
        done = collector.run(collector.plan(1 << 40).total - 2 * SIZE - SIZE // 2)
    assert done.counts == {DIRECTORY: 1, COMPRESSED: 1, MOUNT: 1}
    assert [row.description for row in disk_usage(store).rows if row.type == "exec.cachemount"] == ["cache mount held"]


def test_it_starts_by_itself_and_gives_way_to_builds(store: Store) -> None:
    told: list[Collected] = []
    setting = [1]
    collector = Collector(store, lambda: setting[0])
    collector.tell = told.append
    layer = filled(store, "old", HOUR)
    with store.lease():
        collector.start()
        collector.start()
        with pytest.raises(TimeoutError):
            _wait(collector, 1.5)
        assert forms(store, layer) == "DPT" and not told
    collector.wait()
    assert not store.has_layer(layer.diff_id)
    assert [(one.freed >= 3 * SIZE, one.limit) for one in told] == [(True, 1)]
    collector.start()
    collector.wait()
    assert len(told) == 1, "nothing is told of when there was nothing to do"


def _wait(collector: Collector, seconds: float) -> None:
    assert collector._thread is not None
    collector._thread.join(seconds)
    if collector._thread.is_alive():
        raise TimeoutError


def test_stopping_ends_one_that_waits_for_a_build(store: Store) -> None:
    collector = Collector(store, lambda: 1)
    layer = filled(store, "old", HOUR)
    with store.lease():
        collector.start()
        collector.stop()
    assert forms(store, layer) == "DPT"


def test_what_is_asked_for_comes_in_the_place_of_what_goes_on(store: Store) -> None:
    filled(store, "old", 10 * HOUR)
    collector = Collector(store, lambda: SIZE)
    with store.lease():
        collector.start()
        done = collector.run(0)
    assert done.counts == {DIRECTORY: 1, COMPRESSED: 1, RECORD: 1}
    assert done.remaining == collector.size() < SIZE


def test_one_process_collects_at_a_time(store: Store) -> None:
    layer = filled(store, "old", HOUR)
    collectors = [Collector(store, lambda: 1) for _ in range(4)]
    told: list[Collected] = []
    for one in collectors:
        one.tell = told.append
        one.start()
    for one in collectors:
        one.wait()
    assert not store.has_layer(layer.diff_id) and len(told) == 1


@pytest.mark.parametrize(("setting", "why"), [(5, "as set"), (1 << 60, "a tenth of the disk, rounded up")])
def test_the_limit_is_the_smallest_of_what_is_allowed(tmp_path: Path, setting: int, why: str) -> None:
    assert limit_of(tmp_path, setting).why == why


@pytest.fixture
def disk_with_quota(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system whose user 4321 may have 2 MB."""
    require(lambda: need_root("mounting a disk with a quota"))
    image, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-O", "quota", "-E", "quotatype=usrquota", image], check=True)
    if subprocess.run(["mount", "-o", "loop,usrquota", image, place], check=False, capture_output=True).returncode:
        pytest.skip("this kernel has no quotas (CONFIG_QFMT_V2)")
    try:
        place.chmod(0o777)
        fd = os.open(place, os.O_RDONLY)
        limits = (ctypes.c_uint64 * 9)(2048, 0, 0, 0, 0, 0, 0, 0, 1)
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.syscall(443, fd, ctypes.c_uint(0x800008 << 8), 4321, limits) == 0, os.strerror(ctypes.get_errno())
        os.close(fd)
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_half_of_a_quota_is_a_limit(disk_with_quota: Path) -> None:
    assert quota_of(disk_with_quota) == 0
    code = "import sys; from pathlib import Path; from pybuild_magic.store.limit import limit_of;"
    code += "print(limit_of(Path(sys.argv[1])))"
    as_user = {"user": 4321, "group": 4321, "extra_groups": []}
    done = subprocess.run(
        [sys.executable, "-c", code, disk_with_quota], capture_output=True, text=True, cwd="/", check=False, **as_user
    )
    assert "size=1048576, why='half of the quota'" in done.stdout, done.stderr


def test_a_thread_that_is_being_started_can_be_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that ends starts a collection, or a sync, while another thread stops the last one."""
    starting, go_on = threading.Event(), threading.Event()

    class Slow(threading.Thread):
        def start(self) -> None:
            if self.name in ("pybuild-collect", "pybuild-sync"):
                starting.set()
                assert go_on.wait(10)
            super().start()

    monkeypatch.setattr(threading, "Thread", Slow)
    collector = Collector(store, lambda: None)
    for start, wait in ((collector.start, collector.stop), (store._durability.start, store._durability.flush)):
        store.blobs.put(os.urandom(8))
        starting.clear(), go_on.clear()
        with ThreadPoolExecutor(2) as pool:
            started = pool.submit(start)
            assert starting.wait(10)
            waited = pool.submit(wait)
            with pytest.raises(TimeoutError):
                waited.result(0.2)
            go_on.set()
            started.result(10), waited.result(10)
