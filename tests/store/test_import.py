"""Taking in tars from elsewhere."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import shutil
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from pybuild_magic.errors import SourceError
from pybuild_magic.store import Entry, Store, import_tar, read_tar, write_layer
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.header import tar_header


def make(*members: tarfile.TarInfo | str, format: int = tarfile.PAX_FORMAT, **options: object) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, **options) as tar:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if isinstance(member, str):
                info.size = 5
            tar.addfile(info, io.BytesIO(b"hello"[: info.size]) if info.isreg() else None)
    return buffer.getvalue()


def info(name: str, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(member, key, value)
    return member


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "gzip members": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    "zstd": zstandard.ZstdCompressor().compress,
    "zstd frames": lambda data: zstandard.compress(data[:700]) + zstandard.compress(data[700:]),
}
ARCHIVES = {**COMPRESSIONS, "bzip2": bz2.compress, "xz": lzma.compress}
"""What ADD unpacks; a layer that is packed with the last two is none, as in containerd."""


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_read_in_every_compression(name: str) -> None:
    found = {entry.path: content.read() for entry, content in read_tar(io.BytesIO(ARCHIVES[name](make("a", "b/c"))))}
    assert found["b/c"] == b"hello"


@pytest.mark.parametrize("name", ["bzip2", "xz"])
def test_a_layer_is_packed_with_gzip_or_zstd_alone(store: Store, name: str) -> None:
    with pytest.raises(SourceError, match="is not a valid tar"):
        import_tar(store, io.BytesIO(ARCHIVES[name](make("a"))))


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_every_compression_comes_in_as_the_same_layer(store: Store, name: str) -> None:
    tar = make("a", "b/c")
    packed = COMPRESSIONS[name](tar)
    layer = import_tar(store, io.BytesIO(packed), diff_id=digest(tar), digest=digest(packed))
    assert store.blobs.read(layer.diff_id) == tar
    entry = layer.index.get("b/c")
    assert entry is not None and entry.digest == hashlib.sha256(b"hello").digest()
    assert tar[entry.offset : entry.offset + entry.size] == b"hello"


@pytest.mark.parametrize(
    "bad", [b"\x90\x01\x00\x00\x00", b"\x05\0\0\0\x9d\x01\0\0\0", None], ids=["old", "version", "gone"]
)
def test_an_index_that_is_lost_or_of_another_version_is_made_again(store: Store, bad: bytes | None) -> None:
    layer = import_tar(store, io.BytesIO(make("a", "b/c")))
    entries = layer.index.entries
    (index,) = store.db.read("SELECT idx FROM layers")[0]
    if bad is None:
        store.blobs.path(index).unlink()
        store.db.execute("DELETE FROM blobs WHERE digest = ?", (index,))
    else:
        store.db.execute("UPDATE layers SET idx = ?", (store.blobs.put(bad),))
    assert store.layer(layer.diff_id).index.entries == entries
    assert fsck(store) == []


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_cut_and_damaged_streams_are_refused(store: Store, name: str) -> None:
    tar = make("a", "b/c", info("big", size=5)) + bytes(10240)
    packed = COMPRESSIONS[name](tar)
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0x55
    for bad in (packed[: len(packed) * 2 // 3], packed[:9], bytes(damaged)):
        with pytest.raises(SourceError):
            import_tar(store, io.BytesIO(bad), diff_id=digest(tar))
    collect_garbage(store)
    assert not list((store.root / "ingest").iterdir()) and not list((store.root / "blobs" / "sha256").iterdir())


def test_wrong_digests_are_named(store: Store) -> None:
    tar = make("a")
    packed = gzip.compress(tar)
    with pytest.raises(SourceError, match=f"The base has the digest {digest(packed)} where sha256:0+ was announced"):
        import_tar(store, io.BytesIO(packed), digest="sha256:" + "0" * 64, name="The base")
    with pytest.raises(SourceError, match=f"diffID {digest(tar)} where sha256:0+ was announced"):
        import_tar(store, io.BytesIO(packed), diff_id="sha256:" + "0" * 64)


def header(**fields: object) -> bytes:
    return info("x", **fields).tobuf(tarfile.GNU_FORMAT)


def corrupt(block: bytes, at: int, new: bytes) -> bytes:
    """A header with other bytes and a right checksum."""
    changed = bytearray(block)
    changed[at : at + len(new)] = new
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


END = bytes(1024)
HOSTILE = {
    "up": (make("../x"), "leads out of the root"),
    "up later": (make("a/../../x"), "leads out of the root"),
    "up absolute": (make("/../x"), "leads out of the root"),
    "dots only": (make(".."), "leads out of the root"),
    "hardlink up": (make(info("x", type=tarfile.LNKTYPE, linkname="../../etc/passwd")), "leads out of the root"),
    "hardlink to the root": (make(info("x", type=tarfile.LNKTYPE, linkname="/")), "points at the root"),
    "checksum": (header()[:300] + b"\x01" + header()[301:] + END, "wrong checksum"),
    "no tar": (b"hello world" * 100, "there is no tar header at byte 0"),
    "short": (make("a")[:300], "truncated"),
    "content cut": (make("a")[:514], "truncated"),
    "garbage after one zero block": (make("a")[:1024] + bytes(512) + make("b"), "data after its end mark"),
    "negative size": (corrupt(header(), 124, b"\xff" * 12) + END, "cannot be"),
    "negative owner": (corrupt(header(), 108, b"\xff" * 8) + END, "cannot be"),
    "huge size": (corrupt(header(), 124, b"\x80" + b"\x7f" * 11) + END, "cannot be"),
    "octal": (corrupt(header(), 124, b"12x45678901\0") + END, "not a number"),
    "digits of no octal": (corrupt(header(), 124, b"00000000089\0") + END, "not a number"),
    "type": (corrupt(header(), 156, b"V") + END, "a layer cannot hold"),
    "pax length": (header(type=b"x", size=10) + b"99 path=x\n".ljust(512, b"\0") + header() + END, "malformed"),
    "pax zero": (header(type=b"x", size=10) + b"0 path=x1\n".ljust(512, b"\0") + header() + END, "malformed"),
    "pax no equals": (header(type=b"x", size=9) + b"9 path x\n".ljust(512, b"\0") + header() + END, "malformed"),
    "pax nul": (header(type=b"x", size=12) + b"12 path=a\0b\n".ljust(512, b"\0") + header() + END, "NUL"),
    "pax number": (header(type=b"x", size=11) + b"11 size=-9\n".ljust(512, b"\0") + header() + END, "cannot be"),
    "pax word": (header(type=b"x", size=11) + b"11 size=no\n".ljust(512, b"\0") + header() + END, "not a number"),
    "pax too large": (header(type=b"x", size=1 << 30) + END, "too large"),
    "pax at the end": (header(type=b"x", size=10) + b"10 path=x\n".ljust(512, b"\0"), "truncated"),
    "sparse beyond": (
        corrupt(corrupt(header(type=b"S", size=5), 386, b"00000000000\x0000000000005\0"), 483, b"00000000001\0") + END,
        "malformed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tars_are_refused_with_a_reason(store: Store, name: str) -> None:
    data, message = HOSTILE[name]
    with pytest.raises(SourceError, match=rf"(?s)^The layer is not a valid tar: .*{message}.*\.$"):
        import_tar(store, io.BytesIO(data))
    with pytest.raises(SourceError, match=message):
        list(read_tar(io.BytesIO(data)))
    collect_garbage(store)
    assert not list((store.root / "blobs" / "sha256").iterdir())


def test_random_damage_never_escapes_as_another_error(store: Store) -> None:
    rng = random.Random(7)
    tar = make("a" * 150, "ü", info("l", type=tarfile.SYMTYPE, linkname="q" * 120), info("s", pax_headers={"x": "y"}))
    gnu = make("a" * 150, info("l", type=tarfile.SYMTYPE, linkname="q" * 120), format=tarfile.GNU_FORMAT)
    for base in (tar, gnu, gzip.compress(tar), zstandard.compress(tar)):
        for _ in range(400):
            data = bytearray(base)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                for _, content in read_tar(io.BytesIO(bytes(data))):
                    content.read()
            except SourceError:
                pass


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/abs/x", "abs/x"),
        ("./a//b/./c", "a/b/c"),
        ("a/../b", "b"),
        ("x/.", "x"),
        ("...", "..."),
        ("..a/b..", "..a/b.."),
    ],
)
def test_names_are_made_relative(store: Store, name: str, expected: str) -> None:
    [entry] = import_tar(store, io.BytesIO(make(name))).index
    assert entry.path == expected


def test_the_root_itself_is_left_out(store: Store) -> None:
    tar = make(info("./", type=tarfile.DIRTYPE), info("/", type=tarfile.DIRTYPE), "./a")
    assert [entry.path for entry in import_tar(store, io.BytesIO(tar)).index] == ["a"]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_tar_format_reads_alike(store: Store, format: int) -> None:  # noqa: A002
    long = "p" * 80 + "/" + "q" * 80
    members = [
        info("dir", type=tarfile.DIRTYPE, mode=0o1777, mtime=1234),
        info(long, size=5, uid=77, gid=88, uname="someone", mode=0o4755),
        info("hard", type=tarfile.LNKTYPE, linkname="dir/other"),
        info("sym", type=tarfile.SYMTYPE, linkname="../" + "z" * 90),
        info("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        info("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=300),
        info("pipe", type=tarfile.FIFOTYPE),
    ]
    if format != tarfile.USTAR_FORMAT:
        members += [info("n" * 150 + "/" + "m" * 150, size=5), info("l", type=tarfile.SYMTYPE, linkname="t" * 300)]
        members += [info("owned", size=5, uid=3_000_000_000), info("old", size=5, mtime=-100)]
    index = import_tar(store, io.BytesIO(make(*members, format=format))).index
    assert [(e.path, e.type, e.mode, e.uid, e.gid, e.mtime, e.size, e.link, e.devmajor, e.devminor) for e in index] == [
        (m.name, m.type.decode(), m.mode, m.uid, m.gid, m.mtime * 10**9, m.size, m.linkname, m.devmajor, m.devminor)
        for m in members
    ]


def test_pax_records_rule_and_global_ones_do_not(store: Store) -> None:
    member = info("short", size=5, pax_headers={"mtime": "12.5", "SCHILY.xattr.user.x": "wert", "uid": "9"})
    tar = make(member, pax_headers={"path": "global", "comment": "hi"})
    [entry] = import_tar(store, io.BytesIO(tar)).index
    assert (entry.path, entry.mtime, entry.uid, dict(entry.xattrs)) == ("short", 12_500_000_000, 9, {"user.x": b"wert"})


def test_tars_without_an_end_and_with_padding_are_whole(store: Store) -> None:
    for data in (make("a")[:1024], make("a")[:1536], make("a") + bytes(100_000), b"", END):
        layer = import_tar(store, io.BytesIO(data), diff_id=digest(data))
        assert store.blobs.read(layer.diff_id) == data


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
@pytest.mark.parametrize(
    "flags",
    [("--format=gnu",), *(("--format=pax", f"--sparse-version={version}") for version in ("0.0", "0.1", "1.0"))],
)
def test_sparse_files_have_their_content(store: Store, tmp_path: Path, flags: tuple[str, ...]) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    data = os.urandom(5000)
    for name in ("sparse", "twin"):
        with (tree / name).open("wb") as file:
            for number in range(40):
                file.seek(number * 100_000)
                file.write(data)
            file.truncate(6_000_000)
    with (tree / "hole").open("wb") as file:
        file.truncate(1_000_000)
    (tree / "z").write_text("after")
    tar = subprocess.run(
        ["tar", "-C", tree, "--sparse", *flags, "-c", "hole", "sparse", "twin", "z"], check=True, capture_output=True
    ).stdout
    assert len(tar) < 1_500_000
    layer = import_tar(store, io.BytesIO(tar), diff_id=digest(tar))
    merged = store.tree([layer.diff_id])
    for name in ("hole", "sparse", "twin", "z"):
        entry = merged.get(name)
        assert entry is not None
        assert merged.read(entry) == (tree / name).read_bytes()
        assert entry.digest == hashlib.sha256((tree / name).read_bytes()).digest()
    assert merged.inode(merged.get("sparse")) != merged.inode(merged.get("twin"))
    contents = {entry.path: content.read() for entry, content in read_tar(io.BytesIO(tar))}
    assert contents["sparse"] == (tree / "sparse").read_bytes() and contents["z"] == b"after"
    copied = write_layer(store, [(entry, merged.span(entry)) for entry in merged.walk()])
    assert copied.index.get("twin").digest == merged.get("twin").digest


def test_read_tar_passes_over_what_nobody_read(store: Store) -> None:
    assert [entry.path for entry, _ in read_tar(io.BytesIO(gzip.compress(make("a", "b", "c"))))] == ["a", "b", "c"]


def test_an_archive_becomes_a_layer_in_one_pass(store: Store) -> None:
    archive = io.BytesIO(gzip.compress(make("a", "b", "c")))
    layer = write_layer(store, read_tar(archive))
    assert [store.tree([layer.diff_id]).read(entry) for entry in layer.index] == [b"hello"] * 3


class Zeros(io.RawIOBase):
    """A tar with one large file, made as it is read."""

    def __init__(self, size: int) -> None:
        self.start = tar_header(Entry("big", size=size))
        self.left = size + 1024

    def read(self, size: int = -1) -> bytes:
        if self.start:
            start, self.start = self.start, b""
            return start
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


def test_memory_is_flat_in_file_size(store: Store) -> None:
    peaks = []
    for size in (32 << 20, 256 << 20):
        tracemalloc.start()
        layer = import_tar(store, Zeros(size))
        write_layer(store, [(entry, layer.span(entry)) for entry in layer.index])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 20) and peaks[1] < 12 << 20
