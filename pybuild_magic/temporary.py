"""Temporary files and directories, for which a container may have no place: a read-only root and no /tmp."""

from __future__ import annotations

import tempfile
from typing import IO

from .errors import BuildError, UnsupportedError


def temporary_directory(prefix: str = "pybuild-") -> tempfile.TemporaryDirectory[str]:
    """Return a new directory, removed at the end of its block. Raises UnsupportedError where none can be made."""
    try:
        return tempfile.TemporaryDirectory(prefix=prefix)
    except OSError as error:
        raise _error("directory", error) from error


def temporary_file() -> IO[bytes]:
    """Return a file without a name. Raises UnsupportedError where none can be made."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _error("file", error) from error


def _error(kind: str, error: OSError) -> BuildError:
    return UnsupportedError(
        f"No temporary {kind} can be made: {error.strerror or error}.",
        hint="Set TMPDIR to a directory that you can write to; `%build doctor` shows how a container gets one.",
    )
