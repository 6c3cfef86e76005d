"""Look for bytes and names in a place where others may still be at work, which Path.glob before 3.13 does not bear."""

from __future__ import annotations

import fnmatch
import os
from contextlib import suppress
from pathlib import Path


def holders(root: Path, *needles: bytes) -> list[Path]:
    """Return the regular files below `root` that hold one of the needles."""
    found: list[Path] = []
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    data = path.read_bytes()
                    found += [path] if any(needle in data for needle in needles) else []
    return found


def cgroups(pattern: str) -> list[Path]:
    """Return the cgroups, of either version, whose names match."""
    walked = os.walk("/sys/fs/cgroup")
    return [Path(folder, name) for folder, names, _ in walked for name in fnmatch.filter(names, pattern)]
