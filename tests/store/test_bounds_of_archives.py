"""What small archives may claim: paths, attributes, devices, holes and sizes as Linux has them, no more."""

from __future__ import annotations

import gzip
import io
import tarfile
import threading
import time
from pathlib import Path

import pytest
import zstandard

from pybuild_magic.cancel import Cancel, checkpoint
from pybuild_magic.errors import Interrupted, SourceError
from pybuild_magic.store import Entry, Store, import_tar, importer, read_tar, tarread, write_layer
from pybuild_magic.store.collect import collect_garbage

from .test_import import END, corrupt, header, info, make


def pax(records: dict[str, bytes], name: str = "x") -> bytes:
    """A file whose PAX header has these records, whatever they are."""
    data = b""
    for key, value in records.items():
        body = b" " + key.encode() + b"=" + value + b"\n"
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length += 1
        data += str(length).encode() + body
    head = info("pax", type=b"x", size=len(data)).tobuf(tarfile.GNU_FORMAT)
    return head + data.ljust(-(-len(data) // 512) * 512, b"\0") + info(name).tobuf(tarfile.GNU_FORMAT)


def sparse(size: int, name: str = "sparse") -> bytes:
    """A sparse file of which nothing is stored."""
    records = {"GNU.sparse.major": b"0", "GNU.sparse.minor": b"1", "GNU.sparse.realsize": b"%d" % size}
    return pax({**records, "GNU.sparse.map": b"%d,0" % size}, name)


def device(major: bytes, minor: bytes) -> bytes:
    return corrupt(corrupt(header(type=tarfile.CHRTYPE), 329, major), 337, minor)


REFUSED = {
    "path": (pax({"path": b"a/" * 400_000}), r"the name 'a/a/.*…' has 800000 bytes, and paths have at most 4095"),
    "path by one": (pax({"path": b"a/" * 2047 + b"ab"}), "has 4096 bytes"),
    "GNU name": (make(info("n/" * 3000, size=5), format=tarfile.GNU_FORMAT), "has 6000 bytes"),
    "component": (pax({"path": b"a/" + b"b" * 256 + b"/c"}), "a part of the name .* has more than 255 bytes"),
    "symlink": (
        make(info("l", type=tarfile.SYMTYPE, linkname="d/" * 300_000)),
        "the target .* of a link has 600000 bytes",
    ),
    "hardlink": (make(info("l", type=tarfile.LNKTYPE, linkname="d/" * 3000)), "has 6000 bytes"),
    "attribute": (pax({"SCHILY.xattr.user.x": b"v" * (256 << 10)}), "'user.x' of 'x' has 262144 bytes, but at most"),
    "attribute's name": (pax({"SCHILY.xattr.user." + "x" * 251: b"v"}), "of the name 'user.x*…', which cannot be"),
    "attribute's NUL": (pax({"SCHILY.xattr.user.a\0b": b"v"}), "which cannot be"),
    "attribute without a name": (pax({"SCHILY.xattr.": b"v"}), "which cannot be"),
    "attributes": (pax({f"SCHILY.xattr.user.{n:0200}": b"" for n in range(400)}), "too many extended attributes"),
    "major": (device(b"\x80\0\0\0\xff\xff\xff\xff", b"0000000\0"), "has the numbers 4294967295:0, which no device has"),
    "minor": (device(b"0000000\0", b"\x80\0\0\0\x00\x10\x00\x00"), "has the numbers 0:1048576"),
    "negative minor": (device(b"0000000\0", b"\xff" * 8), "has the numbers 0:-1"),
    "hole": (sparse(8 << 40), "the sparse file 'sparse' claims 8796093022208 bytes, of which it has 0"),
    "map without end": (
        pax({"GNU.sparse.major": b"1", "GNU.sparse.realsize": b"9", "size": b"%d" % (1 << 30)}) + bytes(1 << 20),
        "map of a sparse file is malformed",
    ),
    "size": (pax({"size": b"9" * 20}), "a size that cannot be"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_file_system_holds_is_refused_with_the_entry(store: Store, name: str) -> None:
    data, message = REFUSED[name]
    packed = gzip.compress(data + END)
    with pytest.raises(SourceError, match=rf"^The layer is not a valid tar: .*{message}"):
        import_tar(store, io.BytesIO(packed))
    with pytest.raises(SourceError, match=message):
        for _, content in read_tar(io.BytesIO(packed)):
            content.read(1)
    collect_garbage(store)
    assert not list((store.root / "blobs" / "sha256").iterdir())


def test_what_a_file_system_holds_comes_in(store: Store) -> None:
    attributes = {f"SCHILY.xattr.user.{n:03}": b"\0v" for n in range(300)}
    attributes |= {f"SCHILY.xattr.user.{'x' * 250}": b"", "SCHILY.xattr.user.large": b"v" * 65536}
    path = "a/" * 1900 + "n" * 255
    tar = b"".join(
        [
            pax(attributes, "attributes"),
            pax({"path": path.encode() + b"/"}),
            info("/" + "d/" * 2047, type=tarfile.DIRTYPE).tobuf(tarfile.GNU_FORMAT),
            info("l", type=tarfile.SYMTYPE, linkname="t" * 4095).tobuf(tarfile.GNU_FORMAT),
            device(b"0007777\0", b"3777777\0"),
        ]
    )  # fmt: skip
    entries = list(import_tar(store, io.BytesIO(tar + END)).index)
    assert len(entries[0].xattrs) == 302
    assert [entry.path for entry in entries[1:3]] == [path, "/".join("d" * 2047)]
    assert len(entries[3].link) == 4095
    assert (entries[4].devmajor, entries[4].devminor) == (4095, 1048575)


def test_entries_and_names_are_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarread, "MAX_ENTRIES", 50)
    with pytest.raises(SourceError, match="more than 50 entries"):
        import_tar(store, io.BytesIO(make(*(f"f{n}" for n in range(51)))))
    monkeypatch.undo()
    monkeypatch.setattr(tarread, "MAX_FILE_HOLES", 5 << 20)
    with pytest.raises(SourceError, match="the sparse file 's5' claims 1048576 bytes"):
        import_tar(store, io.BytesIO(b"".join(sparse(1 << 20, f"s{n}") for n in range(6))))
    monkeypatch.setattr(tarread, "MAX_NAMES", 5000)
    with pytest.raises(SourceError, match="more than 5000 bytes"):
        import_tar(store, io.BytesIO(pax({"SCHILY.xattr.user.x": b"v" * 6000})))


def test_a_bomb_is_refused_by_what_it_unpacks_to(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "MAX_UNPACKED", 8 << 20)
    bomb = zstandard.compress(info("zeros", size=64 << 20).tobuf() + bytes(64 << 20))
    assert len(bomb) < 10_000
    with pytest.raises(SourceError, match=f"bytes of it unpack to more than {8 << 20}"):
        import_tar(store, io.BytesIO(bomb))
    with pytest.raises(SourceError, match="unpack to more"):
        for _, content in read_tar(io.BytesIO(bomb)):
            content.read()
    gzipped = gzip.compress(info("zeros", size=64 << 20).tobuf() + bytes(64 << 20))
    assert import_tar(store, io.BytesIO(gzipped)).index.entries[0].size == 64 << 20, "no more than gzip can do"


def test_holes_take_no_room(store: Store, tmp_path: Path) -> None:
    layer = import_tar(store, io.BytesIO(sparse(512 << 20) + END))
    [entry] = layer.index
    assert entry.size == 512 << 20
    blob = store.blobs.path(layer.span(entry).blob).stat()
    assert (blob.st_size, blob.st_blocks) == (512 << 20, 0)
    from pybuild_magic.builders.embedded.sandbox.helper.extract import Writer

    place = tmp_path / "written"
    writer = Writer([str(store.blobs.path(layer.span(entry).blob))], devices=True, single=True)
    writer.file((str(place), "0", 0o644, 0, 0, 0, entry.size, "", 0, 0, 0, 0, None))
    assert (place.stat().st_size, place.stat().st_blocks) == (512 << 20, 0)


def test_a_merge_that_takes_long_is_stopped(store: Store) -> None:
    """Each entry leads through all the links that a path may have, each as long as it may be."""
    links = [(Entry(f"l{n}", "2", link=f"{'./x/../' * 580}l{n + 1}"), None) for n in range(254)]
    entries = [*links, (Entry("x", "5"), None), (Entry("l254", "5"), None)]
    entries += [(Entry(f"l0/f{n}"), None) for n in range(100_000)]
    layer = write_layer(store, entries)
    cancel = Cancel()
    timer = threading.Timer(0.3, cancel.cancel)
    timer.start()
    began = time.monotonic()
    with cancel.bound(), pytest.raises(Interrupted):
        store.tree([layer.diff_id]).get("x")
    assert time.monotonic() - began < 30
    timer.join()
    checkpoint()
