"""A local directory as the solver reads it: walked once, each file hashed once ever, a Tree for keys and copies."""

from __future__ import annotations

import hashlib
import io
import os
import stat as st
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from ...cancel import Cancel
from ...errors import ContextError
from ...session import FileStat, Filter, LocalDir
from ...session.files import CAPABILITY
from ...store import DIR, Entry, FileKey, Store, entry_type
from ...store.entry import NO_XATTRS

_BLOCK = 1 << 20

_STAT_BYTES = 40
"""About what a message with the metadata of a file has, beside its path: BuildKit counts these bytes as transferred."""


class ContextTree:
    """The wanted files of a LocalDir, with their digests: a Tree whose contents are read from the directory itself."""

    def __init__(self, source: LocalDir, entries: list[Entry], links: dict[str, str]) -> None:
        self._source = source
        self._entries = {entry.path: entry for entry in entries}
        self._links = links
        self._children: dict[str, list[Entry]] = {}
        for entry in entries:
            self._children.setdefault(entry.parent, []).append(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, path: str) -> Entry | None:
        """The entry at `path`, following nothing; "" is the root."""
        return _ROOT if not path else self._entries.get(path)

    def children(self, path: str) -> list[Entry]:
        """The entries of a directory, in byte order of their names."""
        return self._children.get(path, [])

    def walk(self, path: str = "") -> Iterator[Entry]:
        """All entries below `path`, each directory before what is in it."""
        for entry in self._children.get(path, ()):
            yield entry
            if entry.type == DIR:
                yield from self.walk(entry.path)

    def open(self, entry: Entry) -> BinaryIO:
        """A regular file's content. Raises `ContextError` when the file is not the one that was walked."""
        file = self._source.open(self._links.get(entry.path, entry.path))
        if isinstance(file, io.FileIO):
            found = os.fstat(file.fileno())
            if found.st_size != entry.size or found.st_mtime_ns != entry.mtime:
                file.close()
                raise ContextError(f"{entry.path} of the context changed while it was read.", hint="Build again.")
        return file

    def read(self, entry: Entry) -> bytes:
        """A regular file's content, whole."""
        with self.open(entry) as file:
            return file.read()

    def inode(self, entry: Entry) -> str:
        """Equal for the names of one file: the path of the first."""
        return self._links.get(entry.path, entry.path)

    def content(self, entry: Entry) -> Callable[[], BinaryIO]:
        """What a LayerWriter opens when the file's turn comes."""
        return lambda: self.open(entry)


_ROOT = Entry("", DIR, 0o755)


def load_context(
    source: LocalDir,
    wanted: Filter,
    store: Store,
    cancel: Cancel,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> ContextTree:
    """Walk `source` and hash the files whose digest is not remembered. `on_bytes` gets the count so far.

    Raises `ContextError` for files that cannot be read.
    """
    stats = list(source.walk(wanted))
    cancel.check()
    count = sum(map(len, (found.path for found in stats))) + _STAT_BYTES * len(stats)
    on_bytes(count)
    files = [found for found in stats if st.S_ISREG(found.mode) and not found.link]
    root = source.key
    keys = [
        FileKey(f"{root}/{found.path}", found.ino, found.size, found.mtime_ns, found.ctime_ns) if found.ino else None
        for found in files
    ]
    known: list[bytes | None] = [None] * len(files)
    if root:
        known = store.digests.get([key for key in keys if key])
    todo = [index for index, digest in enumerate(known) if digest is None]
    capabilities: dict[str, bytes] = {}
    if todo:
        for index, (digest, capability) in _hash_all(source, files, todo, cancel):
            known[index] = digest
            count += files[index].size
            on_bytes(count)
            if capability:
                capabilities[files[index].path] = capability
        fresh = [(keys[index], known[index]) for index in todo if files[index].path not in capabilities]
        store.digests.put([(key, digest) for key, digest in fresh if key and digest])
    digests = {found.path: digest or b"" for found, digest in zip(files, known, strict=True)}
    sizes = {found.path: found.size for found in files} if any(f.link for f in stats) else {}
    links: dict[str, str] = {}
    entries = [_entry(found, digests, sizes, links, capabilities) for found in stats]
    return ContextTree(source, entries, links)


def _entry(
    found: FileStat,
    digests: dict[str, bytes],
    sizes: dict[str, int],
    links: dict[str, str],
    capabilities: dict[str, bytes],
) -> Entry:
    kind = entry_type(found.mode)
    if kind is None:
        raise ContextError(f"{found.path} of the context is of a type that no image can hold.")
    first, size = found.path, found.size
    link = found.link
    if link and st.S_ISREG(found.mode):
        links[found.path] = first = link
        link, size = "", sizes.get(first, 0)
    capability = capabilities.get(first)
    return Entry(
        found.path,
        kind,
        found.mode & 0o7777,
        found.uid,
        found.gid,
        found.mtime_ns,
        size if kind == "0" else 0,
        link,
        -1,
        digests.get(first, b""),
        found.devmajor,
        found.devminor,
        {CAPABILITY: capability} if capability else NO_XATTRS,
    )


def _hash_all(
    source: LocalDir, files: list[FileStat], todo: list[int], cancel: Cancel
) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    """(number, (digest, capability)) of each file in `todo`; hashing many bytes needs no GIL."""

    def one(index: int) -> tuple[bytes, bytes]:
        found = files[index]
        return _hash(source, found, cancel), source.capability(found.path)

    def many(chunk: list[int]) -> list[tuple[bytes, bytes]]:
        return [one(index) for index in chunk]

    if len(todo) < 32 and sum(files[index].size for index in todo) < 8 * _BLOCK:
        yield from ((index, one(index)) for index in todo)
        return
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "hash") as pool:
        step = max(1, min(64, len(todo) // 8))
        chunks = [todo[start : start + step] for start in range(0, len(todo), step)]
        for chunk, results in zip(chunks, pool.map(many, chunks), strict=True):
            yield from zip(chunk, results, strict=True)


def _hash(source: LocalDir, found: FileStat, cancel: Cancel) -> bytes:
    digest = hashlib.sha256()
    with source.open(found.path) as file:
        while data := file.read(_BLOCK):
            digest.update(data)
            if len(data) == _BLOCK:
                cancel.check()
    return digest.digest()
