"""The files of a snapshot, with layers merged, whiteouts applied and hardlinks resolved; and paths within it."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ..errors import StoreError
from .entry import SYMLINK, Entry, Span, content_span
from .files import SpanReader
from .layer import Layer
from .links import follow_links
from .merge import ROOT, Root, TreeNode, Unpacked, empty, overlay

if TYPE_CHECKING:
    from .blobs import ContentStore

_KEPT_TREES = 64
_KEPT_ENTRIES = 100_000
"""The most entries of layers in all trees that are kept: about 50 MB."""
_BUFFER_SIZE = 1 << 18


class Tree(Protocol):
    """A readable file system: a snapshot, or anything that looks like one."""

    def get(self, path: str) -> Entry | None:
        """Return the entry at `path` ("" is the root), or None; symbolic links are not followed."""
        ...

    def children(self, path: str) -> list[Entry]:
        """Return the entries of the directory `path`, sorted by the bytes of the names; [] if it is no directory."""
        ...

    def walk(self, path: str = "") -> Iterator[Entry]:
        """Yield the entries below `path`, each directory before its content, in the order of Go's `WalkDir`."""
        ...

    def open(self, entry: Entry) -> BinaryIO:
        """Open a regular file of this tree."""
        ...

    def read(self, entry: Entry) -> bytes:
        """Return the content of a regular file of this tree."""
        ...


class LayerTree:
    """The merged view of a snapshot's layers, built on first use from the tree one layer lower.

    A hardlink appears as the regular file (or device, …) whose name it is; `inode` tells which names are the same file.
    Directories that no layer has an entry for have mode 0755.
    """

    def __init__(
        self, blobs: ContentStore, diff_ids: tuple[str, ...], below: LayerTree | None, layer: Layer | None
    ) -> None:
        self.diff_ids = diff_ids
        """The layers, bottom first."""
        self._blobs = blobs
        self._below = below
        self._layer = layer
        self.weight = 0
        """The number of entries of the topmost layer, once they take memory."""
        self._node: Root | None = None
        self._lock = threading.Lock()

    @property
    def _root(self) -> Root:
        if self._node is not None:
            return self._node
        todo: list[LayerTree] = [self]
        while (below := todo[-1]._below) is not None:
            todo.append(below)
        node = empty()
        for tree in reversed(todo):
            node = tree._build(node)
        return node

    def _build(self, below: Root) -> Root:
        with self._lock:
            if self._node is None:
                self._node = self._merged(below)
                self._below = self._layer = None
            return self._node

    def _merged(self, below: Root) -> Root:
        layer = self._layer
        if layer is None:
            return below
        self.weight = len(layer.index)
        return overlay(below, Unpacked(layer.diff_id, layer.index))

    def under(self, layer: Layer) -> LayerTree:
        """Return the tree with one more layer on top."""
        return LayerTree(self._blobs, (*self.diff_ids, layer.diff_id), self, layer)

    def _find(self, path: str) -> TreeNode | None:
        node = self._root
        if not path:
            return node
        for name in path.split("/"):
            if node.children is None:
                return None
            child = node.children.get(name)
            if child is None:
                return None
            node = child
        return node

    def get(self, path: str) -> Entry | None:
        """Return the entry at `path` ("" is the root), or None; symbolic links are not followed."""
        node = self._find(path)
        return None if node is None else node.entry

    def children(self, path: str) -> list[Entry]:
        """Return the entries of the directory `path`, sorted by the bytes of the names; [] if it is no directory."""
        node = self._find(path)
        if node is None or node.children is None:
            return []
        children = node.children
        return [children[name].entry for name in _names(node, children)]

    def known_paths(self, limit: int) -> list[str]:
        """Return up to `limit` paths, for a hint at the one that the user meant."""
        return [entry.path for entry in islice(self.walk(), limit)]

    def walk(self, path: str = "") -> Iterator[Entry]:
        """Yield the entries below `path`, each directory before its content, in the order of Go's `WalkDir`."""
        start = self._find(path)
        if start is None or start.children is None:
            return
        stack = [iter([start.children[name] for name in _names(start, start.children)])]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            yield node.entry
            if node.children:
                children = node.children
                stack.append(iter([children[name] for name in _names(node, children)]))

    def layer_of(self, entry: Entry) -> str:
        """Return the diffID of the layer of `entry`; "" for a directory that no layer has an entry for."""
        return self._of(entry).diff_id

    def inode(self, entry: Entry) -> tuple[str, int]:
        """Return the identity of a file: names of this tree with the same identity are hardlinks of each other."""
        node = self._of(entry)
        return node.diff_id, node.entry.offset

    def is_linked(self, entry: Entry) -> bool:
        """Return whether a file may have other names in this tree."""
        return bool(self._root.linked) and self.inode(entry) in self._root.linked

    def span(self, entry: Entry) -> Span:
        """Return the place of a regular file's content, which `LayerWriter.add` takes to copy it."""
        node = self._of(entry)
        return content_span(node.diff_id, node.entry)

    def differences(self, old: LayerTree) -> Iterator[tuple[Entry | None, Entry | None]]:
        """Yield (old entry, new entry) for each path that differs from `old`, in walking order; a missing one is None.

        Trees of snapshots with common layers share the nodes that did not change; these are skipped.
        """
        stack: list[tuple[TreeNode | None, TreeNode | None]] = [(old._root, self._root)]
        while stack:
            earlier, later = stack.pop()
            if earlier is later:
                continue
            before = (earlier.children if earlier else None) or {}
            after = (later.children if later else None) or {}
            if (earlier or later) is not None and (earlier.entry if earlier else later.entry if later else ROOT).path:
                same = earlier and later and earlier.diff_id == later.diff_id and earlier.entry == later.entry
                if not same:
                    yield (earlier.entry if earlier else None), (later.entry if later else None)
            if not before:
                stack += [(None, after[name]) for name in sorted(after, reverse=True)]
                continue
            names = sorted({*before, *after}, reverse=True)
            pairs = ((before.get(name), after.get(name)) for name in names)
            stack += [(left, right) for left, right in pairs if left is not right]

    def _of(self, entry: Entry) -> TreeNode:
        node = self._find(entry.path)
        if node is None:
            raise StoreError(f'There is no "/{entry.path}" in this snapshot.')
        return node

    def is_packed(self, entry: Entry) -> bool:
        """Return whether the layer of `entry` has to be unpacked before the file can be read."""
        return self._blobs.packed.size(self._of(entry).diff_id) is not None

    def open(self, entry: Entry) -> BinaryIO:
        """Open a regular file of this tree."""
        span = self.span(entry)
        if not span.size:
            return io.BytesIO()
        span = self._blobs.parts.locate(span)
        reader = SpanReader(self._blobs.descriptor(span.blob), span)
        return io.BufferedReader(reader, min(_BUFFER_SIZE, max(span.size, 512)))

    def read(self, entry: Entry) -> bytes:
        """Return the content of a regular file of this tree."""
        with self.open(entry) as file:
            return file.read()


