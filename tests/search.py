"""Look for bytes in the files of a place where others may still be at work."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def holders(root: Path, *needles: bytes) -> list[Path]:
    """Return the regular files below `root` that hold one of the needles.

    Unlike Path.rglob before Python 3.13, this bears that directories go meanwhile, as a store's old work does.
    """
    found: list[Path] = []
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    data = path.read_bytes()
                    found += [path] if any(needle in data for needle in needles) else []
    return found
