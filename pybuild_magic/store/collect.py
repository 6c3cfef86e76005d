"""Garbage collection: first the records that nothing needs, then every file without a record."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..portable import CAN_RENAME_OPEN_FILES
from .blobfiles import disk_errors
from .locks import lock_file, remove_locked
from .references import references

if TYPE_CHECKING:
    from .store import Store


def collect_garbage(store: Store) -> int:
    """Delete what no image, cache record, history entry or lease needs, and return the bytes freed.

    A process that dies in the middle leaves files without records, which the next collection deletes. What another
    process publishes meanwhile is never deleted: both look and act under the database's write lock.
    """
    with store.db.reserve.spent():
        directories = _forget(store)
        with disk_errors(store.root, "collecting garbage"):
            return directories + _sweep(store) + _sweep_ingests(store)


def remove_images(store: Store, names: Iterable[str]) -> int:
    """Remove images by name, delete what nothing else needs, and return the bytes freed."""
    with store.db.reserve.spent():
        for name in names:
            store.images.remove(name)
        return collect_garbage(store)


def _forget(store: Store) -> int:
    """Delete the records that nothing needs, and return the bytes of the directories that then have none."""
    with store.db.write() as connection:
        keep = references(store, connection, store.leases.horizon())
        for table, column, alive in (
            ("layers", "diff_id", keep.layers),
            ("parts", "digest", keep.blobs),
            ("blobs", "digest", keep.blobs),
        ):
            rows = connection.execute(f"SELECT {column} FROM {table}").fetchall()  # noqa: S608 - our own names
            dead = [row for row in rows if row[0] not in alive]
            connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", dead)  # noqa: S608
        connection.execute(
            "DELETE FROM compressed WHERE diff_id NOT IN (SELECT diff_id FROM layers) "
            "AND digest NOT IN (SELECT digest FROM blobs)"
        )
        if connection.execute("DELETE FROM holders WHERE blob NOT IN (SELECT digest FROM blobs)").rowcount:
            connection.execute("DELETE FROM contents WHERE holder NOT IN (SELECT id FROM holders)")
        directories = connection.execute(
            "DELETE FROM rootfs WHERE diff_id NOT IN (SELECT diff_id FROM layers) RETURNING size"
        ).fetchall()
        connection.execute(
            "DELETE FROM aliases WHERE target NOT IN (SELECT key FROM cache UNION SELECT key FROM aliases)"
        )
    return sum(size for (size,) in directories)


def _sweep(store: Store) -> int:
    """Delete files and directories without a record, and return the bytes of the files."""
    freed = 0
    trash = store.root / "trash"
    with store.db.write() as connection:
        blobs = {row[0] for row in connection.execute("SELECT digest FROM blobs")}
        for algorithm in (store.root / "blobs").iterdir():
            for entry in os.scandir(algorithm):
                if f"{algorithm.name}:{entry.name}" not in blobs:
                    size = entry.stat().st_size
                    with _unless_open():
                        Path(entry.path).replace(trash / entry.name)
                        freed += size
        keys = {row[0].partition(":")[2] for row in connection.execute("SELECT key FROM rootfs")}
        for path in (store.root / "rootfs").iterdir():
            if path.name not in keys:
                path.rename(trash / os.urandom(8).hex())
    with store.rootfs.dead_workdirs() as dead:
        for path in dead:
            if path.exists():
                with _left():
                    store.remove_tree(path)
    for path in trash.iterdir():
        with _left():
            if path.is_dir() and not path.is_symlink():
                store.remove_tree(path)
            else:
                path.unlink()
    return freed


@contextmanager
def _left() -> Generator[None]:
    """Ignore that something cannot be deleted: the rest goes on, and the next collection or `fsck` sees to it."""
    with suppress(OSError, StoreError):
        yield


@contextmanager
def _unless_open() -> Generator[None]:
    """Ignore that a file cannot be moved because someone has it open: the next collection sees to it."""
    try:
        yield
    except PermissionError:
        if CAN_RENAME_OPEN_FILES:
            raise


def _sweep_ingests(store: Store) -> int:
    freed = 0
    for path in (store.root / "ingest").iterdir():
        with suppress(FileNotFoundError):
            status = path.stat()
            fd = lock_file(path)
            if fd is not None:
                remove_locked(path, fd)
                freed += status.st_size
    return freed
