"""The files of a snapshot: layers merged, whiteouts applied, hardlinks resolved; and paths resolved inside it."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ..errors import StoreError
from .entry import DIR, HARDLINK, OPAQUE_WHITEOUT, SYMLINK, WHITEOUT_PREFIX, Entry, Span, content_span
from .files import SpanReader, open_blob
from .layer import Layer

if TYPE_CHECKING:
    from .store import Store

_MAX_LINKS = 255
"""How many symbolic links a path may lead through, as in containerd's `fs.RootPath`."""
_KEPT_TREES = 64
_BUFFER_SIZE = 1 << 18

ROOT = Entry("", DIR, 0o755)
"""The root directory, of which layers say nothing."""


class Tree(Protocol):
    """A file system that can be looked at: a snapshot, or anything that is shown like one."""

    def get(self, path: str) -> Entry | None:
        """What is at `path` ("" is the root); symbolic links are not followed. None when there is nothing."""
        ...

    def children(self, path: str) -> list[Entry]:
        """What is in the directory `path`, sorted by the bytes of the names; empty for what is no directory."""
        ...

    def walk(self, path: str = "") -> Iterator[Entry]:
        """All below `path`: a directory before what is in it, in the order of Go's `filepath.WalkDir`."""
        ...

    def open(self, entry: Entry) -> BinaryIO:
        """The content of a regular file of this tree."""
        ...

    def read(self, entry: Entry) -> bytes:
        """All of the content of a regular file of this tree."""
        ...


class _Node:
    """A file or directory of a merged tree. Trees share nodes; `owner` is the tree that may still change it."""

    __slots__ = ("children", "diff_id", "entry", "names", "owner")

    def __init__(self, entry: Entry, diff_id: str, owner: object, children: dict[str, _Node] | None) -> None:
        self.entry = entry
        self.diff_id = diff_id
        self.owner = owner
        self.children = children
        self.names: list[str] | None = None


class _Root(_Node):
    """The root directory, which knows the files of its tree that have, or had, several names."""

    __slots__ = ("linked",)

    def __init__(self, entry: Entry, diff_id: str, owner: object, children: dict[str, _Node]) -> None:
        super().__init__(entry, diff_id, owner, children)
        self.linked: set[tuple[str, int]] = set()


class LayerTree:
    """The merged view of a snapshot's layers. Built on first use, from the tree of the layers below it.

    Hardlinks show as the regular file (or device, …) that they are another name of: `inode` tells which names are
    one file. Directories that no layer has an entry for show with mode 0755.
    """

    def __init__(self, store: Store, diff_ids: tuple[str, ...], below: LayerTree | None, layer: Layer | None) -> None:
        self.diff_ids = diff_ids
        """The layers, bottom first."""
        self._store = store
        self._below = below
        self._layer = layer
        self._node: _Root | None = None
        self._lock = threading.Lock()

    @property
    def _root(self) -> _Root:
        if self._node is not None:
            return self._node
        todo: list[LayerTree] = [self]
        while (below := todo[-1]._below) is not None:
            todo.append(below)
        node = _Root(ROOT, "", None, {})
        for tree in reversed(todo):
            node = tree._build(node)
        return node

    def _build(self, below: _Root) -> _Root:
        with self._lock:
            if self._node is None:
                self._node = below if self._layer is None else _merge(below, self._layer)
                self._below = self._layer = None
            return self._node

    def under(self, layer: Layer) -> LayerTree:
        """The tree with one more layer on top."""
        return LayerTree(self._store, (*self.diff_ids, layer.diff_id), self, layer)

    def _find(self, path: str) -> _Node | None:
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
        """What is at `path` ("" is the root); symbolic links are not followed. None when there is nothing."""
        node = self._find(path)
        return None if node is None else node.entry

    def children(self, path: str) -> list[Entry]:
        """What is in the directory `path`, sorted by the bytes of the names; empty for what is no directory."""
        node = self._find(path)
        if node is None or node.children is None:
            return []
        children = node.children
        return [children[name].entry for name in _names(node, children)]

    def walk(self, path: str = "") -> Iterator[Entry]:
        """All below `path`: a directory before what is in it, in the order of Go's `filepath.WalkDir`."""
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
        """The diffID of the layer that `entry` comes from; "" for a directory that no layer has an entry for."""
        return self._of(entry).diff_id

    def inode(self, entry: Entry) -> tuple[str, int]:
        """The identity of a file: names of this tree with the same one are hardlinks of each other."""
        node = self._of(entry)
        return node.diff_id, node.entry.offset

    def is_linked(self, entry: Entry) -> bool:
        """Whether a file may have other names in this tree."""
        return bool(self._root.linked) and self.inode(entry) in self._root.linked

    def span(self, entry: Entry) -> Span:
        """Where the content of a regular file is: what `LayerWriter.add` takes to copy it."""
        node = self._of(entry)
        return content_span(node.diff_id, node.entry)

    def differences(self, old: LayerTree) -> Iterator[tuple[Entry | None, Entry | None]]:
        """(what was there, what is there) of each path that is not as in `old`, in the order of a walk.

        Trees of snapshots that have layers in common share what they have not changed, and that is not looked at.
        """
        stack: list[tuple[_Node | None, _Node | None]] = [(old._root, self._root)]
        while stack:
            was, now = stack.pop()
            if was is now:
                continue
            before = (was.children if was else None) or {}
            after = (now.children if now else None) or {}
            if (was or now) is not None and (was.entry if was else now.entry if now else ROOT).path:
                same = was and now and was.diff_id == now.diff_id and was.entry == now.entry
                if not same:
                    yield (was.entry if was else None), (now.entry if now else None)
            if not before:
                stack += [(None, after[name]) for name in sorted(after, reverse=True)]
                continue
            names = sorted({*before, *after}, reverse=True)
            pairs = ((before.get(name), after.get(name)) for name in names)
            stack += [(one, other) for one, other in pairs if one is not other]

    def _of(self, entry: Entry) -> _Node:
        node = self._find(entry.path)
        if node is None:
            raise StoreError(f'There is no "/{entry.path}" in this snapshot.')
        return node

    def open(self, entry: Entry) -> BinaryIO:
        """The content of a regular file of this tree."""
        span = self.span(entry)
        if not span.size:
            return io.BytesIO()
        reader = SpanReader(open_blob(self._store, span.blob), span)
        return io.BufferedReader(reader, min(_BUFFER_SIZE, max(span.size, 512)))

    def read(self, entry: Entry) -> bytes:
        """All of the content of a regular file of this tree."""
        with self.open(entry) as file:
            return file.read()


