"""The changes of each layer of a snapshot: entries added, changed and removed, and the bytes that are wasted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import msgspec

from .entry import DIR, Entry
from .layer import Layer
from .tree import LayerTree

WORST = 20
"""Paths that waste most, of which an analysis tells."""
_KEPT = 8


class Change(msgspec.Struct, frozen=True, gc=False):
    """One path that a layer touches: `A` added, `M` changed, `D` removed (`entry` is then what was there)."""

    kind: str
    entry: Entry


class LayerCounts(msgspec.Struct, frozen=True):
    """Files, directories not counted, that one layer adds, changes and removes; `size` is that of its tar."""

    diff_id: str
    added: int
    changed: int
    removed: int
    size: int


class Analysis(msgspec.Struct, frozen=True):
    """The counts of each layer, bottom first, and dive's measures of all of them together.

    As in dive, a path that one more layer has, or removes, wastes the bytes of all its versions. A directory that is
    removed counts as the removal of each of its files, as dive says it should, where dive's own sum forgets them.
    """

    layers: tuple[LayerCounts, ...] = ()
    efficiency: float = 1.0
    wasted_bytes: int = 0
    wasted: tuple[tuple[str, int, int], ...] = ()
    """(path, layers, bytes) of the worst paths, the worst first."""


def changes(below: LayerTree, tree: LayerTree) -> Iterator[Change]:
    """Yield the changes that make `tree` of the tree one layer below it, in the order of a walk; directories too."""
    for old, new in tree.differences(below):
        if new is None:
            assert old is not None
            yield Change("D", old)
        elif old is None:
            yield Change("A", new)
        else:
            # A directory in the place of a file, or the other way round, is another thing of the same name.
            yield Change("M", new)


class Analyses:
    """The analyses of the snapshots that were asked for last, each made from that of the layers below it."""

    def __init__(self, layer: Callable[[str], Layer], tree: Callable[[Sequence[str]], LayerTree]) -> None:
        self._layer = layer
        self._tree = tree
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], _Table] = OrderedDict()

    def get(self, diff_ids: Sequence[str], most: int = 0) -> Analysis | None:
        """Return the analysis of a snapshot; None when it would have to look at more than `most` entries (0: any
        number).

        Raises StoreError when a layer is not in the store.
        """
        chain = tuple(diff_ids)
        with self._lock:
            height = len(chain)
            while height and chain[:height] not in self._kept:
                height -= 1
            table = self._kept[chain[:height]] if height else _Table()
            if height < len(chain):
                todo = chain[height:]
                if most and sum(len(self._layer(diff_id).index) for diff_id in todo) > most:
                    return None
                table = table.copy()
                for position in range(height, len(chain)):
                    size = self._layer(chain[position]).size
                    table.add(self._tree(chain[:position]), self._tree(chain[: position + 1]), size)
            self._kept[chain] = table
            self._kept.move_to_end(chain)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return table.analysis()


class _Table:
    """Of each path of a file: how many layers have or remove it, bytes of all versions, bytes of the smallest."""

    def __init__(self) -> None:
        self.layers: list[LayerCounts] = []
        self.paths: dict[str, tuple[int, int, int]] = {}

    def copy(self) -> _Table:
        copy = _Table()
        copy.layers, copy.paths = list(self.layers), dict(self.paths)
        return copy

    def add(self, below: LayerTree, tree: LayerTree, size: int) -> None:
        counts = {"A": 0, "M": 0, "D": 0}
        paths = self.paths
        for change in changes(below, tree):
            entry = change.entry
            if entry.type == DIR:
                continue
            counts[change.kind] += 1
            own = 0 if change.kind == "D" else entry.size
            known = paths.get(entry.path)
            paths[entry.path] = (known[0] + 1, known[1] + own, min(known[2], own)) if known else (1, own, own)
        self.layers.append(LayerCounts(tree.diff_ids[-1], counts["A"], counts["M"], counts["D"], size))

    def analysis(self) -> Analysis:
        wasted = [(path, count, size) for path, (count, size, _) in self.paths.items() if count > 1]
        wasted.sort(key=lambda row: (-row[2], row[0]))
        every = sum(size for _, size, _ in self.paths.values())
        least = sum(smallest for _, _, smallest in self.paths.values())
        return Analysis(
            tuple(self.layers),
            least / every if every else 1.0,
            sum(size for _, _, size in wasted),
            tuple(row for row in wasted[:WORST] if row[2]),
        )
