"""One line about what a collection of the store has freed."""

from __future__ import annotations

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
    """Return a line about the room that was freed, and the size of the store now."""
    if not done.freed:
        return f"Nothing to collect: the store takes {human_bytes(done.left)}."
    parts = [plural(done.counts[kind], noun) for kind, noun in _NOUNS.items() if done.counts.get(kind)]
    size = f"{human_bytes(done.left)} of {human_bytes(done.limit)}"
    if done.left > done.limit:
        size = f"{human_bytes(done.left)}, as images with a name and what is in use stay"
    return f"Collected {human_bytes(done.freed)} of the store ({', '.join(parts)}); it now takes {size}."


def tell(done: Collected) -> None:
    """Show the line: in the cell of the build in a notebook; in a terminal, which is its user's, with the next one."""
    if in_kernel():
        print(collected_line(done), flush=True)
    else:
        _waiting.append(collected_line(done))


def tell_waiting() -> None:
    """Show what was not shown yet."""
    while _waiting:
        print(_waiting.pop(0))
