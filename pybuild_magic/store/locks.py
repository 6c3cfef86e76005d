"""Locks on files, which the system lets go of when their process dies."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 0x7FFFFFFE
    """Nobody else can read a byte that is locked, so it is one that no lock file and no small blob has."""

    def _try_lock(fd: int, shared: bool) -> bool:  # noqa: ARG001 - Windows knows only exclusive ones
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(fd, 0, os.SEEK_SET)
        return True

    def remove_locked(path: Path, fd: int) -> None:
        """Remove a file that `lock_file` has locked, and close it."""
        os.close(fd)  # An open file cannot be removed, and so neither can one that someone else has locked since.
        with suppress(PermissionError):
            path.unlink(missing_ok=True)

else:
    import fcntl

    def _try_lock(fd: int, shared: bool) -> bool:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def remove_locked(path: Path, fd: int) -> None:
        """Remove a file that `lock_file` has locked, and close it."""
        try:
            path.unlink(missing_ok=True)
        finally:
            os.close(fd)


_POLL_SECONDS = 0.01
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Lock an open file without waiting; False when someone else, in this process or another, has it."""
    return _try_lock(fd, shared)


def lock_file(path: Path, *, shared: bool = False) -> int | None:
    """Open (or make) and lock the file at `path`; its descriptor, whose closing unlocks it, or None when taken.

    A file that was removed between opening and locking does not count: the lock is on what is at `path` now.
    """
    while True:
        fd = os.open(path, _FLAGS, 0o600)
        if not try_lock(fd, shared=shared):
            os.close(fd)
            return None
        try:
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)


def lock_file_waiting(path: Path) -> int:
    """As `lock_file`, and wait until it can be locked."""
    while (fd := lock_file(path)) is None:
        time.sleep(_POLL_SECONDS)
    return fd
