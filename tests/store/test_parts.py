"""A file is stored once: layers that refer to contents of others are what they would be without, to everybody."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import tarfile
from pathlib import Path

import msgspec
import pytest

from pybuild_magic.errors import StoreError
from pybuild_magic.store import (
    CacheRecord,
    Entry,
    Layer,
    LayerFiles,
    LayerWriter,
    Span,
    Store,
    import_tar,
    policy,
    write_layer,
)
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.collector import Collector
from pybuild_magic.store.database import _UPGRADES, SCHEMA_VERSION
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.parts import PartsFile, Run, decode, encode, make_recipe, pieces_of
from pybuild_magic.store.usage import disk_usage, prune

from .made import image_of

FILES = {f"d/{n}": os.urandom(size) for n, size in enumerate((5_000, 4_096, 300_000, 700_001, 12, 512, 1_048_577))}


def entries(files: dict[str, bytes]) -> list[tuple[Entry, bytes]]:
    return [
        (Entry(path, size=len(data), digest=hashlib.sha256(data).digest()), data)
        for path, data in sorted(files.items())
    ]


def write(store: Store, files: dict[str, bytes]) -> Layer:
    """A layer that refers to what it can."""
    wanted = {entry.digest: entry.size for entry, _ in entries(files)}
    with LayerWriter(store, known=store.contents.find(wanted)) as writer:
        for entry, data in entries(files):
            writer.add(entry, data)
        return writer.finish()


def record(store: Store, key: str, layer: Layer) -> None:
    store.cache.put(key, CacheRecord((layer.diff_id,), description=f"COPY {key}"))


def room(store: Store) -> int:
    return sum(path.stat().st_size for path in (store.root / "blobs").rglob("*") if path.is_file())


@pytest.fixture
def edited() -> dict[str, bytes]:
    """The same files with one changed, one new and one gone."""
    changed = {**FILES, "d/0": b"changed" * 1000, "e": b"new" * 3000}
    del changed["d/1"]
    return changed


@pytest.fixture
def pair(store: Store, edited: dict[str, bytes]) -> tuple[Layer, Layer]:
    first = write(store, FILES)
    record(store, "first", first)
    second = write(store, edited)
    record(store, "second", second)
    return first, second


def test_a_recipe_takes_little_room_and_an_earlier_versions_is_read() -> None:
    runs = [Run(512 + number * 100_864, 100_352, "sha256:b", number * 100_864) for number in range(1000)]
    recipe = make_recipe(1000 * 100_864, "sha256:pack", runs)
    plain = msgspec.msgpack.encode(recipe)
    assert len(encode(recipe)) < len(plain) / 3
    assert decode(encode(recipe)) == decode(plain) == recipe


def test_the_same_tar_takes_only_what_is_new(store: Store, tmp_path: Path, edited: dict[str, bytes]) -> None:
    first = write(store, FILES)
    record(store, "first", first)
    before = room(store)
    second = write(store, edited)
    record(store, "second", second)
    assert room(store) - before < 30_000
    assert not store.blobs.path(second.diff_id).exists()
    with Store(tmp_path / "other") as other:
        plain = write_layer(other, entries(edited))
        assert (plain.diff_id, plain.size) == (second.diff_id, second.size)
        assert store.blobs.read(second.diff_id) == other.blobs.read(plain.diff_id)
        assert [*plain.index] == [*second.index]
    assert fsck(store) == []


def test_what_stands_between_contents_is_stored_once_too(store: Store) -> None:
    """Headers, and files too small to be looked for; around the one file that was edited."""
    files = {f"{n:03}": os.urandom(5_000) for n in range(300)} | {f"{n:03}.txt": b"%d" % n for n in range(0, 300, 7)}
    first = write(store, files)
    before = room(store)
    for path, data in (("150", os.urandom(5_000)), ("150", os.urandom(9_000)), ("299", b"new"), ("000", b"")):
        second = write(store, {**files, path: data})
        parts = store.parts.get(second.diff_id)
        assert parts is not None and parts.blobs[1:] == (first.diff_id,)
        assert store.blobs.size(parts.blobs[0]) == len(store.blobs.read(parts.blobs[0])) < len(data) + 4_000
        assert store.blobs.verify(second.diff_id) == "" and fsck(store) == []
    assert room(store) - before < 4 * 30_000


def test_everybody_reads_the_contents(store: Store, pair: tuple[Layer, Layer], edited: dict[str, bytes]) -> None:
    second = pair[1]
    tree = store.tree([second.diff_id])
    assert {entry.path: tree.read(entry) for entry in tree.walk() if entry.is_file} == edited
    with LayerFiles(store.blobs) as files:
        assert {entry.path: files.read(second.span(entry)) for entry in second.index} == edited
    with store.blobs.open(second.diff_id) as file, tarfile.open(fileobj=file) as tar:
        assert {member.name for member in tar} == set(edited)
    whole = store.blobs.read(second.diff_id)
    assert store.blobs.size(second.diff_id) == len(whole) and store.blobs.has(second.diff_id)
    with store.blobs.open(second.diff_id) as file:
        raw = file.raw  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(raw, PartsFile)
        for start, size in ((0, 1), (511, 3), (4_000, 400_000), (len(whole) - 5, 50), (len(whole), 9)):
            assert raw.read_at(size, start) == whole[start : start + size]
            file.seek(start)
            assert file.read(size) == whole[start : start + size]
        assert b"".join(os.pread(fd, n, at) for fd, at, n in pieces_of(file, len(whole))) == whole


def test_contents_stay_in_blocks_of_files(store: Store, pair: tuple[Layer, Layer]) -> None:
    """As images of layers, which are mounted, need them."""
    parts = store.parts.get(pair[1].diff_id)
    assert parts is not None and len(parts.blobs) == 2
    assert all(store.blobs.size(blob) % 512 == 0 for blob in parts.blobs)
    assert all(store.parts.locate(pair[1].span(entry)).offset % 512 == 0 for entry in pair[1].index)


def test_what_others_refer_to_stays_as_long_as_they(store: Store, pair: tuple[Layer, Layer]) -> None:
    first, second = pair
    store.cache.remove("first")
    collect_garbage(store)
    assert not store.has_layer(first.diff_id) and store.blobs.path(first.diff_id).exists()
    assert fsck(store) == [] and hashlib.sha256(store.blobs.read(second.diff_id)).hexdigest() == second.diff_id[7:]
    usage = disk_usage(store)
    [row] = [row for row in usage.rows if row.id == second.diff_id]
    assert row.size > 2_000_000 and usage.total == sum(row.size for row in usage.rows)
    store.cache.remove("second")
    collect_garbage(store)
    assert not list((store.root / "blobs" / "sha256").iterdir())
    for table in ("parts", "holders", "contents"):
        assert store.db.read(f"SELECT count(*) FROM {table}") == [(0,)]


def test_an_image_keeps_what_its_layers_refer_to(store: Store, pair: tuple[Layer, Layer]) -> None:
    first, second = pair
    image_of(store, "name", second)
    rows = {row.id: row for row in disk_usage(store).rows}
    assert rows[first.diff_id].shared and rows[second.diff_id].shared
    prune(store, all=True)
    Collector(store, lambda: None).run(0)
    assert store.blobs.verify(second.diff_id) == "" and fsck(store) == []


def test_a_collection_counts_what_is_really_free(store: Store, pair: tuple[Layer, Layer]) -> None:
    """Without its record the first layer's tar still stays for the second."""
    collector = Collector(store, lambda: None)
    store.db.execute("UPDATE cache SET last_used = last_used - 1000 WHERE key = 'first'")
    plan = collector.plan(0)
    assert plan.freed >= 2_000_000
    before = room(store)
    done = collector.run(plan.total - 1)
    assert before - room(store) == done.freed
    assert collector.run(0).freed == room(store) + before - done.freed or room(store) == 0


