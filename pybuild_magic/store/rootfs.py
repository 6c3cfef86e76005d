"""Directories of extracted layers, kept for the next RUN that needs them. They can be made again from the layers."""

from __future__ import annotations

import hashlib
import math
import os
import stat
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import StoreError
from ..oci.digest import is_digest
from .blobfiles import disk_errors, now
from .database import Database
from .entry import BLOCK, CHAR, FILE, HARDLINK, Entry
from .layer import Layer
from .leases import Leases
from .locks import lock_file, remove_locked
from .merge import WHITEOUT, Unpacked
from .uses import Uses

_SEAL = "seal"
"""The file that tells whether the directory is still as it was made."""
_GROWING = "lazy"
"""The sandbox's table of names that are made, in the directory, when somebody looks for them."""
_LONGEST = 4000
"""The most bytes of a path that is checked; anything deeper was made together with what is above it."""


def _seal(path: Path) -> str:
    if (path / "image").exists():
        return f"image {_digest(path / 'image')}"
    # Owner and mode of the top directory never change, so its ctime changes only when a name in it does.
    return f"fs {(path / 'fs').lstat().st_ctime_ns}" if (path / "fs").is_dir() else "nothing"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _matches(root: bytes, name: str, entry: Entry, *, growing: bool) -> bool:
    """Return whether the file is as the entry says; in a `growing` directory, whose names are made when they are looked
    for, it may not be there yet.
    """
    place = root + b"/" + os.fsencode(name)
    if entry.type in (CHAR, BLOCK) or len(place) > _LONGEST:
        return True  # devices are missing where the system does not allow them
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        return growing
    except NotADirectoryError:
        return False
    if entry.type == HARDLINK:
        return not stat.S_ISDIR(status.st_mode)
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(entry.st_mode):
        return False
    return entry.type != FILE or status.st_size == entry.size


