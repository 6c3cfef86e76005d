"""The places where an exporter's result goes on the user's side: a file or a directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import ExportError, unwritable
from ..portable import at, user_path


class FileSink:
    """A path or an open binary file that takes an archive."""

    def __init__(self, target: str | os.PathLike[str] | BinaryIO) -> None:
        named = isinstance(target, str | os.PathLike)
        self.path: Path | None = user_path(target) if named else None
        self.file: BinaryIO | None = None if named else target

    @contextmanager
    def open(self) -> Generator[BinaryIO]:
        """Yield a file to write and seek in. The previous content of the path stays until all is written.

        Raises `ExportError` when the file cannot be written, for example because the disk is full.
        """
        if self.file is not None:
            yield self.file
            return
        assert self.path is not None
        try:
            if self.path.exists() and not self.path.is_file():
                with self.path.open("wb") as device:
                    yield device
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd, name = tempfile.mkstemp(prefix=f".{self.path.name[:200]}.", dir=self.path.parent)
            try:
                with os.fdopen(fd, "w+b") as part:
                    yield part
                    part.flush()
                    at.fchmod(part.fileno(), 0o666 & ~_umask())
                Path(name).replace(self.path)
            except BaseException:
                with suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as error:
            raise unwritable(self.path, error) from error


class DirSink:
    """A directory that takes a tree of files; it is created when missing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = user_path(path)

    def make(self) -> Path:
        """Create the directory if need be, and return it. Raises `ExportError` when it cannot be created or written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(f"{self.path} cannot be made: {error.strerror or error}.") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise ExportError(f"{self.path} cannot be written.")
        return self.path


Sink = FileSink | DirSink


def _umask() -> int:
    """Return the process's umask, without changing it where the system allows: a change affects all threads."""
    try:
        with Path("/proc/self/status").open(encoding="utf-8") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    return 0o022