@pytest.mark.parametrize("quick", [True, False])
def test_a_directory_of_a_layer_in_parts_is_a_second_form(
    store: Store, pair: tuple[Layer, Layer], monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    """Of what others have: it goes where it is quickly made again, and else when it was not used for a while."""
    monkeypatch.setattr(policy, "_SPARE_LEAST", 0)
    for layer in pair:
        work = store.rootfs.workdir()
        store.rootfs.commit(layer.diff_id, work, layer.diff_id, layer.size)
    collector = Collector(store, lambda: 1 << 40, lambda: quick)
    assert policy.spare(store) > layer.size
    collector.start()
    collector.wait()
    if not quick:
        assert all(store.rootfs.get(layer.diff_id) for layer in pair)
        store.db.execute("UPDATE rootfs SET last_used = last_used - 7200")
        collector.run()
    assert policy.spare(store) == 0
    assert fsck(store) == []


def test_a_lease_keeps_what_was_found(store: Store, edited: dict[str, bytes]) -> None:
    first = write(store, FILES)
    with Store(store.root) as other:
        with store.lease():
            known = store.contents.find({entry.digest: entry.size for entry, _ in entries(edited)})
            assert {span.blob for span in known.values()} == {first.diff_id}
            collect_garbage(other)
            with LayerWriter(store, known=known) as writer:
                for entry, data in entries(edited):
                    writer.add(entry, data)
                second = writer.finish()
            collect_garbage(other)
            assert other.blobs.verify(second.diff_id) == ""
        collect_garbage(other)
        assert not list((store.root / "blobs" / "sha256").iterdir())


def test_a_layer_that_would_refer_to_nothing_is_not_made(store: Store, edited: dict[str, bytes]) -> None:
    write(store, FILES)
    known = store.contents.find({entry.digest: entry.size for entry, _ in entries(edited)})
    with LayerWriter(store, known=known) as writer:
        for entry, data in entries(edited):
            writer.add(entry, data)
        collect_garbage(store)
        with pytest.raises(StoreError, match="was collected while a layer was made"):
            writer.finish()
    collect_garbage(store)
    assert fsck(store) == [] and not list((store.root / "ingest").iterdir())


def test_a_blob_of_which_little_is_wanted_is_left_alone(store: Store) -> None:
    write(store, {**FILES, "big": os.urandom(3_000_000)})
    data = FILES["d/2"]
    assert store.contents.find({hashlib.sha256(data).digest(): len(data)}) == {}


def test_only_sizes_of_a_blob_that_may_be_worth_it_are_looked_at(store: Store) -> None:
    """What is not known by its digest yet need not be hashed to find out that it is new."""
    sizes = [len(data) for data in FILES.values()]
    assert store.contents.likely(sizes) == frozenset()
    write(store, FILES)
    assert store.contents.likely(sizes) == {size for size in sizes if size >= 4096}
    assert store.contents.likely([1_048_577, 999_999, 5_000, 12]) == {1_048_577, 5_000}
    assert store.contents.likely([5_000, 999_999]) == frozenset(), "a small part of the other layer"
    assert store.contents.likely([5_000] * 200) == {5_000}
    assert store.contents.likely([4_097, 3_000_000]) == store.contents.likely([]) == frozenset()


def test_a_layer_too_large_to_be_worth_it_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    large = write(store, {**FILES, "big": os.urandom(9_000_000)})
    read: list[str] = []
    monkeypatch.setattr(store.contents, "_layer", lambda diff_id: read.append(diff_id) or large)
    assert store.contents.likely([5_000, 1_048_577]) == frozenset() and read == []
    assert store.contents.find({hashlib.sha256(FILES["d/2"]).digest(): 300_000}) == {} and read == []
    assert store.contents.likely([9_000_000]) == {9_000_000} and read == [large.diff_id]


def test_references_go_to_files_never_to_references(store: Store, edited: dict[str, bytes]) -> None:
    """However often a context is changed."""
    files = {**edited}
    for turn in range(5):
        files[f"turn/{turn}"] = os.urandom(50_000)
        layer = write(store, files)
        record(store, str(turn), layer)
    parts = store.parts.get(layer.diff_id)
    assert parts is not None and len(parts.blobs) == 5
    assert all(store.blobs.path(blob).exists() for blob in parts.blobs)
    assert fsck(store) == []


def test_a_pulled_layer_can_be_referred_to(store: Store) -> None:
    """If what follows its contents is nothing, as tar has it; another's padding is not taken."""
    good, bad = os.urandom(600_001), os.urandom(600_001)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in (("good", good), ("bad", bad)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    image = bytearray(buffer.getvalue())
    end = image.index(bad[-50:]) + 50
    image[end] = 7
    pulled = import_tar(store, io.BytesIO(bytes(image)))
    record(store, "pulled", pulled)
    before = room(store)
    mine = write(store, {"a": good, "b": bad})
    assert 600_001 < room(store) - before < 620_000
    assert store.blobs.verify(mine.diff_id) == ""


def test_damage_is_found_in_all_who_have_it_and_repaired(store: Store, pair: tuple[Layer, Layer]) -> None:
    first, second = pair
    path = store.blobs.path(first.diff_id)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = {(problem.kind, problem.id) for problem in fsck(store)}
    assert {("blob", first.diff_id), ("blob", second.diff_id), ("cache", "first"), ("cache", "second")} <= found
    fsck(store, repair=True)
    assert fsck(store) == [] and store.cache.get("second") is None
    assert store.blobs.verify(write(store, FILES).diff_id) == ""


@pytest.mark.parametrize("lost", ["tar", "pack", "recipe"])
def test_a_power_cut_takes_all_that_needs_what_it_took(store: Store, pair: tuple[Layer, Layer], lost: str) -> None:
    first, second = pair
    [(recipe, blobs)] = store.db.read("SELECT recipe, blobs FROM parts")
    victim = {"tar": first.diff_id, "pack": blobs.split()[0], "recipe": recipe}[lost]
    store.db.execute("UPDATE blobs SET boot = 'another'")
    store.blobs.path(victim).write_bytes(b"")
    with Store(store.root) as again:
        assert not again.has_layer(second.diff_id) and again.has_layer(first.diff_id) == (lost != "tar")
        assert again.cache.get("second") is None and (again.cache.get("first") is None) == (lost == "tar")
        collect_garbage(again)
        assert fsck(again) == []


def test_a_layer_made_again_whole_stays_one(store: Store, pair: tuple[Layer, Layer], edited: dict[str, bytes]) -> None:
    second = pair[1]
    assert write_layer(store, entries(edited)).diff_id == second.diff_id
    collect_garbage(store)
    assert store.blobs.verify(second.diff_id) == "" and not store.blobs.path(second.diff_id).exists()
    store.db.execute("UPDATE layers SET idx = 'lost' WHERE diff_id = ?", (second.diff_id,))
    assert len(store.layer(second.diff_id).index) == len(edited)
    assert fsck(store) == []


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_a_store_of_a_version_before_is_taken_on(tmp_path: Path, version: int) -> None:
    (tmp_path / "old").mkdir(mode=0o700)
    connection = sqlite3.connect(tmp_path / "old/store.db")
    connection.executescript("".join(_UPGRADES[:version]) + f"PRAGMA user_version={version};")
    if version > 1:
        connection.execute("INSERT INTO holders VALUES (1, 'sha256:1', 'sha256:1')")
    connection.close()
    with Store(tmp_path / "old") as store:
        first = write(store, FILES)
        assert store.contents.likely([1_048_577]) == {1_048_577}
        assert store.db.read("SELECT blob FROM holders") == [(first.diff_id,)]


def test_a_recipe_finds_every_byte() -> None:
    from pybuild_magic.store.parts import Parts, Run

    parts = Parts(make_recipe(100, "p", [Run(10, 5, "a", 7), Run(15, 5, "b", 0), Run(90, 10, "a", 50)]))
    assert parts.blobs == ("p", "a", "b")
    assert [*parts.pieces(0, 100)] == [(0, 0, 10), (1, 7, 5), (2, 0, 5), (0, 10, 70), (1, 50, 10)]
    assert [*parts.pieces(12, 17)] == [(1, 9, 3), (2, 0, 2)]
    assert [*parts.pieces(99, 200)] == [(1, 59, 1)] and [*parts.pieces(100, 200)] == []
    assert Span("x", 0, 0).size == 0