def _names(node: TreeNode, children: dict[str, TreeNode]) -> list[str]:
    if node.names is None:
        names = sorted(children)
        if not "".join(names).isascii():
            names.sort(key=lambda name: name.encode("utf-8", "surrogateescape"))
        node.names = names
    return node.names


class Trees:
    """A cache of the latest trees, so that a snapshot's tree is built on that of the layers below.

    It is bounded, since a kernel may build all day, and each build has new layers.
    """

    def __init__(self, blobs: ContentStore, layer: Callable[[str], Layer]) -> None:
        self._blobs = blobs
        self._layer = layer
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], LayerTree] = OrderedDict()

    def get(self, diff_ids: tuple[str, ...]) -> LayerTree:
        """Return the tree of a snapshot."""
        with self._lock:
            height = len(diff_ids)
            while height and diff_ids[:height] not in self._kept:
                height -= 1
            tree = self._kept.get(diff_ids[:height]) or LayerTree(self._blobs, (), None, None)
            if tree.diff_ids:
                self._kept.move_to_end(tree.diff_ids)
        for diff_id in diff_ids[height:]:
            tree = tree.under(self._layer(diff_id))
        with self._lock:
            tree = self._kept.setdefault(diff_ids, tree)
            self._kept.move_to_end(diff_ids)
            weight = sum(kept.weight for kept in self._kept.values())
            while len(self._kept) > _KEPT_TREES or (weight > _KEPT_ENTRIES and len(self._kept) > 1):
                weight -= self._kept.popitem(last=False)[1].weight
        return tree


class Entries(Protocol):
    """A tree in which paths and links can be looked up."""

    def get(self, path: str) -> Entry | None:
        """See `Tree.get`."""
        ...


def resolve(tree: Entries, path: str, follow_last: bool = True) -> str:
    """Return the path that `path` leads to within the tree; see `follow_links`."""

    def link_of(at: str) -> str | None:
        entry = tree.get(at)
        return entry.link if entry is not None and entry.type == SYMLINK else None

    return follow_links(path, link_of, follow_last=follow_last)
