"""A line about the space freed by a garbage collection."""

from __future__ import annotations

import sys

from ..store.collector import Collected
from ..store.policy import COMPRESSED, DIRECTORY, MOUNT, RECORD, TAR
from . import in_kernel
from .words import human_bytes, plural

_NOUNS = {
    DIRECTORY: "extracted layer",
    TAR: "unpacked layer",
    COMPRESSED: "packed layer",
    MOUNT: "cache mount",
    RECORD: "cached result",
}
_waiting: list[str] = []


def collected_line(done: Collected) -> str:
    """Return a line about the freed space, and the present size of the store."""
    size = size_line(done.remaining, done.limit)
    if not done.freed:
        return f"There is nothing to collect: the store takes {size}."
    parts = [plural(done.counts[kind], noun) for kind, noun in _NOUNS.items() if done.counts.get(kind)]
    return f"Collected {human_bytes(done.freed)} of the store ({', '.join(parts)}); it now takes {size}."


def size_line(size: int, limit: int) -> str:
    """Return the size of the store with its limit, or with the reason why it exceeds that."""
    if size > limit:
        return f"{human_bytes(size)}, because named images and data in use are kept"
    return f"{human_bytes(size)} of {human_bytes(limit)}" if limit < sys.maxsize else human_bytes(size)


def tell(done: Collected) -> None:
    """Show the line: in a notebook in the build's cell; in a terminal, which belongs to its user, with the next
    build.
    """
    if in_kernel():
        print(collected_line(done), flush=True)
    else:
        _waiting.append(collected_line(done))


def tell_waiting() -> None:
    """Show the lines that were not shown yet."""
    while _waiting:
        print(_waiting.pop(0))
