"""The walk through a directory with fsutil's rules of include, exclude and follow, for every kind of context."""

from __future__ import annotations

import posixpath
import stat as st
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from ..golang.match import has_wildcards, match
from .files import FileStat, Filter, LocalDir

if TYPE_CHECKING:
    from ..golang.patternmatcher import PatternMatcher

WILDCARDS = "*[]?^\\"

_State = tuple[int | None, int | None]
"""The states of the include and the exclude patterns after matching the directory above."""


class Folder(Protocol):
    """An open directory of a walk."""

    def entries(self) -> list[tuple[str, bool]]:
        """Return (name, is a directory) of each entry, in byte order of the names."""
        ...

    def stat(self, name: str, path: str) -> FileStat | None:
        """Return the entry `name`, whose path from the root is `path`; None when it has vanished."""
        ...

    def enter(self, name: str) -> Folder | None:
        """Open a subdirectory; None when it has vanished or is no longer a directory."""
        ...

    def close(self) -> None:
        """Release the resources of the open directory."""
        ...


class Matcher:
    """The compiled patterns of a Filter, which also say where a walk need not descend."""

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
        from ..golang.patternmatcher import PatternMatcher

        self.include = PatternMatcher(include) if include else None
        self.exclude = PatternMatcher(exclude) if exclude else None
        self._include_prefixes = _prefixes(self.include, exclusion=False)
        self._exception_prefixes = _prefixes(self.exclude, exclusion=True)

    def check(self, path: str, directory: bool, parents: _State) -> tuple[bool, bool, _State]:
        """Return (wanted, descend, the state for the entries below) for a path."""
        included, excluded = parents
        is_selected = True
        if self.include is not None:
            hit, included = self.include.match(path, included)
            if not hit:
                is_selected = False
                if directory and not _below(path, self._include_prefixes):
                    return False, False, parents
        if self.exclude is not None:
            hit, excluded = self.exclude.match(path, excluded)
            if hit:
                is_selected = False
                if directory and not _below(path, self._exception_prefixes):
                    return False, False, parents
        return is_selected, directory, (included, excluded)


def _prefixes(matcher: PatternMatcher | None, *, exclusion: bool) -> list[str] | None:
    """Return the paths, with a final slash, of the patterns; None when a wildcard could match anywhere."""
    prefixes: list[str] = []
    for pattern in matcher.patterns if matcher else ():
        if pattern.startswith("!") == exclusion:
            text = pattern.removeprefix("!").removesuffix("/**").removesuffix("/*")
            if any(character in WILDCARDS for character in text):
                return None
            prefixes.append(text + "/")
    return prefixes


def _below(path: str, prefixes: list[str] | None) -> bool:
    return prefixes is None or any(prefix.startswith(path + "/") for prefix in prefixes)


class _Frame:
    __slots__ = ("entries", "folder", "parents", "pending", "prefix")

    def __init__(self, folder: Folder, prefix: str, parents: _State, pending: FileStat | None) -> None:
        self.folder = folder
        self.entries = iter(folder.entries())
        self.prefix = prefix
        self.parents = parents
        self.pending = pending
        """The directory itself, if it is not wanted but something in it may be."""


def walk_folder(root: Folder, matcher: Matcher | None) -> Iterator[FileStat]:
    """Yield the files below `root` that `matcher` wants, each directory before its content."""
    stack = [_Frame(root, "", (None, None), None)]
    pending = False
    try:
        while stack:
            frame = stack[-1]
            folder, prefix = frame.folder, frame.prefix
            for name, directory in frame.entries:
                path = prefix + name
                is_selected, descend, state = True, directory, frame.parents
                if matcher is not None:
                    is_selected, descend, state = matcher.check(path, directory, state)
                    if not is_selected and not descend:
                        continue
                status = folder.stat(name, path)
                if status is None:
                    continue
                if is_selected:
                    if pending:
                        for above in stack:
                            if above.pending is not None:
                                yield above.pending
                                above.pending = None
                        pending = False
                    yield status
                if descend:
                    child = folder.enter(name)
                    if child is not None:
                        stack.append(_Frame(child, path + "/", state, None if is_selected else status))
                        pending = pending or not is_selected
                        break
            else:
                stack.pop()
                folder.close()
    finally:
        for frame in stack:
            frame.folder.close()


def compile_filter(source: LocalDir, selection: Filter) -> Matcher | None:
    """Return the matcher for a walk of `source`; None when everything is wanted."""
    include = selection.include
    if selection.follow:
        targets = follow_links(source, selection.follow)
        if targets is not None:
            include = tuple(_dedupe(sorted({*include, *targets})) or ())
    if not include and not selection.exclude:
        return None
    return Matcher(include, selection.exclude)


def follow_links(source: LocalDir, paths: tuple[str, ...]) -> list[str] | None:
    """Return `paths`, and the targets of the symbolic links on their way within the root, as include patterns.

    Returns None when the root itself is among them, so that everything is wanted.
    """
    resolved: set[str] = set()
    pending = list(reversed(paths))
    while pending:
        parts = posixpath.normpath("/" + pending.pop()).lstrip("/").split("/")
        current = ""
        for index, part in enumerate(parts):
            current = f"{current}/{part}" if current else part or "."
            targets = _targets(source, current)
            last = index == len(parts) - 1
            if (last or targets) and current in resolved:
                break
            if targets:
                resolved.add(current)
                rest = "/".join(parts[index + 1 :])
                pending.extend(f"{target}/{rest}" for target in reversed(targets))
                break
            if last:
                resolved.add(current)
    return _dedupe(sorted(resolved))


def _targets(source: LocalDir, path: str) -> list[str]:
    folder, _, name = path.rpartition("/")
    names = [name]
    if has_wildcards(name):
        names = [child for child in source.names(folder) if match(name, child)]
    targets: list[str] = []
    for child in names:
        entry = source.stat(f"{folder}/{child}" if folder else child)
        if entry is not None and st.S_ISLNK(entry.mode):
            targets.append(posixpath.normpath(f"/{folder}/{entry.link}" if entry.link[:1] != "/" else entry.link))
    return targets


def _dedupe(paths: list[str]) -> list[str] | None:
    unique: list[str] = []
    for path in paths:
        if path == ".":
            return None
        if not unique or not path.startswith(unique[-1] + "/"):
            unique.append(path)
    return unique
