"""A process that may open only a few more files."""

from __future__ import annotations

import gc
import resource
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    """Let this process open no descriptor that is more than `count` above those it has open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name.name) for name in Path("/proc/self/fd").iterdir()) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, used + count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def opened(name: str) -> int:
    """How many descriptors of this process are of files of that name."""
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.name == name for link in links)


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Keep what nobody refers to any more, so that a descriptor is closed by who opened it or not at all."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
