"""Processes that use a store in every way, killed or side by side: `crashing.py ROOT kill|beside|opening N`."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import signal
import sys
import tarfile
import time
from pathlib import Path

from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.store import (
    CacheRecord,
    Compressed,
    Entry,
    HistoryRecord,
    LayerWriter,
    Store,
    import_tar,
    write_layer,
)
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.collector import Collector
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.usage import prune


def tar_of(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("f")
        member.size = 400_000
        tar.addfile(member, io.BytesIO(rng.randbytes(400_000)))
    return buffer.getvalue()


def work(store: Store, rng: random.Random) -> None:
    """One build's worth of uses, with a check that a lease keeps what it should."""
    with store.lease():
        names = [f"{rng.randrange(3)}", f"{rng.randrange(1000)}"]
        layers = [
            write_layer(store, [(Entry(name, size=300_000), lambda name=name: name.encode() * 300_000)])
            for name in names
        ]
        contents = {f"{name}/{n}": random.Random(n).randbytes(300_000) for name in names for n in range(4)}
        wanted = {hashlib.sha256(data).digest(): len(data) for data in contents.values()}
        with LayerWriter(store, known=store.contents.find(wanted)) as writer:
            for path, data in contents.items():
                writer.add(Entry(path, size=len(data), digest=hashlib.sha256(data).digest()), data)
            layers.append(writer.finish())
        archive = tar_of(random.Random(rng.randrange(5)))
        layers.append(import_tar(store, io.BytesIO(archive)))
        kept = store.blobs.put(archive)
        store.compressed.put(layers[-1].diff_id, Compressed("m", kept, len(archive), "gzip"))
        packed = store.blobs.put(gzip.compress(store.blobs.read(layers[0].diff_id), 1, mtime=0))
        store.compressed.put(layers[0].diff_id, Compressed("m", packed, store.blobs.size(packed), "gzip"))
        store.compressed.seen_in(packed, "registry.test", "some/where")
        diff_ids = tuple(layer.diff_id for layer in layers)
        key = f"key {rng.randrange(20)}"
        store.cache.put(key, CacheRecord(diff_ids))
        store.cache.alias(f"alias {rng.randrange(20)}", key)
        log = store.blobs.put(rng.randbytes(1000))
        store.history.put(HistoryRecord(f"ref {rng.randrange(5)}", log=log))
        store.images.put(f"image {rng.randrange(3)}", Descriptor("m", store.blobs.put(rng.randbytes(50)), 50))
        directory = store.rootfs.workdir()
        (directory / "f").write_text("x")
        store.rootfs.commit(diff_ids[0], directory, diff_ids[0])
        if rng.random() < 0.3:
            store.cache.remove(f"key {rng.randrange(20)}")
        if rng.random() < 0.3:
            prune(store, filters=["type=regular"])
        elif rng.random() < 0.3:
            collect_garbage(store)
        elif rng.random() < 0.5:
            Collector(store, lambda: None).run(rng.randrange(3_000_000))
        assert all(map(store.has_layer, diff_ids)) and store.blobs.has(log)
        assert [store.blobs.verify(diff_id) for diff_id in diff_ids] == [""] * len(diff_ids)
        merged = store.tree(diff_ids)
        assert sum(len(merged.read(entry)) for entry in merged.walk()) >= 700_000


def spawn(root: Path, seed: int, rounds: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        with Store(root) as store:
            for number in range(rounds):
                work(store, random.Random(seed * 1000 + number))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def kill(root: Path, rounds: int) -> None:
    """Kill a working process at random moments; after each, the store must be in order."""
    rng = random.Random(11)
    for seed in range(rounds):
        pid = spawn(root, seed, 10_000)
        time.sleep(rng.uniform(0.001, 0.12))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with Store(root) as store:
            assert fsck(store) == [], (seed, fsck(store))
            if seed % 5 == 4:
                collect_garbage(store)
                for name in ("ingest", "trash", "leases", "work"):
                    assert not list((root / name).iterdir()), (seed, name)
                assert fsck(store) == []


def beside(root: Path, processes: int) -> None:
    """Several processes at once."""
    pids = [spawn(root, 100 + number, 12) for number in range(processes)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * processes
    with Store(root) as store:
        assert fsck(store) == []
        prune(store, all=True)
        assert fsck(store) == []


def opening(root: Path, processes: int) -> None:
    """Several processes make the same store at the same time."""
    for number in range(10):
        pids = [spawn(root / str(number), 0, 0) for _ in range(processes)]
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * processes


if __name__ == "__main__":
    {"kill": kill, "beside": beside, "opening": opening}[sys.argv[2]](Path(sys.argv[1]), int(sys.argv[3]))
