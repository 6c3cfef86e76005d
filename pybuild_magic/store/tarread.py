"""A reader of tar streams of all formats: ustar, PAX, GNU, star, v7 and sparse files. Nothing in them is trusted."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from functools import lru_cache

import msgspec

from ..errors import SourceError
from .decompress import Readable
from .entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, NANOSECONDS, NO_XATTRS, SYMLINK, WHITEOUT_PREFIX, Entry
from .header import BLOCK_SIZE, PAX_XATTR, padding

_CHUNK = 1 << 18
_MAX_SPECIAL = 1 << 20
"""The most bytes of a PAX header or GNU long name, as in Go's archive/tar."""
_MAX_ID = 0xFFFFFFFF
_MAX_TIME = (1 << 63) - 1
_ZERO = bytes(BLOCK_SIZE)
_XATTR = PAX_XATTR.encode()
_DECIMAL = re.compile(rb"(-?)(\d{1,20})(?:\.(\d*))?")
_MAX_SPARSE = 1 << 20
_MAX_PART = 21
"""The most bytes of a number in the map of a sparse file, with its terminator."""
MAX_PATH = 4095
"""The most bytes of a path or a link's target, as in Linux (PATH_MAX includes the NUL)."""
MAX_NAME = 255
"""The most bytes of a name in a path, not counting the prefix of a whiteout."""
_WHITEOUT = WHITEOUT_PREFIX.encode()
MAX_ENTRIES = 1 << 21
MAX_NAMES = 256 << 20
"""The most bytes of all paths, targets and extended attributes of an archive, since they are held in memory."""
MAX_FILE_HOLES = 4 << 30
"""The most bytes in the holes of all sparse files of an archive."""
_MAX_MAJOR, _MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1
_MAX_XATTR, _MAX_XATTR_NAMES = 1 << 16, 1 << 16
"""The most bytes of a value, and of all names with a NUL each, as in Linux (XATTR_SIZE_MAX, XATTR_LIST_MAX)."""


class Member(msgspec.Struct, frozen=True, gc=False):
    """An entry of a tar stream, and how its content is stored."""

    entry: Entry
    """The entry, with the offset of its content; its size includes the holes of a sparse file."""
    stored: int
    """Bytes of the content in the tar."""
    sparse: tuple[tuple[int, int], ...] | None = None
    """For a sparse file, (offset, length) of the stored parts, in order."""


