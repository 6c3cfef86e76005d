"""A package that was found, and how a finder reads the file that proves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from ...store import Entry


class Package(msgspec.Struct, frozen=True):
    """A package, as its own ecosystem names it."""

    kind: str
    """The type of its package URL: `deb`, `pypi`, `npm`, …"""
    name: str
    version: str
    purl: str
    licence: str = ""
    """As the package says it; "" when it does not."""
    proof: str = ""
    """The path of the file that it was found by."""


class Files(Protocol):
    """The files of a snapshot, by path."""

    def get(self, path: str) -> Entry | None:
        """Return the regular file at `path`, links followed."""
        ...

    def read(self, entry: Entry) -> bytes:
        """Return all of a file. Raises UnreadableError for one that is too large."""
        ...

    def part(self, entry: Entry, offset: int, size: int) -> bytes:
        """Return a part of a file, shorter at its end."""
        ...


class UnreadableError(Exception):
    """A file from which no packages can be told; the message ends a sentence that begins with its path."""


Finder = Callable[[Entry, Files], Iterator[Package]]
"""Reads the packages that a file tells of. Raises UnreadableError, and ValueError and the like for what is damaged."""


def text_of(data: bytes) -> str:
    """Return the text of a file of whatever encoding."""
    return data.decode("utf-8", "replace")
