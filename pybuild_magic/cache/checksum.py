"""BuildKit's checksum of the part of a tree that an op reads: names, modes, owners, links and contents, no times.

Source: BuildKit's cache/contenthash. The digest of a file covers its tar header, without name and time, and its
content; that of a directory covers its header, and the names and digests of its entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import Any, Protocol

from ..cancel import Cancel
from ..errors import BuildError
from ..golang.match import has_wildcards, match
from ..golang.path import base_name
from ..golang.patternmatcher import PatternMatcher
from ..oci.digest import sha256
from ..store import DIR, FILE, SYMLINK, Entry, resolve
from .keys import Selector

_BLOCK = 1 << 20
_NOTHING = sha256(b"")


class HashedTree(Protocol):
    """The file system that is read: a snapshot, or a local context."""

    def get(self, path: str) -> Entry | None:
        """Return the entry at `path` ("" is the root) without following links."""
        ...

    def children(self, path: str) -> list[Entry]:
        """Return the entries of a directory, in byte order of their names."""
        ...

    def open(self, entry: Entry) -> Any:
        """Return a regular file's content, as a binary file."""
        ...


class MissingError(BuildError):
    """A path of an op at which nothing exists."""


class TreeChecksum:
    """The checksums of one tree.

    `memory` has the digests of files that were read before. `sent` is true for a local context with files: its metadata
    were sent to BuildKit, except those of the root. BuildKit looks at all other trees itself, and then ignores device
    numbers.
    """

    def __init__(self, tree: HashedTree, memory: MutableMapping[bytes, bytes], cancel: Cancel, *, sent: bool) -> None:
        self._tree = tree
        self._memory = memory
        self._cancel = cancel
        self._sent = sent
        self._directories: dict[str, str] = {}

    def select(self, selectors: Sequence[Selector]) -> str:
        """Return one checksum of everything selected. Raises MissingError, LinkLoopError and errors of reading."""
        return sha256("\0".join(map(self._selected, selectors)).encode())

    def _selected(self, selector: Selector) -> str:
        path = selector.path.strip("/")
        if selector.plain:
            return self._at(path, follow=selector.follow)
        included = list(self._included(selector))
        digests = [self._included_digest(entry, visible_path, linked) for visible_path, entry, linked in included]
        if not included:
            return _NOTHING
        names = [base_name(visible_path) for visible_path, _, _ in included]
        if len(names) == 1 and names[0] == base_name(selector.path):
            return digests[0]
        lines = (
            name.encode("utf-8", "surrogateescape") + digest.encode()
            for name, digest in zip(names, digests, strict=True)
        )
        return sha256(b"\0".join(lines))

    def _included_digest(self, entry: Entry, visible_path: str, linked: bool) -> str:
        if linked and entry.type == SYMLINK:
            return self._at(visible_path.strip("/"), follow=True)
        return self._file(entry)

    def _at(self, path: str, *, follow: bool) -> str:
        """Return the digest of whatever a path leads to, including contents."""
        at = resolve(self._tree, path, follow)
        entry = self._tree.get(at)
        if entry is None:
            raise MissingError(f"There is no /{path}.")
        return self._directory(at) if entry.type == DIR else self._file(entry)

    def _directory(self, top: str) -> str:
        known = self._directories.get(top)
        if known is not None:
            return known
        stack: list[tuple[str, Any, Iterator[Entry]]] = [self._open(top)]
        while True:
            path, digest, rest = stack[-1]
            for entry in rest:
                digest.update(b"\0" + entry.name.encode("utf-8", "surrogateescape"))
                if entry.type != DIR:
                    digest.update(self._file(entry).encode())
                    continue
                inner = self._directories.get(entry.path)
                if inner is None:
                    stack.append(self._open(entry.path))
                    break
                digest.update(inner.encode())
            else:
                stack.pop()
                checksum = self._directories[path] = "sha256:" + digest.hexdigest()
                if not stack:
                    return checksum
                stack[-1][1].update(checksum.encode())

    def _open(self, path: str) -> tuple[str, Any, Iterator[Entry]]:
        self._cancel.check()
        entry = self._tree.get(path)
        assert entry is not None
        return path, hashlib.sha256(b"\0" + self._file(entry).encode()), iter(self._tree.children(path))

    def _file(self, entry: Entry) -> str:
        """Return the digest of an entry alone: for a directory, of its header."""
        if not entry.path and self._sent:
            return _NOTHING
        head = header(entry, numbers=self._sent)
        if entry.type != FILE or not entry.size:
            return sha256(head)
        key = entry.digest and hashlib.sha256(entry.digest + head).digest()
        known = self._memory.get(key) if key else None
        if known is None:
            self._cancel.check()
            digest = hashlib.sha256(head)
            with self._tree.open(entry) as file:
                while data := file.read(_BLOCK):
                    digest.update(data)
            known = digest.digest()
            if key:
                self._memory[key] = known
        return "sha256:" + known.hex()

    def _included(self, selector: Selector) -> Iterable[tuple[str, Entry, bool]]:
        """Yield the entries selected by patterns: the path as the op sees it, the entry, and whether a link there is
        followed.
        """
        path = selector.path if selector.path != "/" else ""
        if selector.wildcard:
            visible_path, rest = _split(selector.path)
            at = resolve(self._tree, visible_path.strip("/"), bool(rest))
        else:
            visible_path = path
            at = resolve(self._tree, path.strip("/"), False)
        return _Selection(selector, path).over(self._walk(at, visible_path))

    def _walk(self, at: str, visible_path: str) -> Iterator[tuple[str, Entry]]:
        """Yield everything from `at` on, with the paths that it has when `at` is called `visible_path`."""
        entry = self._tree.get(at)
        if entry is None:
            return
        yield visible_path, entry
        stack = [iter(self._tree.children(at))]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                continue
            yield f"{visible_path}/{entry.path[len(at) :].lstrip('/')}", entry
            if entry.type == DIR:
                stack.append(iter(self._tree.children(entry.path)))