class RootfsDirs:
    """Finished directories under `rootfs/`, and working directories, which become finished ones, under `work/`.

    A key is a digest: the layer's diffID, or its chain ID if the extracted files depend on the layers below.
    A working directory belongs to the process that made it, and is removed when the process is gone.
    """

    def __init__(
        self,
        root: Path,
        db: Database,
        leases: Leases,
        uses: Uses,
        layer: Callable[[str], Layer],
        remove_tree: Callable[[Path], None],
    ) -> None:
        self._root = root
        self._db = db
        self._leases = leases
        self._uses = uses
        self._layer = layer
        self._remove_tree = remove_tree
        self._lock = threading.Lock()
        self._lock_fd = -1
        self._owner = ""
        self._pid = 0
        self._verified: dict[str, tuple[int, int, int]] = {}
        """By key: size, time and inode of images that were compared with their digests."""

    def get(self, key: str) -> Path | None:
        """Return the directory of `key`, or None; during a lease, it stays until the lease ends.

        A directory that a quick check finds damaged is forgotten, since it can be made again.
        """
        if self._uses.mark("rootfs", "key", key) is None:
            return None
        path = self._path(key)
        if self._sealed(key, path):
            return path
        self.evict(key)
        return None

    def _sealed(self, key: str, path: Path) -> bool:
        """Return whether the image is unchanged, or whether no name at the top of the directory has changed."""
        try:
            kind, _, rest = (path / _SEAL).read_text("ascii").partition(" ")
            if kind == "image":
                status = (path / "image").stat()
                now_there = status.st_size, status.st_mtime_ns, status.st_ino
                if self._verified.get(key) != now_there:
                    if rest != _digest(path / "image"):
                        return False
                    self._verified[key] = now_there
                return True
            return kind != "fs" or int(rest) == (path / "fs").lstat().st_ctime_ns
        except (OSError, ValueError):
            return False

    def damage(self, key: str, diff_id: str) -> str:
        """Return the fault of the directory of `key`, or "", after looking for every entry of its layer."""
        path = self._path(key)
        self._verified.pop(key, None)
        if not path.is_dir():
            return "is gone"
        if not self._sealed(key, path):
            return "is damaged"
        if not (path / "fs").is_dir():
            return ""
        growing = (path / _GROWING).exists()
        try:
            for name, node in Unpacked(diff_id, self._layer(diff_id).index).walk():
                if node is not WHITEOUT and not _matches(os.fsencode(path / "fs"), name, node.entry, growing=growing):
                    return f'differs from its layer at "/{name}"'
        except (PermissionError, StoreError):
            return ""  # files of subordinate users cannot be checked, and a missing layer is reported separately
        return ""

    def workdir(self) -> Path:
        """Return a new empty directory on the store's file system."""
        with disk_errors(self._root, "making a working directory"), self._lock:
            if self._pid != os.getpid():
                owner, fd = "", None
                while fd is None:  # a collection may be looking at it right now
                    owner = f"{os.getpid()}-{os.urandom(6).hex()}"
                    fd = lock_file(self._root / "work" / f"{owner}.lock")
                (self._root / "work" / owner).mkdir(mode=0o700)
                self._lock_fd, self._owner, self._pid = fd, owner, os.getpid()
            path = self._root / "work" / self._owner / os.urandom(8).hex()
            path.mkdir(mode=0o755)
            path.chmod(0o755)
            return path

    def close(self) -> None:
        """Remove the folder of this process's working directories, if it is empty."""
        with self._lock:
            place = self._root / "work" / self._owner
            if self._pid != os.getpid() or any(place.iterdir()):
                return
            place.rmdir()
            remove_locked(place.with_name(f"{self._owner}.lock"), self._lock_fd)
            self._owner, self._pid = "", 0

    def commit(self, key: str, path: Path, diff_id: str, size: int = 0) -> Path:
        """Make a working directory the directory of `key`; it is deleted when the layer `diff_id` is.

        Returns its new path. If another process was faster, that process's directory is returned and `path` removed.
        """
        target = self._path(key)
        moment = now()
        with disk_errors(self._root, "keeping a layer's directory"), self._db.write() as connection:
            is_first = not connection.execute("SELECT 1 FROM rootfs WHERE key = ?", (key,)).fetchone()
            if is_first and target.exists():
                target.rename(self._root / "trash" / os.urandom(8).hex())
            if is_first:
                (path / _SEAL).write_text(_seal(path), "ascii")
                path.rename(target)
                row = (key, diff_id, size, moment, moment)
                connection.execute("INSERT INTO rootfs VALUES (?, ?, ?, ?, ?)", row)
        if not is_first:
            self.discard(path)
            self._uses.mark("rootfs", "key", key)
        return target

    def resize(self, key: str, size: int) -> None:
        """Record the size that the directory of `key` has now."""
        with self._db.write() as connection:
            connection.execute("UPDATE rootfs SET size = ? WHERE key = ?", (size, key))

    def discard(self, path: Path) -> None:
        """Remove a working directory."""
        if path.exists():
            self._remove_tree(path)

    def evict(self, key: str, *, unused: bool = False) -> bool:
        """Forget the directory of `key` and remove it; with `unused`, only if no running build uses it.

        Returns whether it was forgotten.
        """
        target = self._path(key)
        trash = self._root / "trash" / os.urandom(8).hex()
        with self._db.write() as connection:
            before = self._leases.horizon() if unused else math.inf
            sql = "DELETE FROM rootfs WHERE key = ? AND last_used < ? RETURNING 1"
            if not connection.execute(sql, (key, before)).fetchall() and unused:
                return False
        with self._db.write() as connection:
            if not connection.execute("SELECT 1 FROM rootfs WHERE key = ?", (key,)).fetchone() and target.exists():
                target.rename(trash)
        if trash.exists():
            with suppress(OSError, StoreError):  # it does no harm, and the next collection tries again
                self._remove_tree(trash)
        return True

    def _path(self, key: str) -> Path:
        if not is_digest(key):
            raise StoreError(f"{key!r} is not a digest: it has the form sha256:<64 hex digits>.")
        return self._root / "rootfs" / key.partition(":")[2]

    @contextmanager
    def dead_workdirs(self) -> Generator[list[Path]]:
        """Yield the working directories whose processes are gone; nobody else removes them during the block."""
        work = self._root / "work"
        fds: list[int] = []
        locks: list[Path] = []
        dead: list[Path] = []
        for owner in {path.name.removesuffix(".lock") for path in work.iterdir()} - {self._owner}:
            lock = work / f"{owner}.lock"
            fd = lock_file(lock)
            if fd is not None:
                fds.append(fd)
                locks.append(lock)
                dead.append(work / owner)
        try:
            yield dead
        finally:
            for fd, lock in zip(fds, locks, strict=True):
                with suppress(OSError):
                    remove_locked(lock, fd)
