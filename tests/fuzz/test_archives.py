"""Archives, layers and the documents in them, made by anybody. Nothing but BuildError comes out, nor takes much."""
# ruff: noqa: E501 - the values are read better in rows

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pybuild_magic.errors import BuildError, ContextError, SourceError
from pybuild_magic.images.archive import Archive
from pybuild_magic.oci import config
from pybuild_magic.oci.blobs import read_config, read_manifest
from pybuild_magic.oci.manifest import MAX_DOCUMENT, decode_index, decode_manifest, media_type_of
from pybuild_magic.oci.validate import problems
from pybuild_magic.session import TarSource
from pybuild_magic.store import Store, decompress, import_tar, importer, read_tar
from tests.oci.images import SmallImage, tar

bounded = settings(
    max_examples=80, deadline=10_000, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
LONG = "9" * 5000

# Tars: of valid headers with odd values, and of good archives with some bytes changed, cut or repeated.

NUMBERS = st.one_of(
    st.sampled_from([b"", b"0", b"777", b"-1", b"8", b" 7 ", b"\x80" + b"\xff" * 7, b"\xff" * 8, b"\x80" + bytes(7)]),
    st.integers(0, 0o7777777).map(lambda number: b"%o" % number),
    st.binary(max_size=8),
)
NAMES = st.one_of(
    st.sampled_from(
        [
            *(b"a", b"a/b", b"d/", b"/", b".", b"..", b"../x", b"a/../..", b"./a//b/", b"\xff\xfe", b"a\nb", b"", b"a/.wh."),
            *(b".wh..wh..opq", b"d/.wh.x", b"a" * 300, b"a/" * 400, b"a/" * 3000, b"manifest.json", b"oci-layout", b"index.json"),
        ]
    ),
    st.binary(max_size=30),
)  # fmt: skip
FLAGS = st.sampled_from([b"\0", *(b"%c" % flag for flag in b"0123456755xxgLKSSDVXA")])
PAX_KEYS = st.sampled_from(
    [
        *("path", "linkpath", "size", "uid", "gid", "mtime", "GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size"),
        *("GNU.sparse.realsize", "GNU.sparse.numblocks", "GNU.sparse.offset", "GNU.sparse.numbytes", "GNU.sparse.name"),
        *("SCHILY.xattr.security.capability", "SCHILY.xattr.", "hdrcharset", "comment", ""),
    ]
)
PAX_VALUES = st.one_of(
    st.sampled_from([b"", b"0", b"1", b"-1", b"1.5", b"nan", b"inf", b"1e400", LONG.encode(), b"0,512", b"0,-1", b"5,1,0,1"]),
    NAMES,
)  # fmt: skip


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


PAX = st.one_of(
    st.lists(st.tuples(PAX_KEYS, PAX_VALUES).map(lambda pair: record(*pair)), max_size=4).map(b"".join),
    st.sampled_from([b"1" * 9000, b"5 a=" * 9000, b"0 a=b\n", b"99999999999999999999 a=b\n", b"6 a=b\n" * 3000]),
    st.binary(max_size=40),
)


def member(flag: bytes, name: bytes, link: bytes, numbers: list[bytes], content: bytes, *, size: bytes | None) -> bytes:
    """A member with a right checksum, whatever else it says."""
    block = bytearray(512)

    def put(offset: int, room: int, value: bytes) -> None:
        block[offset : offset + room] = value[:room].ljust(room, b"\0")

    put(0, 100, name)
    for number, (offset, room) in zip(
        numbers, ((100, 8), (108, 8), (116, 8), (136, 12), (329, 8), (337, 8)), strict=True
    ):
        put(offset, room, number)
    put(124, 12, b"%011o" % len(content) if size is None else size)
    put(148, 8, b"        ")
    put(156, 1, flag)
    put(157, 100, link)
    put(257, 8, b"ustar\x0000")
    put(148, 8, b"%06o\0 " % sum(block))
    return bytes(block) + content + bytes(-len(content) % 512)


CONTENTS = st.one_of(st.binary(max_size=30), PAX, NAMES, st.sampled_from([b"1\n0\n512\n", b"9" * 600, b"2\n" * 400]))
MEMBERS = st.builds(
    lambda flag, name, link, numbers, content, size: member(flag, name, link, numbers, content, size=size),
    FLAGS,
    NAMES,
    NAMES,
    st.lists(NUMBERS, min_size=6, max_size=6),
    CONTENTS,
    st.one_of(st.none(), st.none(), st.none(), NUMBERS),
)
PAX_MEMBERS = PAX.map(lambda data: member(b"x", b"pax", b"", [b"0"] * 6, data, size=None))
TARS = st.lists(st.one_of(MEMBERS, PAX_MEMBERS), max_size=6).map(b"".join).flatmap(
    lambda data: st.sampled_from([data + bytes(1024), data + bytes(512), data, data[:-100], data + b"x" * 600])
)  # fmt: skip


def damaged(whole: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of them with a few bytes changed, and perhaps cut."""

    def change(data: bytes, places: list[tuple[int, int]], keep: int) -> bytes:
        changed = bytearray(data)
        for place, byte in places:
            changed[place % len(changed)] = byte
        return bytes(changed[: keep % len(changed)] if keep else changed)

    places = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4)
    return st.builds(change, st.sampled_from(whole), places, st.one_of(st.just(0), st.integers(0, 1 << 20)))


IMAGE = SmallImage()
PACKERS: list[Callable[[bytes], bytes]] = [
    bytes,
    gzip.compress,
    bz2.compress,
    lzma.compress,
    zstandard.compress,
    lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    lambda data: zstandard.compress(data[:700]) + b"\x50\x2a\x4d\x18\x01\0\0\0x" + zstandard.compress(data[700:]),
]
ARCHIVES = [IMAGE.archive("docker.io/library/a:1"), IMAGE.docker_archive("a:1", "b")]
PACKED = damaged([pack(data) for pack in PACKERS for data in (*ARCHIVES, IMAGE.layer)])
ANY = st.one_of(TARS, PACKED, st.builds(lambda pack, data: pack(data), st.sampled_from(PACKERS), TARS))
CHAIN = member(b"L", b"x", b"", [b"0"] * 6, b"name\0", size=None) * 3000
MANY_DIGITS = member(b"x", b"x", b"", [b"0"] * 6, b"1" * (1 << 20), size=None)
BACKTRACKING = member(b"x", b"x", b"", [b"0"] * 6, b"5 a\n" * (1 << 18), size=None)
BACKWARDS = member(b"0", b"x", b"", [b"0"] * 6, b"", size=b"\xff" * 12)
NO_NUMBER = member(b"x", b"x", b"", [b"0"] * 6, record("mtime", b"nan"), size=None) + member(
    b"0", b"x", b"", [b"0"] * 6, b"", size=None
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("fuzz") / "store") as made:
        yield made


@given(ANY)
@bounded
@example(CHAIN)
@example(MANY_DIGITS)
def test_a_layer(store: Store, data: bytes) -> None:
    with contextlib.suppress(BuildError):
        layer = import_tar(store, io.BytesIO(data))
        assert sum(1 for _ in layer.index) < 1000
        for _ in store.tree([layer.diff_id]).walk():
            pass


@given(ANY)
@bounded
@example(CHAIN)
@example(BACKTRACKING)
def test_an_archive_of_add(data: bytes) -> None:
    with contextlib.suppress(BuildError):
        for entry, content in read_tar(io.BytesIO(data)):
            if entry.size < 1 << 20:
                content.readall()


@given(ANY)
@bounded
@example(CHAIN)
@example(MANY_DIGITS)
@example(BACKTRACKING)
@example(BACKWARDS)
@example(NO_NUMBER)
@example(b"")
def test_a_context(data: bytes) -> None:
    with contextlib.suppress(BuildError):
        source = TarSource(data)
        for found in source.walk():
            assert len(found.path) <= 4095
            source.xattrs(found.path)
            with contextlib.suppress(BuildError), source.open(found.path) as file:
                file.read(1 << 16)


def look_into(archive: Archive) -> None:
    for entry in archive.index().manifests:
        with contextlib.suppress(BuildError):
            read_config(archive, read_manifest(archive, entry))
        problems(archive, entry, decompress)


@given(ANY)
@bounded
@example(CHAIN)
@example(MANY_DIGITS)
@example(BACKTRACKING)
@example(BACKWARDS)
def test_an_archive_of_images(data: bytes) -> None:
    with contextlib.suppress(BuildError), contextlib.closing(Archive(io.BytesIO(data))) as archive:
        look_into(archive)


# Documents: any JSON, and those of an image with values that do not belong there.

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.sampled_from([LONG, "sha256:x", 1 << 70])
)  # fmt: skip
JSON = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3))
)  # fmt: skip
KEYS = st.sampled_from(
    [
        *("schemaVersion", "mediaType", "config", "layers", "manifests", "annotations", "subject", "artifactType", "rootfs"),
        *("digest", "size", "urls", "data", "platform", "os", "architecture", "variant", "os.features", "history", "created"),
        *("diff_ids", "Env", "Cmd", "Labels", "Volumes", "Healthcheck", "Interval", "empty_layer", "ExposedPorts", "OnBuild"),
        *("Config", "Layers", "RepoTags"),
    ]
)  # fmt: skip
NAMED = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=20,
)
DOCUMENTS = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    NAMED.map(lambda value: json.dumps(value).encode()),
    damaged([IMAGE.manifest, IMAGE.config]),
    st.binary(max_size=30),
)
NESTED = b'{"config":' + b"[" * 200_000
TIMES = b'{"created":"9999-12-31T23:59:59-23:59","history":[{"created":"0000-01-01T00:00:00+23:59"}]}'


@given(DOCUMENTS)
@settings(bounded, max_examples=200)
@example(NESTED)
@example(TIMES)
@example(b'{"schemaVersion":' + LONG.encode() + b"}")
@example(b'{"config":{"Healthcheck":{"Interval":1e400}}}')
@example(b'{"created":"2' + b"0" * 5000 + b'-01-01T00:00:00Z"}')
def test_a_document(data: bytes) -> None:
    for read in (decode_manifest, decode_index, media_type_of, config.decode):
        with contextlib.suppress(BuildError):
            found = read(data)
            if not isinstance(found, str):
                found.encode()


@given(st.sampled_from(["oci", "docker"]), DOCUMENTS, DOCUMENTS)
@bounded
@example("docker", b'[{"Config":"c","Layers":["l","l"]}]', b'{"rootfs":{"diff_ids":["","\\ud800"]}}')
@example("docker", b'[{"Config":"c","RepoTags":["\\u0000"]}]', b"{}")
@example("docker", b'[{"Config":"/\\u0000"}]', b"{}")
def test_documents_of_an_archive(kind: str, index: bytes, other: bytes) -> None:
    members = {
        "docker": {"manifest.json": index, "c": other, "l": b"x"},
        "oci": {"oci-layout": other, "index.json": index},
    }
    with contextlib.suppress(BuildError), contextlib.closing(Archive(io.BytesIO(tar(dict(members[kind]))))) as archive:
        look_into(archive)


# What is small and claims much.


def bomb(member_size: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        info = tarfile.TarInfo("big")
        info.size = member_size
        archive.addfile(info, io.BytesIO(bytes(member_size)))
    return packed.getvalue()


@pytest.mark.parametrize("pack", [bytes, bz2.compress, lzma.compress])
def test_an_archive_unpacks_to_no_more_than_a_layer_may(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "MAX_UNPACKED", 1 << 20)
    monkeypatch.setattr(importer, "MAX_RATIO", 100)
    data = bomb(8 << 20)
    if pack is not bytes:
        data = pack(gzip.decompress(data))
    with pytest.raises(
        SourceError, match=r"^a\.tar is not a valid tar: \d+ bytes of it unpack to more than 1048576\.$"
    ):
        Archive(io.BytesIO(data), "a.tar")
    with pytest.raises(ContextError, match=r"The context is not a valid tar: .* unpack to more than 1048576"):
        TarSource(data)


def test_directories_that_only_names_imply_are_counted() -> None:
    """Each of the few kilobytes of a packed name stands for megabytes of the directories above it."""
    deep = [b"%d/" % number + b"a/" * 2000 for number in range(100)]
    pax = [member(b"x", b"x", b"", [b"0"] * 6, record("path", name + b"f"), size=None) for name in deep]
    data = b"".join(head + member(b"0", b"x", b"", [b"0"] * 6, b"", size=None) for head in pax)
    with pytest.raises(ContextError, match="the names of its directories have more than"):
        TarSource(gzip.compress(data))


def test_an_image_that_is_named_again_and_again_is_read_within_bounds() -> None:
    saved = json.dumps([{"Config": "c", "Layers": []}] * 1000).encode()
    big = json.dumps({"x": "y" * (MAX_DOCUMENT - 100)}).encode()
    with pytest.raises(SourceError, match="are described by more than"):
        Archive(io.BytesIO(tar({"manifest.json": saved, "c": big})))


def test_a_large_file_of_a_context_is_not_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(bomb(64 << 20))
    tracemalloc.start()
    try:
        with TarSource(tmp_path / "a.tar.gz").open("big") as file:
            while file.read(1 << 20):
                pass
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
