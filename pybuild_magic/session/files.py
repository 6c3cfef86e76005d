"""A directory that is offered to a builder: files with their metadata, walked in BuildKit's order, and opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, Protocol

import msgspec

from ..errors import ContextError

CAPABILITY = "security.capability"
"""The one extended attribute that image layers carry."""


class FileStat(msgspec.Struct, gc=False):
    """One file of a local directory, as BuildKit's client describes it (fsutil's `Stat`).

    `path` is relative, without leading or trailing slash. `mode` has the type bits of `st_mode`; a socket
    counts as an empty regular file. `link` is a symbolic link's target, or, for a further hard link of a regular
    file, the path of the first one. Owners are 0, as BuildKit's client sends them. `ino`, `dev` and `ctime_ns` are 0
    where there are none; they tell whether a file is still the one that was hashed before.
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
    """Which files of a directory are wanted: patterns of `.dockerignore`, and paths whose links are followed.

    With `include` or `follow`, only what they match (and the directories above it); never what `exclude` matches.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()


class LocalDir(Protocol):
    """A directory that a session offers to a builder. Nothing outside it can be reached through it."""

    @property
    def key(self) -> str:
        """Names the directory from build to build, for what is remembered about its files; "" for none."""
        ...

    def walk(self, wanted: Filter = ...) -> Iterator[FileStat]:
        """Return the wanted files: depth first, each directory before what is in it, names in byte order."""
        ...

    def stat(self, path: str) -> FileStat | None:
        """Return one file, without following a link at the end of `path` or on the way."""
        ...

    def names(self, path: str) -> list[str]:
        """Return the names in a directory ("" is the root), in byte order; empty for what is no directory."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Return a regular file's content, without following links. Raises `ContextError`."""
        ...

    def descriptor(self, path: str) -> int | None:
        """As `open`, as a file descriptor that the caller closes; None where a file is not one of this machine."""
        ...

    def capability(self, path: str) -> bytes:
        """Return a regular file's `security.capability` attribute; empty for none."""
        ...


def clean(path: str) -> str:
    """Return a relative path in normal form. Raises `ContextError` for one that is absolute or leaves its root."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path or not parts:
        raise ContextError(f"{path!r} is not a path inside the context.", hint="Use relative paths without '..'.")
    return "/".join(parts)


def by_bytes(names: list[str]) -> list[str]:
    """`names` sorted as their bytes are, which is how BuildKit orders directories."""
    names.sort()
    if not "".join(names).isascii():
        names.sort(key=lambda name: name.encode("utf-8", "surrogateescape"))
    return names


Files = Mapping[str, str | bytes]
"""A context held in memory: content by path, text as UTF-8."""
