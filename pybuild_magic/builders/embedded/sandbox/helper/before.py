"""The files before a RUN: in the directories of layers, or in the record of an extraction."""

from __future__ import annotations

import marshal
import os
import stat

from .extract import OPAQUE
from .lazy import open_content
from .owners import read_paths
from .properties import Info, believe, is_opaque, join, look, order_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .extract import Recorded
    from .owners import Owner
    from .reach import Reach

_OPAQUE = os.fsencode(f"/{OPAQUE}")
_BLOCK = 1 << 18
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class StackBase:
    """The files before a RUN, in the directories of the lower layers (bottom first), looked up as overlayfs does.

    Mounting the layers for the lookup would cost more, and need root.
    """

    def __init__(
        self, lower: list[str], reach: Reach, before: dict[int, Owner] | None = None, *, traced: bool = False
    ) -> None:
        self.reach = reach
        self.before = before
        """The owners of the layers' files by inode, where a tracer remembers owners in namespaces."""
        self.owners: dict[bytes, dict[bytes, Owner]] = {}
        """For a traced root, the owners of a layer's paths, by the layer's root."""
        if traced:
            self.owners = {os.fsencode(path): read_paths(f"{path}/../owners") for path in lower}
        self.merged: dict[bytes, list[bytes]] = {b"": [os.fsencode(path) for path in reversed(lower)]}
        """By the path of a directory, the roots of the layers that contribute to it, topmost first."""

    def get(self, path: bytes) -> Info | None:
        """Return the earlier properties of `path`."""
        for root in self.directories(path.rpartition(b"/")[0]):
            try:
                info = look(self.reach(root, path), self.before)
            except FileNotFoundError:
                continue
            if info.is_whiteout or (self.owners and stat.S_ISSOCK(info.mode)):
                return None
            if self.owners:
                believe(info, self.owners[root].get(path))
            return info
        return None

    def directories(self, path: bytes) -> list[bytes]:
        """Return the roots of the layers that together form the directory `path`; none when there was no directory."""
        if (known := self.merged.get(path)) is not None:
            return known
        todo = [path]
        while (parent := todo[-1].rpartition(b"/")[0]) not in self.merged:
            todo.append(parent)
        while todo:
            path = todo.pop()
            self.merged[path] = self._showing(path, self.merged[path.rpartition(b"/")[0]])
        return self.merged[path]

    def _showing(self, path: bytes, roots: list[bytes]) -> list[bytes]:
        showing: list[bytes] = []
        for root in roots:
            place = self.reach(root, path)
            try:
                mode = os.lstat(place).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(mode):
                break
            showing.append(root)
            if os.path.lexists(place + _OPAQUE) if self.owners else is_opaque(place):
                break
        return showing

    def walk(self, start: bytes) -> Iterator[tuple[bytes, Info]]:
        """Yield everything that was below `start`; nothing when it was not a directory."""
        stack = [(start, self.names(start))]
        while stack:
            directory, names = stack[-1]
            name = next(names, None)
            if name is None:
                stack.pop()
                continue
            path = join(directory, name)
            info = self.get(path)
            if info is not None:
                yield path, info
                if info.is_dir:
                    stack.append((path, self.names(path)))

    def names(self, path: bytes) -> Iterator[bytes]:
        """Return the names in a directory, sorted, including names that a layer deletes."""
        names = {name for root in self.directories(path) for name in os.listdir(self.reach(root, path))}
        return iter(sorted(names - {_OPAQUE[1:]} if self.owners else names))

    def same_content(self, path: bytes, old: Info, new: int) -> bool:
        """Return whether the file at `path` had the same content as the open file `new`, which has the same size."""
        del old
        for root in self.directories(path.rpartition(b"/")[0]):
            try:
                fd = os.open(self.reach(root, path), READ)
            except FileNotFoundError:
                continue
            try:
                content, offset = open_content(root, fd) if self.owners else (os.dup(fd), 0)
            finally:
                os.close(fd)
            try:
                return _same_bytes(content, offset, new)
            finally:
                os.close(content)
        return False


class RecordBase:
    """The files before a RUN, in the record written by the extraction; contents are in the layers' tars."""

    def __init__(self, path: str, blobs: list[str], owners: dict[int, Owner] | None) -> None:
        with open(path, "rb") as file:
            rows: dict[bytes, Recorded] = marshal.load(file)
        self.infos = {path: Info(row) for path, row in rows.items()}
        if owners is not None:
            for info in self.infos.values():
                believe(info, owners.get(info.ino))
        self.blobs = blobs

    def own(self, owners: dict[bytes, Owner]) -> None:
        """Use a table of owners by path; a file that is not in it belongs to root."""
        for path, info in self.infos.items():
            believe(info, owners.get(path))

    def get(self, path: bytes) -> Info | None:
        """Return the earlier properties of `path`."""
        return self.infos.get(path)

    def walk(self, start: bytes) -> Iterator[tuple[bytes, Info]]:
        """Yield everything that was below `start`."""
        prefix = start + b"/" if start else b""
        paths = [path for path in self.infos if path.startswith(prefix)]
        for path in sorted(paths, key=order_of):
            yield path, self.infos[path]

    def same_content(self, path: bytes, old: Info, new: int) -> bool:
        """Return whether the file at `path` had the same content as the open file `new`, which has the same size."""
        del path
        fd = os.open(self.blobs[old.blob], os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _same_bytes(fd, old.offset, new)
        finally:
            os.close(fd)


def _same_bytes(fd: int, offset: int, other: int) -> bool:
    at = 0
    while block := os.pread(other, _BLOCK, at):
        if os.pread(fd, len(block), offset + at) != block:
            return False
        at += len(block)
    return True
