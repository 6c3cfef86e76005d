"""The owners of files in cache mounts and volumes where there is a single id: a table beside each directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....store import Store

if TYPE_CHECKING:
    from .helper.owners import Owner


def fill(directory: Path, table: Path, below: str) -> None:
    """Add the entries of a table, which names files by path, for files that were just put into the directory
    `below`.
    """
    from .helper.owners import read_paths

    by_inode: dict[int, Owner] = {}
    for path, owner in read_paths(str(table)).items():
        place = Path(os.fsdecode(path))
        if place.is_relative_to(below):
            by_inode[(directory / place.relative_to(below)).lstat().st_ino] = owner
    _write(directory, by_inode)


class CacheOwners:
    """The tables of the cache mounts and volumes of one RUN, before and after it."""

    def __init__(self, store: Store, directories: Sequence[Path]) -> None:
        self._store = store
        self._before = {directory: _read(directory) for directory in directories}

    def keep(self, table: str) -> None:
        """Save the tracer's entries for files that are now in the cache mounts.

        Entries that another RUN on the same cache mount saved meanwhile are kept.
        """
        from .helper.owners import load, read

        recorded = read(table) if self._before and Path(table).exists() else {}
        for directory, before in self._before.items():
            device = directory.stat().st_dev
            own = {inode: owner for (dev, inode), owner in recorded.items() if dev == device}
            if not own and not before:
                continue
            present = set(_inodes(directory))
            with self._store.db.write():  # one process at a time
                now = _read(directory)
                others = {} if now == before else {inode: owner for (_, inode), owner in load(now).items()}
                _write(directory, {inode: owner for inode, owner in (others | own).items() if inode in present})


def _read(directory: Path) -> bytes:
    from .helper.owners import beside

    try:
        return Path(beside(str(directory))).read_bytes()
    except FileNotFoundError:
        return b""


def _write(directory: Path, owners: dict[int, Owner]) -> None:
    from .helper.owners import beside, write

    file = beside(str(directory))
    device = directory.stat().st_dev
    write(f"{file}.part", (((device, inode), owner) for inode, owner in owners.items()))
    Path(f"{file}.part").replace(file)


def _inodes(directory: Path) -> Iterator[int]:
    """Return the inodes of the directory and of everything in it that this user may see."""
    yield directory.stat().st_ino
    todo = [os.fspath(directory)]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    yield entry.inode()
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            continue
