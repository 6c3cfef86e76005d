"""The changes of each layer of a snapshot: entries added, changed and removed, and bytes wasted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import msgspec

from .entry import DIR, Entry
from .layer import Layer
from .tree import LayerTree

WORST = 20
"""How many of the most wasteful paths an analysis lists."""
_KEPT = 8


class Change(msgspec.Struct, frozen=True, gc=False):
    """A path that a layer touches: `A` added, `M` changed, `D` removed (`entry` is then the removed one)."""

    kind: str
    entry: Entry


class LayerCounts(msgspec.Struct, frozen=True):
    """How many files a layer adds, changes and removes, not counting directories; `size` is that of its tar."""

    diff_id: str
    added: int
    changed: int
    removed: int
    size: int


class Analysis(msgspec.Struct, frozen=True):
    """The counts of each layer, bottom first, and dive's measures for all of them together.

    As in dive, a path that a further layer has or removes wastes the bytes of all its versions. Removing a directory
    counts as removing each of its files: dive documents this too, but its sum leaves them out.
    """

    layers: tuple[LayerCounts, ...] = ()
    efficiency: float = 1.0
    wasted_bytes: int = 0
    wasted: tuple[tuple[str, int, int], ...] = ()
    """(path, layers, bytes) of the most wasteful paths, the worst first."""


def changes(below: LayerTree, tree: LayerTree) -> Iterator[Change]:
    """Yield the changes from `below`, the tree one layer lower, to `tree`, directories included, in walking order."""
    for old, new in tree.differences(below):
        if new is None:
            assert old is not None
            yield Change("D", old)
        elif old is None:
            yield Change("A", new)
        else:
            # A directory that replaces a file, or the reverse, counts as a change of the path.
            yield Change("M", new)


class Analyses:
    """A cache of the latest analyses; each continues the analysis of the layers below, if that is known."""

    def __init__(self, layer: Callable[[str], Layer], tree: Callable[[Sequence[str]], LayerTree]) -> None:
        self._layer = layer
        self._tree = tree
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], _Table] = OrderedDict()

    def get(self, diff_ids: Sequence[str], limit: int = 0) -> Analysis | None:
        """Return the analysis of a snapshot; None if more than `limit` entries would have to be read (0: no limit).

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
                if limit and sum(len(self._layer(diff_id).index) for diff_id in todo) > limit:
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
    """For each path of a file: how many layers have or remove it, the bytes of all versions and of the smallest."""

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