class _Above:
    """A parent directory of the entry, with the patterns' verdict on it."""

    def __init__(self, visible_path: str, entry: Entry, linked: bool) -> None:
        self.shown = visible_path
        self.entry = entry
        self.linked = linked
        self.included = False
        self.include: int | None = None
        self.exclude: int | None = None


class _Selection:
    """The entries that wildcards and patterns select, with their parent directories."""

    def __init__(self, selector: Selector, path: str) -> None:
        self._selector = selector
        self._path = path
        self._include = PatternMatcher(selector.include) if selector.include else None
        self._exclude = PatternMatcher(selector.exclude) if selector.exclude else None

    def over(self, walk: Iterable[tuple[str, Entry]]) -> Iterator[tuple[str, Entry, bool]]:
        above: list[_Above] = []
        matched = ""
        pattern = self._path
        for visible_path, entry in walk:
            while above and not (visible_path + "/").startswith(above[-1].shown + "/"):
                above.pop()
            if not visible_path:  # the root, of which only the files are selected
                continue
            if self._selector.wildcard:
                if not matched or not visible_path.startswith(matched + "/"):
                    if not match(pattern, visible_path):
                        continue
                    matched = visible_path
                start = matched
            else:
                start = pattern
            here = _Above(visible_path, entry, not above and self._selector.follow)
            if self._wanted((visible_path + "/").removeprefix(start + "/").removesuffix("/"), here, above[-1:]):
                for parent in above:
                    if not parent.included:
                        parent.included = True
                        yield parent.shown, parent.entry, parent.linked
                here.included = True
                yield visible_path, entry, here.linked
            if entry.type == DIR:
                above.append(here)

    def _wanted(self, path: str, here: _Above, parent: list[_Above]) -> bool:
        if self._include is not None:
            is_selected, here.include = self._include.match(path, parent[0].include if parent else None)
            if not is_selected:
                return False
        if self._exclude is not None:
            unwanted, here.exclude = self._exclude.match(path, parent[0].exclude if parent else None)
            return not unwanted
        return True


def header(entry: Entry, *, numbers: bool) -> bytes:
    """Return the tar header of an entry as used in its digest, with or without the `numbers` of a device."""
    mode = 0o777 if entry.type == SYMLINK else entry.mode
    link = entry.link if entry.type == SYMLINK else ""
    major, minor = (entry.devmajor, entry.devminor) if numbers else (0, 0)
    text = (
        f"namemode{mode}uid{entry.uid}gid{entry.gid}size{entry.size}typeflag{entry.type}linkname{link}"
        f"unamegnamedevmajor{major}devminor{minor}"
    )
    head = text.encode("utf-8", "surrogateescape")
    for name in sorted(entry.xattrs) if entry.xattrs else ():
        if name == "security.capability" or not name.startswith(("security.", "system.")):
            head += name.encode("utf-8", "surrogateescape") + entry.xattrs[name]
    return head


def _split(path: str) -> tuple[str, str]:
    """Split a path before the first name that has wildcards; "" stands for the root."""
    parts = path.strip("/").split("/")
    first = next((number for number, part in enumerate(parts) if has_wildcards(part)), len(parts))
    return "".join("/" + part for part in parts[:first]), "/".join(parts[first:])
