"""FileCopy on trees, with the semantics of BuildKit's copier (fsutil/copy): which files land where, with which
metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol

import msgspec

from ....cancel import Cancel
from ....garbage import uncollected
from ....golang.match import has_wildcards, match
from ....golang.patternmatcher import PatternMatcher
from ....session.files import CAPABILITY
from ....store import (
    BLOCK,
    CHAR,
    DIR,
    FILE,
    SYMLINK,
    Entry,
    resolve,
)
from ....store.entry import NO_XATTRS
from .. import deep
from .upper import Content, FileOpError, Inode, Upper, join


class Listing(Protocol):
    """The part of a tree's interface that wildcards need."""

    def get(self, path: str) -> Entry | None:
        """Return the entry at `path` without following links."""
        ...

    def children(self, path: str) -> list[Entry]:
        """Return the entries of a directory, in byte order of their names."""
        ...


class ReadTree(Listing, Protocol):
    """The source of a copy: a snapshot, or a local context."""

    def walk(self, path: str = "") -> Iterator[Entry]:
        """Return all entries below `path`, depth first."""
        ...

    def known_paths(self, limit: int) -> list[str]:
        """Return up to `limit` paths of readable files, including files that an ignore pattern leaves out."""
        ...

    def inode(self, entry: Entry) -> Hashable:
        """Return the same value for all names of one file."""
        ...

    def read(self, entry: Entry) -> bytes:
        """Return a regular file's content."""
        ...

    def open(self, entry: Entry) -> Any:
        """Return a regular file's content, as a binary file."""
        ...


class CopyOptions(msgspec.Struct, frozen=True):
    """The options of a FileCopy."""

    owner: tuple[int, int] | None = None
    mode: int | None = None
    change_mode: Callable[[int, bool], int] | None = None
    timestamp: int | None = None
    """Nanoseconds since 1970."""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: bool = False
    contents: bool = False
    """Whether a directory stands for its contents."""
    replace: bool = False
    """Whether entries also replace existing ones of another type."""


def clean_path(path: str) -> str:
    """Normalise `path` from the root, keeping a final `/` or `/.`, which marks a directory."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    resolved = "/" + "/".join(parts)
    if path.endswith("/."):
        return (resolved if resolved == "/" else resolved + "/") + "."
    return resolved + "/" if path.endswith("/") and resolved != "/" else resolved


def expand(tree: Listing, path: str, follow: bool) -> list[str]:
    """Return the paths (from the root, without a leading slash) that a `path` with wildcards matches, in walk order."""
    fixed, pattern = split_wildcards(path)
    if not pattern:
        return [fixed]
    base = resolve_source(tree, fixed, follow)
    if base and tree.get(base) is None:
        return []
    paths: list[str] = []
    _match_below(tree, base, "", pattern, pattern.count("/") + 1, paths)
    return paths


def split_wildcards(path: str) -> tuple[str, str]:
    """Split `path` before the first name that has wildcards."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    first = next((index for index, part in enumerate(parts) if has_wildcards(part)), len(parts))
    return "/".join(parts[:first]), "/".join(parts[first:])


def _match_below(tree: Listing, base: str, at: str, pattern: str, depth: int, paths: list[str]) -> None:
    for entry in tree.children(join(base, at) if at else base):
        relative = join(at, entry.name)
        if match(pattern, relative):
            paths.append(entry.path)
        elif entry.type == DIR and depth > 1:
            _match_below(tree, base, relative, pattern, depth - 1, paths)


def resolve_source(tree: Listing, path: str, follow: bool) -> str:
    """Return `path` with its links followed, and a link at its end when `follow`."""
    return resolve(tree, path.strip("/"), follow_last=follow)


_ROOT = Entry("", DIR, 0o755)


class _Target:
    """A directory of the destination, which may still have to be made when something in it is wanted."""

    __slots__ = ("above", "copied", "inode", "name", "path", "source")

    def __init__(
        self,
        source: Entry | None,
        above: _Target | None,
        path: str,
        name: str,
        inode: Inode | None,
        *,
        copied: bool = False,
    ) -> None:
        self.source = source
        self.above = above
        self.path = path
        self.name = name
        self.inode = inode
        self.copied = copied
        """Whether its metadata are settled; otherwise it takes the source's mode as soon as something in it is
        wanted.
        """


