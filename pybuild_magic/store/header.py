"""The header blocks of a tar entry, byte for byte as in Go's archive/tar when used by containerd's differ."""

from __future__ import annotations

from ..errors import StoreError
from .entry import BLOCK, CHAR, DIR, FILE, NANOSECONDS, Entry

BLOCK_SIZE = 512
TRAILER = bytes(2 * BLOCK_SIZE)
"""Two zero blocks, with which Go ends a tar; it pads no further."""

PAX_XATTR = "SCHILY.xattr."

_NAME_SIZE = 100
_PREFIX_SIZE = 155
_OCTAL_7 = 0o7777777
_OCTAL_11 = 0o77777777777
_MAGIC = b"ustar\x0000"
_NO_DEVICE = b"0000000\x000000000\x00"
_REST = bytes(155 + 12)
_FIXED_SUM = sum(_MAGIC) + sum(b" " * 8)
_NO_DEVICE_SUM = sum(_NO_DEVICE)
_PLAIN_TAILS = {type_: type_.encode() + bytes(100) + _MAGIC + bytes(64) + _NO_DEVICE + _REST for type_ in "0123456"}
"""The rest of a header after the checksum, for an entry without link, device numbers and name prefix."""


_PAX_TAIL = b"x" + bytes(100) + _MAGIC + bytes(80) + _REST
"""The same for a PAX header, whose device numbers are empty."""


def padding(size: int) -> int:
    """Return how many zero bytes pad `size` bytes of content to a whole block."""
    return -size % BLOCK_SIZE


def tar_header(entry: Entry) -> bytes:
    """Return the header of `entry`, after a PAX header if ustar is not enough; its size is a multiple of 512 bytes.

    Times are cut to seconds, user and group names are empty, and extended attributes are `SCHILY.xattr.*`. The rules
    are those of archive/tar for `FormatPAX`: plain ustar when all values fit, where a long ASCII name is split at a
    slash; otherwise PAX records, sorted by key, for the values that do not. Raises StoreError for a name that is empty
    or has a NUL.
    """
    name = entry.path.encode("utf-8", "surrogateescape")
    if entry.type == DIR:
        name += b"/"
    size = entry.size if entry.type == FILE else 0
    seconds = entry.mtime // NANOSECONDS
    if entry.link or len(name) > _NAME_SIZE or not _plain(entry, name, size, seconds):
        return _full_header(entry, name, size, seconds)
    return _pack(entry.type, name, entry.mode, entry.uid, entry.gid, size, seconds)


def _plain(entry: Entry, name: bytes, size: int, seconds: int) -> bool:
    """Return whether one block without link and device numbers is enough, as for nearly all files and directories."""
    return (
        bool(entry.path)
        and entry.uid <= _OCTAL_7
        and entry.gid <= _OCTAL_7
        and 0 <= seconds <= _OCTAL_11
        and size <= _OCTAL_11
        and not entry.xattrs
        and entry.type not in (CHAR, BLOCK)
        and name.isascii()
        and b"\0" not in name
    )


def _full_header(entry: Entry, name: bytes, size: int, seconds: int) -> bytes:
    link = entry.link.encode("utf-8", "surrogateescape")
    if not entry.path or b"\0" in name or b"\0" in link:
        raise StoreError(f"{entry.path!r} cannot be in a layer: a name must not be empty or contain a NUL byte.")
    uid, gid = entry.uid, entry.gid
    records: dict[bytes, bytes] = {}
    prefix = b""
    ustar = _fits(entry, link, size, seconds)
    if len(name) > _NAME_SIZE or not name.isascii():
        records[b"path"] = name
        split = _split(name)
        if split is None:
            ustar = False
        elif ustar:
            prefix, name = split
    if ustar:
        return _block(entry, name, link, prefix, uid, gid, size, seconds)
    if len(link) > _NAME_SIZE or not link.isascii():
        records[b"linkpath"] = link
    if uid > _OCTAL_7:
        records[b"uid"], uid = b"%d" % uid, 0
    if gid > _OCTAL_7:
        records[b"gid"], gid = b"%d" % gid, 0
    if size > _OCTAL_11:
        records[b"size"], size = b"%d" % size, 0
    if not 0 <= seconds <= _OCTAL_11:
        records[b"mtime"], seconds = b"%d" % seconds, 0
    for key, value in entry.xattrs.items():
        records[(PAX_XATTR + key).encode("utf-8", "surrogateescape")] = value
    pax = _pax_header(name, b"".join(_record(key, records[key]) for key in sorted(records)))
    return pax + _block(entry, _field(_ascii(name)), _field(_ascii(link)), b"", uid, gid, size, seconds)


