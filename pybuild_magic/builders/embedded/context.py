"""A local directory as the solver sees it: walked once, each file hashed only once ever, a Tree for keys and copies."""

from __future__ import annotations

import hashlib
import os
import stat as st
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path
from typing import BinaryIO

import msgspec

from ...cancel import Cancel
from ...errors import ContextError
from ...garbage import uncollected
from ...portable import read_into
from ...session import FileStat, Filter, LocalDir
from ...session.files import CAPABILITY
from ...store import DIR, FILE, Entry, KnownFiles, Store, entry_type
from ...store.entry import NO_XATTRS

_BLOCK = 1 << 20
EMPTY = hashlib.sha256().digest()
_BATCH = 8192
"""The number of files handled together: enough to look up and hash many at once, few enough to take no room."""

_Hashed = bytes | tuple[bytes, bytes]
"""A remembered digest, or a digest and capability read just now."""
_LARGE = 1 << 18
"""The size in bytes from which a file is hashed on a thread of its own: hashing it then outweighs opening it."""
_KEPT = 16 << 20
"""The most bytes of small files that are kept in memory until they are copied."""

_STAT_BYTES = 40
"""The approximate size of a message with a file's metadata, without its path: BuildKit counts these bytes as
transferred.
"""


class ContextTree:
    """The wanted files of a LocalDir, with their digests: a Tree whose contents are read from the directory.

    `entries` are in walk order; `contents` are those of small files that were read just now, by path. Lookup tables are
    made on first use: a cached build needs none.
    """

    def __init__(
        self, source: LocalDir, entries: list[Entry], links: dict[str, str], contents: dict[str, bytes]
    ) -> None:
        self._source = source
        self._list = entries
        self._links = links
        self._contents = contents

    def __len__(self) -> int:
        return len(self._list)

    @property
    def root(self) -> Path | None:
        """The directory; None for contexts in memory or in an archive."""
        return Path(self._source.key) if self._source.key else None

    @cached_property
    def _places(self) -> dict[str, int]:
        return {entry.path: place for place, entry in enumerate(self._list)}

    @cached_property
    def _children(self) -> dict[str, list[Entry]]:
        children: dict[str, list[Entry]] = {}
        for entry in self._list:
            children.setdefault(entry.path.rpartition("/")[0], []).append(entry)
        return children

    def get(self, path: str) -> Entry | None:
        """Return the entry at `path` without following links; "" is the root."""
        if not path:
            return _ROOT
        place = self._places.get(path)
        return None if place is None else self._list[place]

    def is_dir(self, path: str) -> bool:
        """Return whether `path` is a directory; "" is the root."""
        entry = self.get(path)
        return entry is not None and entry.is_dir

    def children(self, path: str) -> list[Entry]:
        """Return the entries of a directory, in byte order of their names."""
        return self._children.get(path, [])

    def walk(self, path: str = "") -> Iterator[Entry]:
        """Return all entries below `path`, each directory before its contents."""
        if not path:
            return iter(self._list)
        place = self._places.get(path)
        prefix = path + "/"
        rest = () if place is None else islice(self._list, place + 1, None)
        return takewhile(lambda entry: entry.path.startswith(prefix), rest)

    def known_paths(self, limit: int) -> list[str]:
        """Return up to `limit` paths of the directory, including unwanted and ignored ones."""
        return [stat.path for stat in islice(self._source.walk(), limit)]

    def open(self, entry: Entry) -> BinaryIO:
        """Return a regular file's content. Raises `ContextError` when it is no longer the file that was walked."""
        opened = self._open(entry)
        return os.fdopen(opened, "rb") if isinstance(opened, int) else opened

    def read(self, entry: Entry) -> bytes:
        """Return the whole content of a regular file."""
        with self.open(entry) as file:
            return file.read()

    def inode(self, entry: Entry) -> str:
        """Return the same value for all names of one file: the path of the first."""
        return self._links.get(entry.path, entry.path)

    def content(self, entry: Entry) -> bytes | Callable[[], BinaryIO | int]:
        """Return the content of the file, or an opener of it, for a LayerWriter to use in its turn."""
        kept = self._contents.get(self._links.get(entry.path, entry.path))
        return (lambda: self._open(entry)) if kept is None else kept

    def attributed(self) -> ContextTree:
        """Return the tree with all extended attributes: BuildKit's checksums cover them, although no layer has them."""
        xattrs = [self._source.xattrs(self._links.get(entry.path, entry.path)) for entry in self._list]
        entries = [
            msgspec.structs.replace(entry, xattrs=found) if found else entry
            for entry, found in zip(self._list, xattrs, strict=True)
        ]
        return ContextTree(self._source, entries, self._links, self._contents)

    def _open(self, entry: Entry) -> BinaryIO | int:
        """Return a descriptor where possible, else a file object."""
        path = self._links.get(entry.path, entry.path)
        fd = self._source.descriptor(path)
        if fd is None:
            return self._source.open(path)
        status = os.fstat(fd)
        if status.st_size != entry.size or status.st_mtime_ns != entry.mtime:
            os.close(fd)
            raise ContextError(f"{entry.path} of the context changed while it was being read.", hint="Build again.")
        return fd


