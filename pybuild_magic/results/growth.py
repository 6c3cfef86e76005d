"""The change in size between two images, by distribution or directory."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from .difference import FileChange

_PACKAGE = re.compile(r"((?:^|.*/)(?:site|dist)-packages/)([^/]+)|(?:^|.*/)node_modules/(?:@[^/]+/)?[^/]+")
_DEPTH = 4
"""The most components of a directory that is told."""


class Growth(msgspec.Struct, frozen=True):
    """The bytes before and after in a place, of the files that differ."""

    place: str
    before: int
    after: int
    files: int

    @property
    def size(self) -> int:
        """The bytes by which it grew; negative if it shrank."""
        return self.after - self.before


def growth_of(files: Iterable[FileChange]) -> list[Growth]:
    """Return the places in which files differ, those that changed the most in size first."""
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for change in files:
        before, after = change.sizes
        total = totals[place_of(change.file.path)]
        total[0] += before
        total[1] += after
        total[2] += 1
    found = [Growth(place, *total) for place, total in totals.items()]
    return sorted(
        (place for place in found if place.before or place.after), key=lambda one: (-abs(one.size), one.place)
    )


def place_of(path: str) -> str:
    """Return the place of a file: its package, or its directory."""
    if match := _PACKAGE.match(path):
        return f"/{match[0]}"
    return "/" + "/".join(path.split("/")[:-1][:_DEPTH])
