"""Modules compiled into a program: Go's build information, and the list that cargo-auditable embeds."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec

from ...golang.json import check_nesting
from ...store import Entry
from ..purl import purl
from .package import Files, Package, UnreadableError, text_of

_GO = b".go.buildinfo"
_RUST = b".dep-v0"
_GO_MAGIC = b"\xff Go buildinf:"
_SENTINEL = 16
"""The bytes around the module information, by which it is found in a binary."""
_MOST_SECTIONS = 4096
_MOST_BYTES = 16 << 20


def elf(entry: Entry, files: Files) -> Iterator[Package]:
    """Return the modules of an ELF program; none for other files."""
    for name, offset, size in _sections(entry, files):
        if name == _GO:
            yield from _go(entry, files, offset, size)
        elif name == _RUST:
            yield from _rust(entry, files.part(entry, offset, min(size, _MOST_BYTES)))


def _sections(entry: Entry, files: Files) -> list[tuple[bytes, int, int]]:
    """Return name, offset and size of each of the wanted sections."""
    head = files.part(entry, 0, 64)
    if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):
        return []
    order, wide = "<>"[head[5] - 1], head[4] == 2
    if wide:
        table = int(struct.unpack_from(order + "Q", head, 0x28)[0])
        size, count, names = struct.unpack_from(order + "HHH", head, 0x3A)
        section = struct.Struct(order + "IIQQQQIIQQ")
    else:
        table = int(struct.unpack_from(order + "I", head, 0x20)[0])
        size, count, names = struct.unpack_from(order + "HHH", head, 0x2E)
        section = struct.Struct(order + "10I")
    if size != section.size or not 0 < count <= _MOST_SECTIONS or names >= count:
        return []
    data = files.part(entry, table, size * count)
    if len(data) < size * count:
        return []
    sections: list[tuple[int, ...]] = list(section.iter_unpack(data))
    names_of = sections[int(names)]
    text = files.part(entry, names_of[4], min(names_of[5], 1 << 20))
    named = [(text[header[0] : text.find(b"\0", header[0])], header[4], header[5]) for header in sections]
    return [header for header in named if header[0] in (_GO, _RUST)]


def _go(entry: Entry, files: Files, offset: int, size: int) -> Iterator[Package]:
    head = files.part(entry, offset, min(size, _MOST_BYTES))
    if not head.startswith(_GO_MAGIC):
        return
    if not head[15] & 2:
        raise UnreadableError("was built by a Go before 1.18, whose module lists are not supported")
    version, rest = _counted(head, 32)
    modules, _ = _counted(head, rest)
    where = entry.path
    if version:
        number = text_of(version).split()[0].removeprefix("go")
        yield Package("golang", "stdlib", number, purl("golang", "stdlib", number), "BSD-3-Clause", where)
    pending: tuple[str, str] | None = None
    for line in text_of(modules[_SENTINEL:-_SENTINEL]).splitlines():
        kind, *words = line.split("\t")
        if kind in ("mod", "dep", "=>") and len(words) >= 2:
            if kind != "=>" and pending:
                yield _module(*pending, where)
            pending = words[0], words[1]  # a module that is replaced by another is not in the program
    if pending:
        yield _module(*pending, where)


def _module(path: str, version: str, where: str) -> Package:
    namespace, _, name = path.rpartition("/")
    known = "" if version == "(devel)" else version
    return Package("golang", path, version, purl("golang", name, known, namespace=namespace), "", where)


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    """Return a text that is preceded by its length as a varint, and the offset after it."""
    length = shift = 0
    while True:
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
        if shift > 35:
            raise UnreadableError("has damaged build information")
    if at + length > len(data):
        raise UnreadableError("has damaged build information")
    return data[at : at + length], at + length


def _rust(entry: Entry, packed: bytes) -> Iterator[Package]:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, _MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise UnreadableError("lists too many crates")
    check_nesting(data, entry.path)
    document = msgspec.json.decode(data, type=dict[str, Any])
    for crate in msgspec.convert(document.get("packages", []), type=list[dict[str, Any]]):
        name, version = crate.get("name"), crate.get("version")
        if isinstance(name, str) and isinstance(version, str) and crate.get("kind", "runtime") == "runtime":
            yield Package("cargo", name, version, purl("cargo", name, version), "", entry.path)
