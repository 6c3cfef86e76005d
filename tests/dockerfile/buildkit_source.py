"""BuildKit's own parser files and lexer cases, read from the checkout that PYBUILD_BUILDKIT_SOURCE names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = "frontend/dockerfile/"
_SOURCE = os.environ.get("PYBUILD_BUILDKIT_SOURCE", "")

needs_source = pytest.mark.skipif(
    not _SOURCE, reason="set PYBUILD_BUILDKIT_SOURCE to a checkout, or a bare repository, of moby/buildkit"
)


def read(path: str) -> bytes:
    """A file under frontend/dockerfile/."""
    if (Path(_SOURCE) / ROOT).is_dir():
        return (Path(_SOURCE) / ROOT / path).read_bytes()
    return _git("show", f"HEAD:{ROOT}{path}")


def folders(path: str) -> list[str]:
    """The names of the folders in a folder under frontend/dockerfile/; none when there is no source."""
    if not _SOURCE:
        return []
    if (Path(_SOURCE) / ROOT).is_dir():
        return sorted(p.name for p in (Path(_SOURCE) / ROOT / path).iterdir() if p.is_dir())
    listed = _git("ls-tree", "-d", "--name-only", f"HEAD:{ROOT}{path}").decode()
    return sorted(listed.split())


def _git(*args: str) -> bytes:
    return subprocess.run(["git", "-C", _SOURCE, *args], check=True, capture_output=True).stdout