_ROOT = Entry("", DIR, 0o755)


class _Count:
    """A byte counter shared by several threads."""

    def __init__(self, on_bytes: Callable[[int], None]) -> None:
        self._on_bytes = on_bytes
        self._lock = threading.Lock()
        self._bytes = 0

    def add(self, size: int) -> None:
        """Add `size` bytes."""
        with self._lock:
            self._bytes += size
            self._on_bytes(self._bytes)


def load_context(
    source: LocalDir,
    selection: Filter,
    store: Store,
    cancel: Cancel,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> ContextTree:
    """Walk `source` and hash the files whose digests are not remembered. `on_bytes` receives the running total.

    Raises `ContextError` for files that cannot be read.
    """
    entries: list[Entry] = []
    links: dict[str, str] = {}
    count = _Count(on_bytes)
    hasher = _Hasher(source, cancel, count)
    begun = time.time_ns()
    walk = source.walk(selection)
    while batch := list(islice(walk, _BATCH)):
        cancel.check()
        files = [file for file in batch if file.mode & _FORMAT == st.S_IFREG and not file.link]
        known = _known(source, store, files)
        count.add(sum(len(file.path) for file in batch) + _STAT_BYTES * len(batch))
        todo = [n for n, digest in enumerate(known) if not digest]
        for index, hashed in hasher.hash(files, todo):
            known[index] = hashed
        if todo:
            _remember(source, store, files, known, begun)
        digests = iter(known)
        for file in batch:
            if file.mode & _FORMAT != st.S_IFREG:
                entries.append(_special(file))
            elif file.link:
                links[file.path] = file.link
                entries.append(Entry(file.path))
            else:
                hashed = next(digests)
                digest, capability = hashed if isinstance(hashed, tuple) else (hashed, b"")
                xattrs = {CAPABILITY: capability} if capability else NO_XATTRS
                entries.append(
                    Entry(
                        file.path, FILE, file.mode & 0o7777, file.uid, file.gid, file.mtime_ns, file.size,
                        "", -1, digest, 0, 0, xattrs,
                    )
                )  # fmt: skip
    if links:
        first = {entry.path: entry for entry in entries}
        entries = [
            msgspec.structs.replace(first[links[entry.path]], path=entry.path) if entry.path in links else entry
            for entry in entries
        ]
    return ContextTree(source, entries, links, hasher.contents)


def _known(source: LocalDir, store: Store, files: list[FileStat]) -> list[_Hashed]:
    """Return each file's remembered digest, or b"". A file with a capability is never remembered."""
    root = source.key
    if not root:
        return [b"" if file.size else EMPTY for file in files]
    digests: list[_Hashed] = []
    folder, known = "/", KnownFiles()  # no path relative to the root begins with a slash
    for file in files:
        if not file.size:
            digests.append(EMPTY)
            continue
        above, _, name = file.path.rpartition("/")
        if above != folder:
            folder, known = above, store.digests.known_in(f"{root}/{above}" if above else root)
        row = known.get(name.encode("utf-8", "surrogateescape"))
        if row is not None and row[:-1] == (file.ino, file.size, file.mtime_ns, file.ctime_ns):
            digests.append(row[-1])
        else:
            digests.append(b"")
    return digests


@uncollected
def _remember(source: LocalDir, store: Store, files: list[FileStat], known: list[_Hashed], begun: int) -> None:
    root = source.key
    if not root:
        return
    fresh: dict[str, KnownFiles] = {}
    folder, there = "/", KnownFiles()
    for file, hashed in zip(files, known, strict=True):
        if isinstance(hashed, tuple) and not hashed[1] and file.ino:
            above, _, name = file.path.rpartition("/")
            if above != folder:
                folder, there = above, fresh.setdefault(f"{root}/{above}" if above else root, {})
            there[name.encode("utf-8", "surrogateescape")] = (
                file.ino, file.size, file.mtime_ns, file.ctime_ns, hashed[0],
            )  # fmt: skip
    store.digests.put(fresh, begun)


_FORMAT = 0o170000


def _special(file: FileStat) -> Entry:
    """Return the entry of a file that is not regular."""
    kind = entry_type(file.mode)
    if kind is None:
        raise ContextError(f"{file.path} of the context has a type that no image can hold.")
    return Entry(
        file.path, kind, file.mode & 0o7777, file.uid, file.gid, file.mtime_ns, 0, file.link,
        devmajor=file.devmajor, devminor=file.devminor,
    )  # fmt: skip


class _Hasher:
    """Hashes the files of a context, and keeps the contents of small ones: a COPY of them nearly always follows."""

    def __init__(self, source: LocalDir, cancel: Cancel, count: _Count) -> None:
        self._source = source
        self._cancel = cancel
        self._count = count
        self._room = _KEPT
        self.contents: dict[str, bytes] = {}
        """Contents by path."""

    def hash(self, files: list[FileStat], todo: list[int]) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
        """Yield (number, (digest, capability)) for each file in `todo`.

        Threads hash the large files, without the GIL, while this one hashes the small ones: threads would only wait
        for each other to open those.
        """
        large = [index for index in todo if files[index].size >= _LARGE]
        small = [index for index in todo if files[index].size < _LARGE]
        if len(todo) < 2 or not large:
            yield from ((index, self._hash(files[index])) for index in todo)
            return
        pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), "pybuild-hash")
        try:
            hashed = pool.map(self._hash, [files[index] for index in large])
            yield from ((index, self._hash(files[index])) for index in small)
            yield from zip(large, hashed, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)

    def _hash(self, file: FileStat) -> tuple[bytes, bytes]:
        """Return the digest and the capability of a file."""
        self._cancel.check()
        fd = self._source.descriptor(file.path)
        if fd is None:
            with self._source.open(file.path) as content:
                digest = hashlib.sha256(content.read()).digest()
            self._count.add(file.size)
            return digest, self._source.xattrs(file.path).get(CAPABILITY, b"")
        # BuildKit's receiver sets the capability first and the owner next, which drops the capability again.
        try:
            return self._small(file, fd) if file.size < _LARGE else self._large(fd), b""
        except OSError as error:
            raise ContextError(f"{file.path} of the context cannot be read: {error.strerror}.") from error
        finally:
            os.close(fd)

    def _small(self, file: FileStat, fd: int) -> bytes:
        data = os.read(fd, file.size + 1)
        self._count.add(len(data))
        if len(data) == file.size <= self._room:
            self._room -= len(data)
            self.contents[file.path] = data
        return hashlib.sha256(data).digest()

    def _large(self, fd: int) -> bytes:
        digest = hashlib.sha256()
        block = memoryview(bytearray(_BLOCK))
        while size := read_into(fd, block):
            digest.update(block[:size])
            self._count.add(size)
            self._cancel.check()
        return digest.digest()
