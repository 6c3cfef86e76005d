"""The packages of a scan, and the interface by which a finder reads the file that proves one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from ...store import Entry


class Package(msgspec.Struct, frozen=True):
    """A package, named as in its own ecosystem."""

    kind: str
    """The type of its package URL: `deb`, `pypi`, `npm`, …"""
    name: str
    version: str
    purl: str
    licence: str = ""
    """As the package states it; "" when it does not."""
    proof: str = ""
    """The path of the file in which it was found."""


class Files(Protocol):
    """The files of a snapshot, by path."""

    def get(self, path: str) -> Entry | None:
        """Return the regular file at `path`, following links."""
        ...

    def read(self, entry: Entry) -> bytes:
        """Return the whole file. Raises UnreadableError if it is too large."""
        ...

    def part(self, entry: Entry, offset: int, size: int) -> bytes:
        """Return a part of a file; it is shorter at the end of the file."""
        ...


class UnreadableError(Exception):
    """A file from which packages cannot be read; the message ends a sentence that begins with the file's path."""


Finder = Callable[[Entry, Files], Iterator[Package]]
"""Reads the packages listed in a file. Raises UnreadableError, or ValueError and the like for damaged data."""


def text_of(data: bytes) -> str:
    """Return the text of a file in any encoding."""
    return data.decode("utf-8", "replace")
