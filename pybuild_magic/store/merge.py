"""The merge of a layer with those below it: its entries are unpacked in order, then overlaid as by overlayfs.

The files of a layer do not depend on the layers below: containerd unpacks its tar into an empty directory, in which
links are followed and later entries replace earlier ones, and overlayfs lays that directory over the others. So a
directory hides a link of the same name in a layer below, and never follows it. The OCI specification allows
whiteouts of files of the same layer and hardlinks to files below; containerd refuses them, and this module does not.
Sources: containerd, `pkg/archive/tar.go` (applyNaive, mkparent); Linux, `Documentation/filesystems/overlayfs.rst`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ..cancel import checkpoint
from ..errors import StoreError
from .entry import DIR, HARDLINK, OPAQUE_WHITEOUT, SYMLINK, WHITEOUT_PREFIX, Entry
from .links import MAX_LINKS, LinkLoopError, follow_links

_SETGID = 0o2000

ROOT = Entry("", DIR, 0o755)
"""The root directory, for which layers have no entry."""


class TreeNode(msgspec.Struct, gc=False, eq=False):
    """A file or directory of a layer or of a merged tree. Trees share nodes: those of a finished tree never change.

    Nothing refers to the node above it, so that Python's collector, to which nodes would be most of all objects, has
    nothing to find here.
    """

    entry: Entry
    diff_id: str
    """The layer that `entry` comes from; "" for a directory that no layer has an entry for."""
    children: dict[str, TreeNode] | None
    names: list[str] | None = None
    """The names of the children in order, once they were asked for."""


class Root(TreeNode, gc=False, eq=False):
    """The root directory; `linked` are the files of its tree that have, or had, several names."""

    linked: set[tuple[str, int]] = msgspec.field(default_factory=set[tuple[str, int]])


def empty() -> Root:
    """Return the root of a tree without files."""
    return Root(ROOT, "", {})


WHITEOUT = TreeNode(Entry(""), "", None)
"""In an unpacked layer, stands for a deleted name, and under the name `OPAQUE_WHITEOUT` for all of a directory."""


class Unpacked:
    """The tree of one layer's entries alone."""

    def __init__(self, diff_id: str, entries: Iterable[Entry]) -> None:
        self._diff_id = diff_id
        self.root = empty()
        self.dependent = False
        """Whether something depends on the layers below: metadata of a directory, or the target of a hardlink."""
        self.deletes = False
        """Whether something of the layers below is deleted."""
        self.outward: list[tuple[TreeNode, str, TreeNode]] = []
        """(directory, name, node) of hardlinks whose targets are not in the layer."""
        self._directories: dict[str, TreeNode] = {"": self.root}
        self._names: dict[int, list[TreeNode]] = {}
        """The nodes of each file with several names, by its offset."""
        for number, entry in enumerate(entries):
            if not number % 16:
                checkpoint()
            self._add(entry)

    def walk(self) -> Iterator[tuple[str, TreeNode]]:
        """Yield all nodes with their paths, each directory before its content; deleted names are `WHITEOUT`."""
        stack = [("", iter((self.root.children or {}).items()))]
        while stack:
            above, names = stack[-1]
            name, node = next(names, ("", WHITEOUT))
            if not name:
                stack.pop()
                continue
            path = f"{above}/{name}" if above else name
            yield path, node
            if node.children:
                stack.append((path, iter(node.children.items())))

    def _add(self, entry: Entry) -> None:
        parent, _, name = entry.path.rpartition("/")
        directory = self._directories.get(parent)
        if directory is None:
            directory = self._directory(parent)
        children = directory.children
        assert children is not None
        if name.startswith(WHITEOUT_PREFIX):
            self._delete(children, name)
            return
        if directory.entry.path != parent:
            entry = _moved(entry, f"{directory.entry.path}/{name}" if directory.entry.path else name)
        old = children.get(name)
        if old is not None and old.children is not None:
            if entry.type == DIR:
                old.entry, old.diff_id = entry, self._diff_id
                return
            self._directories = {"": self.root}
        if entry.type == HARDLINK:
            children.pop(name, None)  # even if it is the target itself, which is then missing
            children[name] = self._hardlink(entry, directory, name)
            return
        node = children[name] = TreeNode(entry, self._diff_id, {} if entry.type == DIR else None)
        if entry.type == DIR:
            self._directories[entry.path] = node

    def _delete(self, children: dict[str, TreeNode], name: str) -> None:
        self.deletes = True
        if name == OPAQUE_WHITEOUT:
            children[name] = WHITEOUT
            return
        own = children.setdefault(name[len(WHITEOUT_PREFIX) :], WHITEOUT)
        if own.children is not None:
            own.children[OPAQUE_WHITEOUT] = WHITEOUT

    def _directory(self, path: str) -> TreeNode:
        """Return the directory at `path`, following links of this layer and creating missing directories."""
        known, _, name = path.rpartition("/")
        todo = [name]
        while (node := self._directories.get(known)) is None:
            known, _, name = known.rpartition("/")
            todo.append(name)
        links = 0
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                node = self._directory(node.entry.parent) if node.entry.parent else self.root
                continue
            children = node.children
            assert children is not None
            child = children.get(name)
            if child is None or child is WHITEOUT:
                above = node.entry.path
                hidden = {} if child is None else {OPAQUE_WHITEOUT: WHITEOUT}
                child = children[name] = TreeNode(Entry(f"{above}/{name}" if above else name, DIR, 0o755), "", hidden)
                self.dependent = True
            if child.children is not None:
                node = child
            elif child.entry.type == SYMLINK:
                links += 1
                _check_links(links, path)
                todo += child.entry.link.split("/")[::-1]
                node = self.root if child.entry.link.startswith("/") else node
            else:
                raise StoreError(f'"/{path}" in a layer leads through "/{child.entry.path}", which is not a directory.')
        if node.entry.path == path:
            self._directories[path] = node
        return node

    def _hardlink(self, entry: Entry, directory: TreeNode, name: str) -> TreeNode:
        """Return the node of a hardlink. Its header sets the metadata of all names of the file, as in unpacking."""
        target = _find(self.root, entry.link)
        if target is None or target is WHITEOUT:
            node = TreeNode(entry, self._diff_id, None)
        elif target.children is not None:
            raise StoreError(f'"/{entry.path}" in a layer is a hardlink to the directory "/{entry.link}".')
        else:
            node = TreeNode(_moved(target.entry, entry.path), target.diff_id, None)
        if node.entry.type == HARDLINK:
            self.outward.append((directory, name, node))
            self.dependent = True
            return node
        assert target is not None
        self.root.linked.add((node.diff_id, node.entry.offset))
        names = self._names.setdefault(node.entry.offset, [target])
        names.append(node)
        if not _alike(entry, target.entry):
            for other in names:
                other.entry = _described(other.entry, entry)
        return node


