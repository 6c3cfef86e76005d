"""The processes of this machine, by the words of their command lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def processes(word: str) -> Iterator[int]:
    """Yield the numbers of those that have `word` in theirs."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if word.encode() in (place / "cmdline").read_bytes():
                    yield int(place.name)
            except OSError:
                continue