def _fits(entry: Entry, link: bytes, size: int, seconds: int) -> bool:
    return (
        len(link) <= _NAME_SIZE
        and 0 <= seconds <= _OCTAL_11
        and entry.uid <= _OCTAL_7
        and entry.gid <= _OCTAL_7
        and size <= _OCTAL_11
        and not entry.xattrs
        and link.isascii()
    )


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """Return a long ASCII name as ustar's prefix and name; None unless it has a slash at which both fit."""
    if not name.isascii():
        return None
    end = min(len(name), _PREFIX_SIZE + 1)
    if len(name) <= _PREFIX_SIZE + 1 and name.endswith(b"/"):
        end -= 1
    at = name.rfind(b"/", 0, end)
    rest = len(name) - at - 1
    if at <= 0 or at > _PREFIX_SIZE or not 0 < rest <= _NAME_SIZE:
        return None
    return name[:at], name[at + 1 :]


def _ascii(text: bytes) -> bytes:
    return text if text.isascii() else bytes(byte for byte in text if byte < 0x80)


def _field(text: bytes) -> bytes:
    """Return at most 100 bytes of a name. A cut name loses a slash at its end, so as not to look like a directory."""
    cut = text[:_NAME_SIZE]
    return cut.rstrip(b"/") if len(text) > _NAME_SIZE and cut.endswith(b"/") else cut


def _record(key: bytes, value: bytes) -> bytes:
    """Return `LENGTH key=value` and a newline, where LENGTH counts its own digits too."""
    body = len(key) + len(value) + 3
    length = body + len(str(body))
    if len(str(length)) != len(str(body)):
        length = body + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _pax_header(name: bytes, records: bytes) -> bytes:
    directory, _, base = name.rpartition(b"/")
    stand_in = b"/".join(part for part in (directory, b"PaxHeaders.0", base) if part)
    head = _pack("x", _ascii(stand_in)[:_NAME_SIZE].rstrip(b"/"), 0, 0, 0, len(records), 0, _PAX_TAIL, 0)
    return b"".join((head, records, bytes(padding(len(records)))))


def _block(entry: Entry, name: bytes, link: bytes, prefix: bytes, uid: int, gid: int, size: int, seconds: int) -> bytes:
    if not link and not prefix and entry.type != CHAR and entry.type != BLOCK:
        return _pack(entry.type, name, entry.mode, uid, gid, size, seconds)
    devices = b"%07o\0%07o\0" % (entry.devmajor, entry.devminor)
    tail = b"".join(
        (
            entry.type.encode(),
            link.ljust(100, b"\0"),
            _MAGIC,
            bytes(64),
            devices,
            prefix.ljust(_PREFIX_SIZE, b"\0"),
            bytes(12),
        )
    )
    return _pack(entry.type, name, entry.mode, uid, gid, size, seconds, tail, sum(link) + sum(prefix) + sum(devices))


def _pack(
    type_: str, name: bytes, mode: int, uid: int, gid: int, size: int, seconds: int,
    tail: bytes = b"", tail_sum: int = _NO_DEVICE_SUM,
) -> bytes:  # fmt: skip
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, seconds)
    checksum = sum(name) + sum(numbers) + ord(type_) + tail_sum + _FIXED_SUM
    return b"%b%b%06o\0 %b" % (name.ljust(_NAME_SIZE, b"\0"), numbers, checksum, tail or _PLAIN_TAILS[type_])
