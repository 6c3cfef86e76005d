"""A tar archive as a build context: read in place, never unpacked to disk."""

from __future__ import annotations

import io
import os
import stat as st
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import ContextError, SourceError
from ..store.entry import FILE, HARDLINK, NO_XATTRS, SYMLINK
from ..store.opentar import OpenTar
from ..store.tarread import MAX_NAMES, Member
from .files import CAPABILITY, FileStat, Filter, by_bytes
from .walk import compile_filter, walk_folder


class TarSource:
    """The files of a tar archive (plain, gzip, bzip2, xz or zstd), with the owners that it records.

    Raises `ContextError` for bytes that are not a tar archive, and for entries whose names lead out of the root.
    """

    key = ""

    def __init__(self, archive: bytes | BinaryIO | str | os.PathLike[str]) -> None:
        self.path = Path(archive) if isinstance(archive, str | os.PathLike) else None
        """The path of the archive, if it is a file of the disk."""
        self._members: dict[str, Member] = {}
        self._children: dict[str, set[str]] = {"": set()}
        self._names = 0
        try:
            file = io.BytesIO(archive) if isinstance(archive, bytes) else archive
            self._tar = OpenTar(self.path or cast("BinaryIO", file), "The context")
            for member in self._tar.members():
                self._add(member.entry.path, member)
        except SourceError as error:
            raise ContextError(error.message) from error
        except OSError as error:
            raise ContextError(f"The context cannot be read: {error.strerror or error}.") from error

    def _add(self, path: str, member: Member) -> None:
        self._members[path] = member
        if member.entry.is_dir:
            self._children.setdefault(path, set())
        while path:
            folder, _, name = path.rpartition("/")
            names = self._children.get(folder)
            if names is None:
                names = self._children[folder] = set()
                self._names += len(folder)
                if self._names > MAX_NAMES:
                    raise SourceError(f"the names of its directories have more than {MAX_NAMES} bytes")
            if name in names:
                break  # the directories above it are known too
            names.add(name)
            path = folder

    def walk(self, selection: Filter = Filter()) -> Iterator[FileStat]:  # noqa: B008 - an immutable struct
        """See `LocalDir.walk`."""
        return walk_folder(_TarFolder(self, ""), compile_filter(self, selection))

    def stat(self, path: str) -> FileStat | None:
        """See `LocalDir.stat`."""
        member = self._members.get(path)
        if path in self._children and (member is None or not member.entry.is_dir):
            return FileStat(path, st.S_IFDIR | 0o755)
        if member is None:
            return None
        entry = member.entry
        size = len(entry.link.encode("utf-8", "surrogateescape")) if entry.type == SYMLINK else entry.size
        return FileStat(
            path,
            entry.st_mode,
            0 if entry.type == HARDLINK else size,
            entry.mtime,
            entry.uid,
            entry.gid,
            entry.link,
            entry.devmajor,
            entry.devminor,
        )

    def names(self, path: str) -> list[str]:
        """See `LocalDir.names`."""
        return by_bytes(list(self._children.get(path, ())))

    def open(self, path: str) -> BinaryIO:
        """See `LocalDir.open`."""
        member = self._members.get(path)
        seen: set[str] = set()
        while member is not None and member.entry.type == HARDLINK and member.entry.path not in seen:
            seen.add(member.entry.path)
            member = self._members.get(member.entry.link)
        if member is None or member.entry.type != FILE:
            raise ContextError(f"{path} is not a file in the context's archive.")
        return self._tar.open(member)

    def descriptor(self, path: str) -> None:
        """Return None: entries are not files of this machine."""

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        """Return the capability that the archive records, the only attribute that is unpacked."""
        member = self._members.get(path)
        capability = member.entry.xattrs.get(CAPABILITY) if member else None
        return {CAPABILITY: capability} if capability else NO_XATTRS


class _TarFolder:
    __slots__ = ("_path", "_source")

    def __init__(self, source: TarSource, path: str) -> None:
        self._source = source
        self._path = path

    def entries(self) -> list[tuple[str, bool]]:
        prefix = self._path + "/" if self._path else ""
        names = self._source.names(self._path)
        return [(name, bool(st.S_ISDIR(_mode(self._source, prefix + name)))) for name in names]

    def stat(self, name: str, path: str) -> FileStat | None:  # noqa: ARG002
        return self._source.stat(path)

    def enter(self, name: str) -> _TarFolder | None:
        return _TarFolder(self._source, f"{self._path}/{name}" if self._path else name)

    def close(self) -> None:
        pass


def _mode(source: TarSource, path: str) -> int:
    status = source.stat(path)
    return status.mode if status else 0
