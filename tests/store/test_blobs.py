"""Blobs, and the layers that are made of them: whole and verified, or not there."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path

import pytest

from pybuild_magic.errors import StoreError
from pybuild_magic.store import (
    DigestMismatch,
    Entry,
    Index,
    LayerWriter,
    Store,
    write_layer,
)
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.header import TRAILER
from pybuild_magic.store.layer import EMPTY_LAYER

from .made import ZERO, layer_of


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
    assert not list((store.root / "ingest").iterdir()) and fsck(store) == []


def test_blobs_of_other_digest_algorithms(store: Store) -> None:
    digest = "sha512:" + hashlib.sha512(b"hello").hexdigest()
    with store.blobs.ingest() as ingest:
        ingest.write(b"hello")
        ingest.commit(digest)
    assert store.blobs.read(digest) == b"hello" and fsck(store) == []


def test_what_is_no_digest_never_becomes_a_path(store: Store) -> None:
    for text in ("sha256:../../etc/passwd", "../x", "sha256:ABC", "md5:" + "0" * 32, ""):
        with pytest.raises(StoreError, match="is not a digest"):
            store.blobs.path(text)
        with pytest.raises(StoreError, match="is not a digest"):
            store.rootfs.commit(text, store.rootfs.workdir(), ZERO)


def test_an_ingest_that_is_not_committed_leaves_nothing(store: Store) -> None:
    with pytest.raises(ConnectionError), store.blobs.ingest() as ingest:
        ingest.write(b"first half, ")
        raise ConnectionError
    assert not list((store.root / "ingest").iterdir())


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
    before = open_below(tmp_path)
    layer = write_layer(store, [(Entry(str(n), size=len(data)), content) for n, content in enumerate(contents)])
    digests = {entry.digest for entry in layer.index}
    assert digests == {hashlib.sha256(data).digest()} and len(layer.index) == 8
    if before:
        assert open_below(tmp_path) == before - 2  # the file and the descriptor that were handed over
    os.close(fd)


def open_below(folder: Path) -> int:
    """How many files in `folder` this process has open; 0 where that cannot be seen."""
    fds = Path("/proc/self/fd")
    return sum(fd.resolve().is_relative_to(folder) for fd in fds.iterdir()) if fds.is_dir() else 0


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


def test_a_layer_without_entries_is_written_once(store: Store) -> None:
    first = write_layer(store, [])
    assert first.diff_id == EMPTY_LAYER and store.blobs.read(EMPTY_LAYER) == TRAILER
    files = sorted(path for path in store.root.rglob("*") if path.is_file() and "store.db" not in path.name)
    with LayerWriter(store) as writer:
        again = writer.finish()
    assert (again.diff_id, again.size, tuple(again.index)) == (first.diff_id, first.size, ())
    assert files == sorted(path for path in store.root.rglob("*") if path.is_file() and "store.db" not in path.name)