class TarFeed:
    """The bytes of a tar stream, in pieces as the reader asks for them.

    `tap` is called with all bytes. With `seek`, the stream's own, skipped bytes are not read at all.
    """

    def __init__(
        self,
        stream: Readable,
        tap: Callable[[bytes], object] | None = None,
        seek: Callable[[int, int], object] | None = None,
    ) -> None:
        self._read = stream.read
        self._tap = tap
        self._seek = seek
        self._chunk = b""
        self._at = 0
        self._base = 0

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self._base + self._at

    def _next(self) -> bool:
        self._base += len(self._chunk)
        self._at = 0
        self._chunk = self._read(_CHUNK)
        if self._chunk and self._tap is not None:
            self._tap(self._chunk)
        return bool(self._chunk)

    def block(self) -> bytes:
        """Return the next 512 bytes; b"" at the end of the stream."""
        end = self._at + BLOCK_SIZE
        if end <= len(self._chunk):
            data = self._chunk[self._at : end]
            self._at = end
            return data
        if self._at == len(self._chunk) and not self._next():
            return b""
        return self.take(BLOCK_SIZE)

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """Yield the next `size` bytes, in pieces that live until the next one is asked for."""
        while size:
            if self._at == len(self._chunk) and not self._next():
                raise SourceError("it is truncated")
            piece = memoryview(self._chunk)[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        """Skip `size` bytes."""
        rest = size - (len(self._chunk) - self._at)
        if rest <= 0:
            self._at += size
            return
        if self._seek is not None:
            self._seek(rest - 1, os.SEEK_CUR)
            self._base += len(self._chunk) + rest - 1
            self._chunk, self._at = self._read(1), 1
            if not self._chunk:
                raise SourceError("it is truncated")
            return
        for _ in self.pieces(size):
            pass

    def drain(self) -> None:
        """Skip the rest of the stream."""
        while self._next():
            pass
        self._at = len(self._chunk)


def members(feed: TarFeed) -> Iterator[Member]:
    """Yield the entries of a tar. After each, `feed` is at its content, of which the consumer takes `stored` at most.

    Raises SourceError; its message is a fragment of a sentence about the fault of the tar.
    """
    counts = _Counts()
    records: dict[bytes, bytes] = {}
    long_name: bytes | None = None
    long_link: bytes | None = None
    while block := feed.block():
        if block == _ZERO:
            following = feed.block()
            if following and following != _ZERO:
                raise SourceError("it has data after its end mark")
            return
        _check_sum(block, feed)
        flag = block[156:157]
        if flag in (b"x", b"g", b"L", b"K"):
            size = _number(block[124:136])
            if not 0 <= size <= _MAX_SPECIAL:
                raise SourceError(f"a special header of {size} bytes is too large")
            data = feed.take(size)
            feed.skip(padding(size))
            if flag == b"x":
                records = parse_pax(data)
            elif flag == b"L":
                long_name = data.split(b"\0", 1)[0]
            elif flag == b"K":
                long_link = data.split(b"\0", 1)[0]
            continue
        member = _member(block, feed, records, long_name, long_link)
        records, long_name, long_link = {}, None, None
        counts.add(member)
        end = feed.offset + member.stored
        if member.entry.path:
            yield member
        if feed.offset != end:
            feed.skip(end - feed.offset)
        feed.skip(-end % BLOCK_SIZE)
    if records or long_name is not None or long_link is not None:
        raise SourceError("it is truncated")


class _Counts:
    """Bounds on what an archive may cost in memory and time, even if it takes hardly any room when compressed."""

    def __init__(self) -> None:
        self._entries = self._names = self._holes = 0

    def add(self, member: Member) -> None:
        entry = member.entry
        self._entries += 1
        self._names += len(entry.path) + len(entry.link)
        if entry.xattrs:
            self._names += sum(len(name) + len(value) for name, value in entry.xattrs.items())
        if self._entries > MAX_ENTRIES:
            raise SourceError(f"it has more than {MAX_ENTRIES} entries")
        if self._names > MAX_NAMES:
            raise SourceError(f"its names and attributes have more than {MAX_NAMES} bytes")
        if member.sparse is not None:
            self._holes += entry.size - member.stored
            if self._holes > MAX_FILE_HOLES:
                raise SourceError(
                    f"the sparse file {_quoted(entry.path)} claims {entry.size} bytes, of which it has {member.stored}"
                )


def is_header(block: bytes) -> bool:
    """Return whether 512 bytes are the header of a tar's member."""
    if len(block) != BLOCK_SIZE or block == _ZERO:
        return False
    try:
        _check_sum(block, TarFeed(io.BytesIO()))
    except SourceError:
        return False
    return True


def _check_sum(block: bytes, feed: TarFeed) -> None:
    try:
        expected = _number(block[148:156])
    except SourceError:
        raise SourceError(f"there is no tar header at byte {feed.offset - BLOCK_SIZE}") from None
    unsigned = sum(block.replace(b"\0", b"")) - sum(block[148:156]) + 8 * 32
    if expected != unsigned:
        signed = unsigned - 256 * sum(1 for at, byte in enumerate(block) if byte > 127 and not 148 <= at < 156)
        if expected != signed:
            raise SourceError(f"the header at byte {feed.offset - BLOCK_SIZE} has a wrong checksum")


def _member(
    block: bytes, feed: TarFeed, records: dict[bytes, bytes], long_name: bytes | None, long_link: bytes | None
) -> Member:
    flag = block[156:157]
    name, link = block[:100].split(b"\0", 1)[0], block[157:257].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0":
        size = 131 if block[508:] == b"tar\0" else 155
        if prefix := block[345 : 345 + size].split(b"\0", 1)[0]:
            name = prefix + b"/" + name
    name = long_name if long_name is not None else name
    link = long_link if long_link is not None else link
    mode, uid, gid = _number(block[100:108]), _number(block[108:116]), _number(block[116:124])
    stored = _number(block[124:136])
    mtime = _number(block[136:148]) * NANOSECONDS
    xattrs = NO_XATTRS
    if records:
        name, link = records.get(b"path") or name, records.get(b"linkpath") or link
        uid, gid = _decimal(records, b"uid", uid), _decimal(records, b"gid", gid)
        stored = _decimal(records, b"size", stored)
        if value := records.get(b"mtime"):
            mtime = _time(value)
        xattrs = _xattrs(records, name)
    type_ = _type(flag, name)
    if type_ != FILE:
        stored = 0
    if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID and 0 <= stored <= _MAX_TIME):
        raise SourceError(f"the header of {_shown(name)} has an owner or a size that cannot be")
    size, sparse = stored, None
    if type_ == FILE:
        header_end = feed.offset
        if flag == b"S":
            size, sparse = _gnu_sparse(block, feed)
        elif b"GNU.sparse.major" in records or b"GNU.sparse.map" in records or b"GNU.sparse.numblocks" in records:
            size, sparse = _pax_sparse(records, feed)
            name = records.get(b"GNU.sparse.name") or name
            stored -= feed.offset - header_end
        if sparse is not None:
            _check_sparse(sparse, size, stored, name)
    major = minor = 0
    if type_ in (CHAR, BLOCK) or (type_ == HARDLINK and block[257:262] == b"ustar"):
        major, minor = _number(block[329:337]), _number(block[337:345])
        if not (0 <= major <= _MAX_MAJOR and 0 <= minor <= _MAX_MINOR):
            raise SourceError(f"the device {_shown(name)} has the numbers {major}:{minor}, which no device has")
    entry = Entry(
        _clean(name),
        type_,
        mode & 0o7777,
        uid,
        gid,
        mtime if abs(mtime) <= _MAX_TIME else 0,
        size,
        _link(type_, link),
        feed.offset,
        b"",
        major,
        minor,
        xattrs,
    )
    return Member(entry, stored, sparse)