def overlay(below: Root, layer: Unpacked) -> Root:
    """Return the tree of a layer on top of `below`, which does not change. `layer` cannot be used afterwards."""
    root = layer.root
    root.linked |= below.linked
    for directory, name, node in layer.outward:
        if directory.children is not None and directory.children.get(name) is node:
            _borrow(below, root, node)
    root_children = root.children
    assert root_children is not None
    root_children.pop(OPAQUE_WHITEOUT, None)  # overlayfs ignores it in the root of a layer
    searching = layer.deletes or layer.dependent
    stack: list[tuple[TreeNode, TreeNode | None]] = [(root, below)]
    while stack:
        node, under = stack.pop()
        children = node.children
        assert children is not None
        opaque = children.pop(OPAQUE_WHITEOUT, None) is not None
        lower = (under.children if under is not None and not opaque else None) or {}
        for name, child in children.items():
            if child.children is None:
                continue
            hidden = lower.get(name)
            if not child.diff_id:
                child.entry, child.diff_id = _implied(below, child, hidden, node)
            if searching or (hidden is not None and hidden.children is not None):
                stack.append((child, hidden))
        if lower:
            node.children = children = {**lower, **children}
        if layer.deletes and WHITEOUT in children.values():
            node.children = {name: child for name, child in children.items() if child is not WHITEOUT}
    return root


