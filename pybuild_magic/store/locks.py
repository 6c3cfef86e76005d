"""Locks on files, which the system releases when their process dies."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 0x7FFFFFFE
    """Nobody else can read a locked byte, so it is one beyond the end of every lock file and small blob."""

    def _try_lock(fd: int, shared: bool) -> bool:  # noqa: ARG001 - Windows has only exclusive locks
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
        os.close(fd)  # An open file cannot be removed; so the file stays if someone else locks it now.
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
    """Lock an open file without waiting; False if someone else, in this process or another, has locked it."""
    return _try_lock(fd, shared)


def lock_file(path: Path, *, shared: bool = False) -> int | None:
    """Open, or create, and lock the file at `path`; return its descriptor, or None if someone else has locked it.

    Closing the descriptor unlocks the file. If the file was removed between opening and locking, it is opened anew:
    the lock is on the file that is at `path`.
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
    """Lock a file as `lock_file` does, but wait until it can be locked."""
    while (fd := lock_file(path)) is None:
        time.sleep(_POLL_SECONDS)
    return fd
