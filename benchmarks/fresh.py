"""Fresh places to measure in: what was deleted before must not count."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

_SIZE = 64 << 30
"""The most bytes that exports may take: the file of the file system is sparse."""


def fresh(scratch: Path) -> Path:
    """Return a path in `scratch` that does not exist."""
    return scratch / f"{os.urandom(6).hex()}"


@contextmanager
def file_system(scratch: Path) -> Generator[Path]:
    """Yield a directory on an ext4 of its own or, where this user may not mount one, in `scratch`.

    Where thousands of files were deleted in the last minutes, ext4 looks at each of their inodes before it makes a new
    file, so that the time of an export would tell what ran before it.
    """
    image, place = scratch / "outputs.ext4", scratch / "outputs"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(_SIZE)
    try:
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        print("exports are measured on a file system with earlier deletions: no other can be mounted here")
        yield place
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
