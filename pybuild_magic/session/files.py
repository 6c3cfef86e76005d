"""A directory offered to a builder: files that are walked in BuildKit's order, with their metadata, and opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, Protocol

import msgspec

from ..errors import ContextError

CAPABILITY = "security.capability"
"""The only extended attribute that image layers have."""


class FileStat(msgspec.Struct, gc=False):
    """A file of a local directory, as BuildKit's client describes it (fsutil's `Stat`).

    `path` is relative, without leading or trailing slash. `mode` has the type bits of `st_mode`; a socket
    counts as an empty regular file. `link` is the target of a symbolic link or, for another name of a regular file,
    the path of its first name. Owners are 0, as BuildKit's client sends them. `ino`, `dev` and `ctime_ns` show whether
    a file is still the one that was hashed before; they are 0 for files that are not on a disk.
    """

    path: str
    mode: int
    size: int = 0
    mtime_ns: int = 0
    uid: int = 0
    gid: int = 0
    link: str = ""
    devmajor: int = 0
    devminor: int = 0
    ino: int = 0
    dev: int = 0
    ctime_ns: int = 0


class Filter(msgspec.Struct, frozen=True):
    """The choice of files of a directory: patterns as in `.dockerignore`, and paths whose links are followed.

    With `include` or `follow`, only the files that they match are wanted, with the directories above these. Files that
    `exclude` matches are never wanted.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()


class LocalDir(Protocol):
    """A directory that a session offers to a builder. Nothing outside it can be reached through it."""

    @property
    def key(self) -> str:
        """The name under which facts about its files are remembered from build to build; "" remembers nothing."""
        ...

    def walk(self, selection: Filter = ...) -> Iterator[FileStat]:
        """Yield the wanted files: depth first, each directory before its content, names in byte order."""
        ...

    def stat(self, path: str) -> FileStat | None:
        """Return the file at `path`, or None, without following a link at its end or on the way."""
        ...

    def names(self, path: str) -> list[str]:
        """Return the names in a directory ("" is the root) in byte order; [] if it is not a directory."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Return a regular file's content, without following links. Raises `ContextError`."""
        ...

    def descriptor(self, path: str) -> int | None:
        """Open a file, as a descriptor that the caller closes; None if it is not a file of this machine."""
        ...

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        """Return the extended attributes of the file at `path` that can be read, without following a link."""
        ...


def clean(path: str) -> str:
    """Return a relative path in normal form. Raises `ContextError` if it is absolute or leads out of its root."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path or not parts:
        raise ContextError(f"{path!r} is not a path inside the context.", hint="Use relative paths without '..'.")
    return "/".join(parts)


def by_bytes(names: list[str]) -> list[str]:
    """Return `names` sorted by their bytes, which is how BuildKit orders directories."""
    names.sort()
    if not "".join(names).isascii():
        names.sort(key=lambda name: name.encode("utf-8", "surrogateescape"))
    return names


Files = Mapping[str, str | bytes]
"""A context held in memory: content by path, text as UTF-8."""