def _names(node: _Node, children: dict[str, _Node]) -> list[str]:
    if node.names is None:
        names = sorted(children)
        if not "".join(names).isascii():
            names.sort(key=lambda name: name.encode("utf-8", "surrogateescape"))
        node.names = names
    return node.names


class _Merge:
    """One layer put on top of a tree, whose nodes are copied where they change and shared where not."""

    def __init__(self, below: _Root, diff_id: str) -> None:
        self._diff_id = diff_id
        self._owner = object()
        self.root = _Root(below.entry, below.diff_id, self._owner, dict(below.children or {}))
        self.root.linked |= below.linked
        self._directories: dict[str, _Node] = {"": self.root}

    def own(self, parent: _Node, name: str) -> _Node | None:
        """The directory `name` of `parent` as one that may be changed; None when it is no directory."""
        children = parent.children
        assert children is not None
        node = children.get(name)
        if node is None or node.children is None:
            return None
        if node.owner is not self._owner:
            node = children[name] = _Node(node.entry, node.diff_id, self._owner, dict(node.children))
        return node

    def directory(self, path: str) -> tuple[str, _Node]:
        """The directory that `path` leads to and where it is, made where it is missing, links followed."""
        node = self._directories.get(path)
        if node is not None:
            return path, node
        known, _, name = path.rpartition("/")
        todo = [name]
        while (node := self._directories.get(known)) is None:
            known, _, name = known.rpartition("/")
            todo.append(name)
        where = known.split("/") if known else []
        links = 0
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                where = where[:-1]
                node = self.directory("/".join(where))[1]
                continue
            below = self.own(node, name)
            if below is not None:
                node = below
                where.append(name)
                continue
            assert node.children is not None
            at = node.children.get(name)
            if at is not None and at.entry.type == SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    raise StoreError(f'"/{path}" in a layer leads through too many symbolic links.')
                todo += at.entry.link.split("/")[::-1]
                if at.entry.link.startswith("/"):
                    where, node = [], self.root
                continue
            where.append(name)
            made = _Node(Entry("/".join(where), DIR, 0o755), "", self._owner, {})
            node.children[name] = made
            node.names = None
            node = made
        found = "/".join(where)
        if found == path:
            self._directories[path] = node
        return found, node

    def find(self, path: str) -> _Node | None:
        """What a hardlink of this layer points at."""
        parent, _, name = path.rpartition("/")
        children = self.directory(parent)[1].children
        return children.get(name) if children else None

    def add(self, entry: Entry) -> None:
        parent, _, name = entry.path.rpartition("/")
        where, directory = self.directory(parent)
        children = directory.children
        assert children is not None
        directory.names = None
        if name.startswith(WHITEOUT_PREFIX):
            self._erase(children, name)
            return
        if where != parent:
            entry = _moved(entry, f"{where}/{name}" if where else name)
        diff_id = self._diff_id
        if entry.type == HARDLINK:
            target = self.find(entry.link)
            if target is None or target.children is not None:
                raise StoreError(f'"/{entry.path}" in a layer is a hardlink to "/{entry.link}", which is not there.')
            entry, diff_id = _moved(target.entry, entry.path), target.diff_id
            self.root.linked.add((diff_id, entry.offset))
        old = children.get(name)
        if old is not None and old.children is not None:
            if entry.type == DIR:
                mine = self.own(directory, name)
                assert mine is not None
                mine.entry, mine.diff_id = entry, diff_id
                return
            self._directories = {"": self.root}
        children[name] = _Node(entry, diff_id, self._owner, {} if entry.type == DIR else None)

    def _erase(self, children: dict[str, _Node], name: str) -> None:
        """Apply a whiteout: what this very layer has put there stays (OCI image spec, layer.md, Whiteouts)."""
        if name == OPAQUE_WHITEOUT:
            gone = [key for key, node in children.items() if not self._prune(node)]
        else:
            key = name[len(WHITEOUT_PREFIX) :]
            gone = [key] if key in children and not self._prune(children[key]) else []
        for key in gone:
            del children[key]
        self._directories = {"": self.root}

    def _prune(self, top: _Node) -> bool:
        """Take away what is not of this layer in and at a node; whether anything is left."""
        todo, found = [top], list[_Node]()
        while todo:
            node = todo.pop()
            found.append(node)
            if node.owner is self._owner and node.children is not None:
                todo += node.children.values()
        left = set[int]()
        for node in reversed(found):  # what is in a directory before it
            if node.owner is not self._owner:
                continue
            if node.children is not None:
                node.names = None
                for key in [key for key, child in node.children.items() if id(child) not in left]:
                    del node.children[key]
            if node.children or node.diff_id == self._diff_id:
                left.add(id(node))
        return id(top) in left