def _implied(below: Root, node: TreeNode, hidden: TreeNode | None, parent: TreeNode) -> tuple[Entry, str]:
    """Return the metadata of a directory without an entry in the layer, and the layer that they come from.

    Like containerd, take them from the first layer below that has the directory, and follow the links of that layer
    only. A directory that no layer has an entry for gets the group of its parent if that has the set-group-ID bit.
    """
    path = node.entry.path
    if hidden is not None and hidden.children is not None:
        return hidden.entry, hidden.diff_id
    links: list[TreeNode] = []
    place = _find(below, path, links)
    if place is not None and place.children is not None and {link.diff_id for link in links} == {place.diff_id}:
        return _moved(place.entry, path), place.diff_id
    gid = parent.entry.gid if parent.entry.mode & _SETGID else 0
    return Entry(path, DIR, 0o755, gid=gid), ""


def _find(root: Root, path: str, links: list[TreeNode] | None = None) -> TreeNode | None:
    """Return the node at `path`, or None, following links above it.

    With the list `links`, a link at the end is followed too, and all followed links are appended to the list.
    """

    def link_of(below: str) -> str | None:
        node = _at(root, below)
        if node is None or node.entry.type != SYMLINK:
            return None
        if links is not None:
            links.append(node)
        return node.entry.link

    try:
        return _at(root, follow_links(path, link_of, follow_last=links is not None))
    except LinkLoopError:
        raise _loop(path) from None


def _at(root: Root, path: str) -> TreeNode | None:
    node: TreeNode | None = root
    for name in path.split("/") if path else ():
        node = node and (node.children or {}).get(name)
    return node


def _check_links(count: int, path: str) -> None:
    checkpoint()
    if count > MAX_LINKS:
        raise _loop(path)


def _loop(path: str) -> StoreError:
    """Return the error for a layer that cannot be unpacked; a LinkLoopError is for paths that a Dockerfile names."""
    return StoreError(f'"/{path}" in a layer leads through too many symbolic links.')


def _borrow(below: Root, root: Root, node: TreeNode) -> None:
    """Make a hardlink another name of its target in the layers below."""
    link = node.entry.link
    target = _find(below, link)
    if target is None or target.children is not None:
        raise StoreError(f'"/{node.entry.path}" in a layer is a hardlink to "/{link}", which is not there.')
    node.entry, node.diff_id = _moved(target.entry, node.entry.path), target.diff_id
    root.linked.add((target.diff_id, target.entry.offset))


def _alike(link: Entry, file: Entry) -> bool:
    """Return whether the header of a hardlink has the same metadata as the file."""
    return (
        (link.mode == file.mode or file.type == SYMLINK)
        and link.uid == file.uid
        and link.gid == file.gid
        and link.mtime == file.mtime
        and (not link.xattrs or link.xattrs == file.xattrs)
    )


def _described(entry: Entry, by: Entry) -> Entry:
    """Return the entry with the metadata of another."""
    return msgspec.structs.replace(
        entry,
        mode=entry.mode if entry.type == SYMLINK else by.mode,
        uid=by.uid,
        gid=by.gid,
        mtime=by.mtime,
        xattrs={**entry.xattrs, **by.xattrs},
    )


def _moved(entry: Entry, path: str) -> Entry:
    return Entry(
        path, entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, entry.link, entry.offset,
        entry.digest, entry.devmajor, entry.devminor, entry.xattrs,
    )  # fmt: skip
