"""The digest of the part of a tree that an op reads: names, types, modes, owners, links, capabilities and contents, no
times.

It serves the purpose of BuildKit's `cache/contenthash`; the digests are not BuildKit's.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from itertools import islice

import msgspec

from ....errors import ContextError, nearest
from ....golang.match import has_wildcards
from ....golang.patternmatcher import PatternMatcher
from ....golang.text import quote
from ....session.files import CAPABILITY
from ....store import DIR, Entry, LinkLoopError
from .. import deep
from .copying import ReadTree, expand, resolve_source, split_wildcards
from .upper import join


class Selector(msgspec.Struct, frozen=True, order=True):
    """The part of a tree that an op reads."""

    path: str
    wildcard: bool = False
    follow: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


WHOLE = Selector("/")


def content_digest(tree: ReadTree, selectors: list[Selector], ref: str) -> str:
    """Return one digest of everything that `selectors` select. Raises `ContextError`, in BuildKit's words, for a
    missing path.

    `ref` names the tree in the error.
    """
    digest = hashlib.sha256()
    for selector in selectors:
        try:
            digest.update(_select(tree, selector))
        except _MissingError as error:
            there = "the context" if ref == CONTEXT_REF else "that image or stage"
            raise ContextError(
                f"{_missing(tree, error.path.strip('/'), there)}: failed to compute cache key: "
                f"failed to calculate checksum of ref {ref}: {quote(error.path)}: not found"
            ) from None
        except LinkLoopError as error:
            raise ContextError(
                f"failed to compute cache key: failed to calculate checksum of ref {ref}: too many links",
                hint=error.message,
            ) from None
    return digest.hexdigest()


CONTEXT_REF = "context"


def _missing(tree: ReadTree, path: str, there: str) -> str:
    """Say in plain words that a path is not in `tree`, which is called `there`, and which one may have been meant.

    BuildKit's words follow, which name the path.
    """
    paths = tree.known_paths(_LOOKED_AT)
    if path in paths:
        return ".dockerignore excludes this file from the context"
    name = posixpath.basename(path)
    suggestion = nearest(path, [known for known in paths if posixpath.basename(known) == name] or paths)
    return f"There is no such file in {there}" + (f" (did you mean {suggestion}?)" if suggestion else "")


_LOOKED_AT = 20_000
"""The most paths of a tree that are compared with a missing one."""


class _MissingError(Exception):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def _select(tree: ReadTree, selector: Selector) -> bytes:
    paths, above = [selector.path.strip("/")], ""
    wildcard = selector.wildcard and has_wildcards(selector.path)
    if wildcard:
        paths = expand(tree, selector.path, selector.follow)
        above = resolve_source(tree, split_wildcards(selector.path)[0], selector.follow)
    lines = _Lines()
    seen: list[str] = []
    for path in paths:
        at = resolve_source(tree, path, selector.follow)
        entry = tree.get(at) if at else None
        if at and entry is None:
            raise _MissingError("/" + path)
        # A path named by the op counts without its name; one matched by wildcards, by its path below the part without
        # any.
        named = len(paths) == 1 and posixpath.basename(path) == posixpath.basename(selector.path)
        name = "" if named or not wildcard else path[len(above) :].strip("/")
        if selector.include or selector.exclude:
            _filtered(tree, selector, path, at, entry, name, lines, seen)
            continue
        if entry is not None:
            lines.add(_line(name, entry))
        if entry is None or entry.type == DIR:
            start = len(at) + 1 if at else 0
            lines.extend(_line(f"{name}/{below.path[start:]}", below) for below in tree.walk(at))
    for required in selector.required:
        prefix = required.strip("/")
        if not any(path.startswith(prefix) for path in seen):
            raise _MissingError(required)
    return lines.digest()


class _Lines:
    """A digest of lines, which are hashed in batches and not kept."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._hash = hashlib.sha256()

    def add(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= _LINES:
            self._flush()

    def extend(self, lines: Iterator[str]) -> None:
        """Add lines."""
        while some := list(islice(lines, _LINES)):
            self._lines += some
            self._flush()

    def _flush(self) -> None:
        self._hash.update("\n".join([*self._lines, ""]).encode("utf-8", "surrogateescape"))
        self._lines.clear()

    def digest(self) -> bytes:
        self._flush()
        return self._hash.digest()


_LINES = 1024


def _filtered(
    tree: ReadTree,
    selector: Selector,
    visible_path: str,
    at: str,
    entry: Entry | None,
    name: str,
    lines: _Lines,
    seen: list[str],
) -> None:
    """Yield the selected entries below a path (`visible_path` is the path before its links were followed), and their
    directories.
    """
    include = PatternMatcher(selector.include) if selector.include else None
    exclude = PatternMatcher(selector.exclude) if selector.exclude else None
    if entry is not None and entry.type != DIR:
        lines.add(_line(name, entry))
        seen.append(visible_path)
        return
    pending: list[str] = []

    def walk(folder: str, relative: str, included: int | None, excluded: int | None) -> deep.Walk[None]:
        for child in tree.children(folder):
            path = f"{relative}/{child.name}" if relative else child.name
            is_selected, inner, outer = True, included, excluded
            if include is not None:
                is_selected, inner = include.match(path, included)
            if exclude is not None:
                hit, outer = exclude.match(path, excluded)
                is_selected = is_selected and not hit
            line = _line(f"{name}/{path}", child)
            if is_selected:
                for above in pending:
                    lines.add(above)
                pending.clear()
                lines.add(line)
                seen.append(join(visible_path, path))
            if child.type == DIR:
                if not is_selected:
                    pending.append(line)
                yield walk(child.path, path, inner, outer)
                if pending and not is_selected:
                    pending.pop()

    deep.run(walk(at, "", None, None))


def _line(name: str, entry: Entry) -> str:
    if not (entry.xattrs or entry.uid or entry.gid or entry.devmajor or entry.devminor or entry.link):  # nearly always
        return f"{name}\0{entry.type}{entry.mode:o}:0:0:{entry.size}:0:0\0\0{entry.digest.hex()}"
    capability = entry.xattrs.get(CAPABILITY, b"") if entry.xattrs else b""
    return (
        f"{name}\0{entry.type}{entry.mode:o}:{entry.uid}:{entry.gid}:{entry.size}:{entry.devmajor}:{entry.devminor}"
        f"\0{entry.link}\0{entry.digest.hex()}{capability.hex()}"
    )
