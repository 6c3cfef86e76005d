"""A build context that is a dict of a notebook, from paths to text or bytes, and never written to disk."""

from __future__ import annotations

import hashlib
import io
import stat as st
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from ..errors import ContextError
from ..store.entry import NO_XATTRS
from .files import Files, FileStat, Filter, by_bytes, clean
from .walk import compile_filter, walk_folder

MTIME = 315_532_800_000_000_000
"""The time of every file, in nanoseconds: 1980, the earliest that every archive format can hold."""

_Tree = dict[str, "bytes | _Tree"]


class MemorySource:
    """Files by path, with mode 0644, in directories of mode 0755. Raises `ContextError` for a path out of the root."""

    key = ""

    def __init__(self, files: Files) -> None:
        self._tree: _Tree = {}
        for path, data in files.items():
            *folders, name = clean(path).split("/")
            at = self._tree
            for part in folders:
                below = at.setdefault(part, {})
                if isinstance(below, bytes):
                    raise ContextError(f"{path!r} of the context is below a file.")
                at = below
            if isinstance(at.get(name), dict):
                raise ContextError(f"{path!r} of the context is a file and a directory.")
            at[name] = data.encode() if isinstance(data, str) else bytes(data)

    @property
    def digest(self) -> str:
        """A hexadecimal digest of all paths and contents: the same files have the same digest."""
        hashed = hashlib.sha256()
        for entry in self.walk():
            data = self._find(entry.path)
            hashed.update(f"{entry.path}\0{entry.mode}\0{entry.size}\0".encode("utf-8", "surrogateescape"))
            hashed.update(data if isinstance(data, bytes) else b"")
        return hashed.hexdigest()

    def walk(self, selection: Filter = Filter()) -> Iterator[FileStat]:  # noqa: B008 - an immutable struct
        """See `LocalDir.walk`."""
        return walk_folder(_DictFolder(self._tree), compile_filter(self, selection))

    def stat(self, path: str) -> FileStat | None:
        """See `LocalDir.stat`."""
        content = self._find(path)
        return None if content is None else _stat(content, path)

    def names(self, path: str) -> list[str]:
        """See `LocalDir.names`."""
        content = self._find(path)
        return by_bytes(list(content)) if isinstance(content, dict) else []

    def open(self, path: str) -> BinaryIO:
        """See `LocalDir.open`."""
        content = self._find(path)
        if not isinstance(content, bytes):
            raise ContextError(f"{path} is not a file of the context.")
        return io.BytesIO(content)

    def descriptor(self, path: str) -> None:
        """Return None: the files are not on this machine's disk."""

    def xattrs(self, path: str) -> Mapping[str, bytes]:  # noqa: ARG002
        """Return nothing: no file has attributes."""
        return NO_XATTRS

    def _find(self, path: str) -> bytes | _Tree | None:
        content: bytes | _Tree | None = self._tree
        for part in path.split("/") if path else ():
            content = content.get(part) if isinstance(content, dict) else None
        return content


class _DictFolder:
    __slots__ = ("_tree",)

    def __init__(self, tree: _Tree) -> None:
        self._tree = tree

    def entries(self) -> list[tuple[str, bool]]:
        return [(name, isinstance(self._tree[name], dict)) for name in by_bytes(list(self._tree))]

    def stat(self, name: str, path: str) -> FileStat | None:
        return _stat(self._tree[name], path)

    def enter(self, name: str) -> _DictFolder | None:
        below = self._tree[name]
        return _DictFolder(below) if isinstance(below, dict) else None

    def close(self) -> None:
        pass


def _stat(content: bytes | _Tree, path: str) -> FileStat:
    if isinstance(content, dict):
        return FileStat(path, st.S_IFDIR | 0o755, 0, MTIME)
    return FileStat(path, st.S_IFREG | 0o644, len(content), MTIME)
