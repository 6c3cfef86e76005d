"""A tar archive as a build context: read in place, never unpacked to disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat as st
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import ContextError
from .files import CAPABILITY, FileStat, Filter, by_bytes, clean
from .walk import compile_filter, walk_folder

_KINDS = {
    tarfile.REGTYPE: st.S_IFREG,
    tarfile.AREGTYPE: st.S_IFREG,
    tarfile.CONTTYPE: st.S_IFREG,
    tarfile.GNUTYPE_SPARSE: st.S_IFREG,
    tarfile.LNKTYPE: st.S_IFREG,
    tarfile.SYMTYPE: st.S_IFLNK,
    tarfile.DIRTYPE: st.S_IFDIR,
    tarfile.CHRTYPE: st.S_IFCHR,
    tarfile.BLKTYPE: st.S_IFBLK,
    tarfile.FIFOTYPE: st.S_IFIFO,
}


class TarSource:
    """The files of a tar archive (plain, gzip, bzip2, xz or zstd), with the owners that it records.

    Raises `ContextError` for bytes that are no tar archive, and for entries whose names leave the root.
    """

    key = ""

    def __init__(self, archive: bytes | BinaryIO | str | os.PathLike[str]) -> None:
        self.path = Path(archive) if isinstance(archive, str | os.PathLike) else None
        """The archive's file, when it is one."""
        try:
            raw = io.BytesIO(archive) if isinstance(archive, bytes) else _opened(archive)
            self._tar = tarfile.TarFile(fileobj=_seekable(raw), encoding="utf-8", errors="surrogateescape")
            members = self._tar.getmembers()
        except (tarfile.TarError, OSError, EOFError, lzma.LZMAError) as error:
            raise ContextError(f"The context is no readable tar archive: {error}.") from error
        self._lock = threading.Lock()
        self._members: dict[str, tarfile.TarInfo] = {}
        self._children: dict[str, set[str]] = {"": set()}
        for member in members:
            if member.name.strip("./") and member.type in _KINDS:
                self._add(clean(member.name.lstrip("/")), member)

    def _add(self, path: str, member: tarfile.TarInfo) -> None:
        self._members[path] = member
        if member.isdir():
            self._children.setdefault(path, set())
        while path:
            folder, _, name = path.rpartition("/")
            self._children.setdefault(folder, set()).add(name)
            path = folder

    def walk(self, wanted: Filter = Filter()) -> Iterator[FileStat]:  # noqa: B008 - an immutable struct
        """As `LocalDir.walk`."""
        return walk_folder(_TarFolder(self, ""), compile_filter(self, wanted))

    def stat(self, path: str) -> FileStat | None:
        """As `LocalDir.stat`."""
        member = self._members.get(path)
        if path in self._children and (member is None or not member.isdir()):
            return FileStat(path, st.S_IFDIR | 0o755)
        if member is None:
            return None
        size, link = member.size, ""
        if member.issym():
            link, size = member.linkname, len(member.linkname.encode("utf-8", "surrogateescape"))
        elif member.islnk():
            link, size = clean(member.linkname.lstrip("/")), 0
        return FileStat(
            path,
            _KINDS[member.type] | (member.mode & 0o7777),
            size if not member.isdir() else 0,
            int(float(member.mtime) * 1_000_000_000),
            member.uid,
            member.gid,
            link,
            member.devmajor if member.isdev() else 0,
            member.devminor if member.isdev() else 0,
        )

    def names(self, path: str) -> list[str]:
        """As `LocalDir.names`."""
        return by_bytes(list(self._children.get(path, ())))

    def open(self, path: str) -> BinaryIO:
        """As `LocalDir.open`."""
        member = self._members.get(path)
        seen: set[str] = set()
        while member is not None and member.islnk() and member.name not in seen:
            seen.add(member.name)
            member = self._members.get(clean(member.linkname.lstrip("/")))
        if member is None or not member.isreg():
            raise ContextError(f"{path} is no file of the context's archive.")
        with self._lock:
            data = self._tar.extractfile(member)
            return io.BytesIO(data.read() if data else b"")

    def descriptor(self, path: str) -> None:
        """No file of this machine."""

    def capability(self, path: str) -> bytes:
        """As `LocalDir.capability`."""
        member = self._members.get(path)
        value = member.pax_headers.get(f"SCHILY.xattr.{CAPABILITY}", "") if member else ""
        return value.encode("utf-8", "surrogateescape")


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
    found = source.stat(path)
    return found.mode if found else 0


def _opened(archive: BinaryIO | str | os.PathLike[str]) -> BinaryIO:
    return Path(archive).open("rb") if isinstance(archive, str | os.PathLike) else archive


def _seekable(raw: BinaryIO) -> BinaryIO:
    """`raw` without its compression, in a file that can be read at any place."""
    if not raw.seekable():
        raw = _spooled(raw)
    start = raw.tell()
    magic = raw.read(6)
    raw.seek(start)
    if magic.startswith(b"\x1f\x8b"):
        return _spooled(gzip.GzipFile(fileobj=raw))
    if magic.startswith(b"BZh"):
        return _spooled(bz2.BZ2File(raw))
    if magic == b"\xfd7zXZ\0":
        return _spooled(lzma.LZMAFile(raw))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        return _spooled(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True))
    return raw


def _spooled(stream: object) -> BinaryIO:
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the source
    shutil.copyfileobj(stream, spool, 1 << 20)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    spool.seek(0)
    return spool  # pyright: ignore[reportReturnType]