def _type(flag: bytes, name: bytes) -> str:
    if flag in b"\0" or flag == b"":
        return DIR if name.endswith(b"/") else FILE
    if flag in (b"0", b"7", b"S"):
        return FILE
    type_ = flag.decode("latin-1")
    if type_ not in (HARDLINK, SYMLINK, CHAR, BLOCK, DIR, FIFO):
        raise SourceError(f"{_shown(name)} is of a type ({type_!r}) that a layer cannot hold")
    return type_


def _link(type_: str, link: bytes) -> str:
    if type_ == HARDLINK:
        if not (target := _clean(link)):
            raise SourceError("a hardlink points at the root")
        return target
    if type_ != SYMLINK:
        return ""
    if b"\0" in link:
        raise SourceError("a link has a NUL byte in it")
    if len(link) > MAX_PATH:
        raise SourceError(
            f"the target {_shown(link)} of a link has {len(link)} bytes, but at most {MAX_PATH} are possible"
        )
    return link.decode("utf-8", "surrogateescape")


def _clean(name: bytes) -> str:
    """Return a name of a tar as the path of an entry, with extra "/", "." and ".." resolved.

    Raises SourceError if it leads above the root.
    """
    if len(name) > MAX_NAME:
        _check_length(name)
    text = name.decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise SourceError(f"the name {_shown(name)} has a NUL byte in it")
    if not ("//" in text or "./" in text or text.startswith("/") or text.endswith("/.") or text in (".", "..")):
        text = text.removesuffix("/")
        if not text.endswith("/.."):
            return text
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            if not parts:
                raise SourceError(f"the name {_shown(name)} leads out of the root")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _check_length(name: bytes) -> None:
    if len(name.strip(b"/")) > MAX_PATH:
        raise SourceError(f"the name {_shown(name)} has {len(name)} bytes, and paths have at most {MAX_PATH}")
    if max(len(part.removeprefix(_WHITEOUT)) for part in name.split(b"/")) > MAX_NAME:
        raise SourceError(f"a part of the name {_shown(name)} has more than {MAX_NAME} bytes")


def _shown(name: bytes) -> str:
    return _quoted(name[:101].decode("utf-8", "backslashreplace"))


def _quoted(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:100]}…")


@lru_cache(4096)
def _number(field: bytes) -> int:
    """Return a numeric field: octal digits, or base 256 if the high bit is set, which may be negative."""
    if field[0] & 0x80:
        number = int.from_bytes(field, "big")
        bits = 8 * len(field)
        return number - (1 << bits) if field[0] & 0x40 else number - (1 << (bits - 1))
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise SourceError(f"{field!r} is not a number of a header")
    return int(digits, 8)


def _decimal(records: dict[bytes, bytes], key: bytes, default: int) -> int:
    value = records.get(key)
    if not value:
        return default
    match = _DECIMAL.fullmatch(value)
    if match is None or match[3] is not None:
        raise SourceError(f"the PAX record {key.decode()}={value[:40]!r} is not a number")
    return int(value)