def _moved(entry: Entry, path: str) -> Entry:
    return Entry(
        path, entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, entry.link, entry.offset,
        entry.digest, entry.devmajor, entry.devminor, entry.xattrs,
    )  # fmt: skip


def _merge(below: _Root, layer: Layer) -> _Root:
    merge = _Merge(below, layer.diff_id)
    for entry in layer.index:
        merge.add(entry)
    return merge.root


class Trees:
    """The trees that were used last, so that a snapshot's tree is built from that of the layers below."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], LayerTree] = OrderedDict()

    def get(self, diff_ids: tuple[str, ...]) -> LayerTree:
        """The tree of a snapshot."""
        with self._lock:
            height = len(diff_ids)
            while height and diff_ids[:height] not in self._kept:
                height -= 1
            tree = self._kept.get(diff_ids[:height]) or LayerTree(self._store, (), None, None)
        for diff_id in diff_ids[height:]:
            tree = tree.under(self._store.layer(diff_id))
        with self._lock:
            tree = self._kept.setdefault(diff_ids, tree)
            self._kept.move_to_end(diff_ids)
            while len(self._kept) > _KEPT_TREES:
                self._kept.popitem(last=False)
        return tree


class LinkLoopError(StoreError):
    """A path that goes round in symbolic links."""


def resolve(tree: Tree, path: str, follow_last: bool = True) -> str:
    """The path that `path` leads to when every symbolic link is followed inside the tree's root.

    `path` may begin with "/" and have ".." in it; nothing leads above the root. Components that do not exist are
    kept as they are. With `follow_last` false a link at the very end stays. Raises LinkLoopError.
    """
    where: list[str] = []
    todo = [name for name in path.split("/") if name not in ("", ".")][::-1]
    links = 0
    while todo:
        name = todo.pop()
        if name == "..":
            where = where[:-1]
            continue
        here = "/".join((*where, name))
        entry = tree.get(here)
        if entry is None or entry.type != SYMLINK or (not todo and not follow_last):
            where.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise LinkLoopError(f'"/{path.lstrip("/")}" leads through too many symbolic links.')
        if entry.link.startswith("/"):
            where = []
        todo += [part for part in entry.link.split("/") if part not in ("", ".")][::-1]
    return "/".join(where)
