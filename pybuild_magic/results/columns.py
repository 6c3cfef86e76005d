"""The entries of a tree in columns, with each folder named once, so that 100,000 entries are few objects."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from ..store import Entry
from .contents import Marked
from .summarise import readable

_FIELDS = ("path", "type", "mode", "size", "uid", "gid", "link")


def columns_of(entries: Iterable[Marked]) -> dict[str, Any]:
    """Return the entries as one list for each field, or as a single value where all entries agree.

    Paths are given as `folders`, `names` within them, joined by "/", and `runs` of consecutive entries in one folder:
    the index of the folder, the number of entries, and so on. `types` is a text with one letter for each entry.
    """
    marks, listed = list[str](), list[Entry]()
    for mark, entry in entries:
        marks.append(mark)
        listed.append(entry)
    columns: dict[str, list[Any]] = {name: list(map(attrgetter(name), listed)) for name in _FIELDS}
    for name in ("path", "link"):
        if not "".join(columns[name]).isascii():
            columns[name] = [readable(text) for text in columns[name]]
    columns["change"] = marks
    parts = [path.rpartition("/") for path in columns.pop("path")]
    folders: dict[str, int] = {}
    runs: list[int] = []
    for above, together in groupby(parts, key=itemgetter(0)):
        runs += folders.setdefault(above, len(folders)), sum(1 for _ in together)
    texts = {"type": "".join(columns.pop("type")), "names": "/".join(name for _, _, name in parts)}
    return {
        name: column[0] if column and column.count(column[0]) == len(column) else column
        for name, column in columns.items()
    } | {"folders": list(folders), "runs": runs, **texts}
