"""A few megabytes that are set aside for a full disk, where even deleting needs room: the records of it are written."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZES = (4 << 20, 2 << 20, 1 << 20)
"""Bytes: as many of them as the disk has room for."""


class Reserve:
    """A file that takes room, and gives it back to whoever makes more. Other processes may use it too."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self) -> None:
        """Make the file, unless it is there, or the disk has no room for it."""
        if not sys.platform.startswith("linux"):
            return
        try:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            for size in SIZES:
                with suppress(OSError):
                    os.posix_fallocate(fd, 0, size)
                    return
                os.ftruncate(fd, 0)
            self.spend()
        finally:
            os.close(fd)

    def spend(self) -> bool:
        """Remove the file, and return whether it was there."""
        with suppress(OSError):
            self.path.unlink()
            return True
        return False

    @contextmanager
    def spent(self) -> Generator[None]:
        """Do without the file during a block that makes room."""
        self.spend()
        try:
            yield
        finally:
            self.keep()