def _time(value: bytes) -> int:
    match = _DECIMAL.fullmatch(value)
    if match is None:
        raise SourceError(f"the PAX record mtime={value[:40]!r} is not a time")
    nanoseconds = int(match[2]) * NANOSECONDS + int((match[3] or b"0")[:9].ljust(9, b"0"))
    return -nanoseconds if match[1] else nanoseconds


def _xattrs(records: dict[bytes, bytes], path: bytes) -> dict[str, bytes]:
    xattrs = {key[len(_XATTR) :]: value for key, value in records.items() if key.startswith(_XATTR)}
    for name, value in xattrs.items():
        if not 0 < len(name) <= MAX_NAME or b"\0" in name:
            raise SourceError(f"{_shown(path)} has an extended attribute of the name {_shown(name)}, which cannot be")
        if len(value) > _MAX_XATTR:
            raise SourceError(
                f"the extended attribute {_shown(name)} of {_shown(path)} has {len(value)} bytes, "
                f"but at most {_MAX_XATTR} are possible"
            )
    if sum(map(len, xattrs)) + len(xattrs) > _MAX_XATTR_NAMES:
        raise SourceError(f"{_shown(path)} has too many extended attributes")
    return {name.decode("utf-8", "surrogateescape"): value for name, value in xattrs.items()}


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """Return the records of a PAX header: each is `LENGTH key=value` and a newline (POSIX pax, Extended Header).

    The repeated records of the old sparse map are joined into one list, as newer archives have it.
    """
    records: dict[bytes, bytes] = {}
    sparse: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else at
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space + 1 or end > len(data) or data[end - 1 : end] != b"\n" or not equals or not key:
            raise SourceError("a PAX header is malformed")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            sparse.append(value)
        records[key] = value
        at = end
    if sparse and b"GNU.sparse.map" not in records:
        records[b"GNU.sparse.map"] = b",".join(sparse)
    return records


def _gnu_sparse(block: bytes, feed: TarFeed) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return the map of an old GNU sparse file: four parts in the header, and more in the blocks after it."""
    parts: list[tuple[int, int]] = []
    area, count, continues = block[386:482], 4, block[482]
    while True:
        for at in range(0, 24 * count, 24):
            if area[at] == 0:
                break
            parts.append((_number(area[at : at + 12]), _number(area[at + 12 : at + 24])))
        if not continues:
            return _number(block[483:495]), tuple(parts)
        if len(parts) > _MAX_SPARSE:
            raise SourceError("a sparse file has too many parts")
        area, count = feed.take(BLOCK_SIZE), 21
        continues = area[504]


def _pax_sparse(records: dict[bytes, bytes], feed: TarFeed) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return the map of a PAX sparse file: from the records (formats 0.0 and 0.1) or before the content (1.0)."""
    size = _decimal(records, b"GNU.sparse.realsize", _decimal(records, b"GNU.sparse.size", 0))
    if records.get(b"GNU.sparse.major") == b"1":
        text, lines, line_count = bytearray(), 0, 1
        while lines < line_count:
            block = feed.take(BLOCK_SIZE)
            text += block
            lines += block.count(b"\n")
            if line_count == 1 and lines:
                line_count = 1 + 2 * _count(bytes(text[: text.index(b"\n")]))
            if len(text) > _MAX_PART * line_count + BLOCK_SIZE:
                raise SourceError("the map of a sparse file is malformed")
        numbers = [_part(line) for line in bytes(text).split(b"\n")[1:line_count]]
    else:
        value = records.get(b"GNU.sparse.map", b"")
        numbers = [_part(part) for part in value.split(b",")] if value else []
    if len(numbers) % 2:
        raise SourceError("the map of a sparse file is malformed")
    return size, tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _count(line: bytes) -> int:
    count = _part(line)
    if count > _MAX_SPARSE:
        raise SourceError("a sparse file has too many parts")
    return count


def _part(text: bytes) -> int:
    if not text.isdigit() or len(text) >= _MAX_PART:
        raise SourceError("the map of a sparse file is malformed")
    return int(text)


def _check_sparse(sparse: tuple[tuple[int, int], ...], size: int, stored: int, name: bytes) -> None:
    at = 0
    for offset, length in sparse:
        if offset < at or length < 0 or offset + length > size:
            raise SourceError(f"the map of the sparse file {_shown(name)} is malformed")
        at = offset + length
    if stored < 0 or size < 0 or sum(length for _, length in sparse) != stored:
        raise SourceError(f"the sparse file {_shown(name)} has other parts than its map says")