class Copier:
    """Copies from one tree into one Upper. `content` returns the content of a file for a LayerWriter."""

    def __init__(
        self,
        upper: Upper,
        tree: ReadTree,
        content: Callable[[Entry], Content],
        options: CopyOptions,
        cancel: Cancel,
    ) -> None:
        self._upper = upper
        self._tree = tree
        self._content = content
        self._options = options
        self._cancel = cancel
        self._include = PatternMatcher(options.include) if options.include else None
        self._exclude = PatternMatcher(options.exclude) if options.exclude else None
        self._inodes: dict[Hashable, Inode] = {}
        self._made: list[Inode] = []
        self.size = 0
        """Bytes of the files copied so far."""

    @uncollected
    def copy(self, source: str, dest: str) -> None:
        """Copy `source` to `dest` (both from `clean_path`); `dest` is a new name or a directory to copy into."""
        upper, options = self._upper, self._options
        self._inodes.clear()
        head, _, tail = dest.rpartition("/")
        self.make_folders(upper.resolve(head if tail not in ("", ".") else dest))
        at = upper.resolve(dest)
        resolved = resolve_source(self._tree, source, options.follow)
        entry = self._tree.get(resolved) if resolved else _ROOT
        if entry is None:
            raise FileOpError(f"lstat /{source.strip('/')}: no such file or directory")
        existing = upper.lookup(at)
        if (not options.contents and entry.is_dir and existing is not None) or (
            not entry.is_dir and existing is not None and existing.is_dir
        ):
            name = source.rstrip("/").rpartition("/")[2]
            at = at if name in ("", ".") else join(at, name)
            existing = upper.lookup(at)
        into_new = options.contents and entry.is_dir and existing is None
        self.make_folders(at if into_new else at.rpartition("/")[0])
        if not at:
            deep.run(self._folder(entry, "", _Target(entry, None, "", "", upper.root, copied=True), top=True))
        else:
            above, _, name = at.rpartition("/")
            folder = upper.lookup(above)
            into = _Target(None, None, above, "", folder, copied=True)
            deep.run(self._entry(entry, "", into, name, None, None, top=True))
        if options.timestamp is not None:
            for inode in self._made:
                inode.mtime = options.timestamp

    def make_folders(self, path: str) -> None:
        """Make a directory (with a resolved path) and its missing parents."""
        options = self._options
        mode = 0o755 if options.mode is None else options.mode & 0o777
        self._made += make_folders(self._upper, path, mode, options.owner, options.timestamp)

    def _entry(
        self,
        entry: Entry,
        relative: str,
        into: _Target,
        name: str,
        included: int | None,
        excluded: int | None,
        *,
        top: bool = False,
    ) -> deep.Walk[None] | None:
        """Copy an entry; for a directory, return the walk that copies its contents."""
        is_selected, descend = True, True
        if relative:
            if self._include is not None:
                is_selected, included = self._include.match(relative, included)
            if self._exclude is not None:
                hit, excluded = self._exclude.match(relative, excluded)
                if hit:
                    is_selected = False
                    descend = self._exclude.exclusions
        if entry.type != DIR:
            if is_selected:
                self._file(entry, into, name)
            return None
        path = join(into.path, name)
        existing = None if into.inode is None else self._upper.child(into.inode, into.path, name)
        target = _Target(entry, into, path, name, existing, copied=is_selected)
        if is_selected:
            if existing is not None and not existing.is_dir:
                if not self._options.replace:
                    raise FileOpError(f"cannot copy to non-directory: /{path}")
                assert into.inode is not None
                self._upper.remove(into.inode, into.path, name)
                target.inode = existing = None
            self._make(target)
        if descend:
            top = top and existing is not None
            return self._folder(entry, relative, target, included, excluded, top=top, is_selected=is_selected)
        if is_selected:
            self._describe(target)
        return None

    def _folder(
        self,
        entry: Entry,
        relative: str,
        target: _Target,
        included: int | None = None,
        excluded: int | None = None,
        *,
        top: bool = False,
        is_selected: bool = True,
    ) -> deep.Walk[None]:
        """Copy a directory's entries, then its metadata; a directory that is only copied into (`top`) keeps its own
        metadata.
        """
        self._cancel.check()
        for child in self._tree.children(entry.path):
            name = child.path.rpartition("/")[2]
            path = f"{relative}/{name}" if relative else name
            below = self._entry(child, path, target, name, included, excluded)
            if below is not None:
                yield below
        if not is_selected or target.inode is None:
            return
        if top:
            target.inode.mtime = self._time(entry)
            target.inode.dirty = True
        else:
            self._describe(target)

    def _describe(self, target: _Target) -> None:
        assert target.inode is not None and target.source is not None
        self._metadata(target.inode, target.source)

    def _make(self, target: _Target) -> Inode:
        """Return the directory of a target; it and its parents are made when missing."""
        missing: list[_Target] = []
        while not target.copied or target.inode is None:
            missing.append(target)
            assert target.above is not None
            target = target.above
        inode = target.inode
        for target in reversed(missing):
            inode = self._make_in(inode, target)
        return inode

    def _make_in(self, above: Inode, target: _Target) -> Inode:
        assert target.above is not None and target.source is not None
        inode = self._upper.child(above, target.above.path, target.name)
        if inode is None:
            inode = Inode(DIR, target.source.mode, self._upper.now)
            self._upper.put(above, target.name, inode)
            self._metadata(inode, target.source)
        elif not inode.is_dir:
            raise FileOpError(f"cannot copy to non-directory: /{target.path}")
        elif not target.copied:
            inode.mode, inode.dirty = target.source.mode, True
        target.inode, target.copied = inode, True
        return inode

    def _file(self, entry: Entry, into: _Target, name: str) -> None:
        upper = self._upper
        folder = self._make(into)
        existing = upper.child(folder, into.path, name)
        if existing is not None:
            if existing.is_dir and not self._options.replace:
                raise FileOpError(f"cannot replace to directory /{join(into.path, name)} with file")
            upper.remove(folder, into.path, name)
        if entry.type == FILE:
            key = self._tree.inode(entry)
            inode = self._inodes.get(key)
            if inode is not None:
                inode.shared = True
            else:
                inode = self._inodes[key] = Inode(FILE, entry.mode, upper.now)
                inode.size = entry.size
                self.size += entry.size
                inode.digest = entry.digest
                if entry.size:
                    inode.content, inode.contents = entry, self._content
        else:
            # BuildKit's copier loses one bit of a block device's type, which makes it a character device.
            inode = Inode(CHAR if entry.type == BLOCK else entry.type, entry.mode, upper.now)
            if entry.type == SYMLINK:
                inode.link = entry.link
            elif entry.type in (CHAR, BLOCK):
                inode.devmajor, inode.devminor = entry.devmajor, entry.devminor
        upper.put(folder, name, inode)
        self._metadata(inode, entry)

    def _metadata(self, inode: Inode, entry: Entry) -> None:
        options = self._options
        inode.uid, inode.gid = (entry.uid, entry.gid) if options.owner is None else options.owner
        if inode.type == SYMLINK:
            inode.mode = 0o777
        elif options.change_mode is not None:
            inode.mode = options.change_mode(entry.mode, entry.type == DIR)
        else:
            inode.mode = entry.mode if options.mode is None else options.mode & 0o7777
        inode.mtime = self._time(entry)
        capability = entry.xattrs.get(CAPABILITY)
        inode.xattrs = {CAPABILITY: capability} if capability else NO_XATTRS
        inode.dirty = True

    def _time(self, entry: Entry) -> int:
        """Return the time for a copy. The root has the time at which BuildKit created it, which is now."""
        if self._options.timestamp is not None:
            return self._options.timestamp
        return entry.mtime if entry.path else self._upper.now


def make_folders(
    upper: Upper,
    path: str,
    mode: int,
    owner: tuple[int, int] | None,
    timestamp: int | None,
    *,
    hand_down: bool = True,
) -> list[Inode]:
    """Make the missing directories of a resolved path, and return them. Raises when a file is in the way.

    With `hand_down` they inherit the set-group-ID bit of their parent; its group they inherit anyway.
    """
    directories: list[Inode] = []
    folder, at = upper.root, ""
    for name in path.split("/") if path else ():
        inode = upper.child(folder, at, name)
        if inode is None:
            inode = Inode.within(folder, DIR, mode, upper.now, owner)
            if not hand_down:
                inode.mode = mode
            upper.put(folder, name, inode)
            if timestamp is not None:
                inode.mtime = timestamp
            directories.append(inode)
        elif not inode.is_dir:
            raise FileOpError(f"mkdir /{join(at, name)}: not a directory")
        folder, at = inode, join(at, name)
    return directories
