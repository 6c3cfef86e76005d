"""Contexts as deep as they come, on a machine that opens few files: all of it is walked, or it is told."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.errors import ContextError
from pybuild_magic.exporters.directory import keep_only
from pybuild_magic.removal import remove_tree
from pybuild_magic.session import DirSource
from pybuild_magic.store.entry import DIR, FILE, Entry
from tests.descriptors import few_descriptors


def _deep(root: Path, levels: int) -> None:
    """`levels` directories of 9 bytes in each other, with a file below, made as no path could name them."""
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for level in range(levels):
        name = f"d{level:08}"
        os.mkdir(name, dir_fd=fd)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("last", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)


@pytest.fixture
def few() -> Iterator[None]:
    with few_descriptors(96):
        yield


@pytest.mark.usefixtures("few")
def test_a_thousand_levels_are_walked_with_few_descriptors(tmp_path: Path) -> None:
    _deep(tmp_path / "root", 1000)
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208
    most = 0
    found: list[str] = []
    for entry in DirSource(tmp_path / "root").walk():
        found.append(entry.path)
        most = max(most, len(os.listdir("/dev/fd")))  # noqa: PTH208
    assert len(found) == 2001
    assert max(found, key=len).count("/") == 1000
    assert found[-1] == "f"  # of the root, to which the walk has come back
    assert most - before <= 70
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
    walk = DirSource(tmp_path / "root").walk()
    for _ in range(500):
        next(walk)
    walk.close()
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
    remove_tree(tmp_path / "root")  # pytest's own deletion is not up to such trees


@pytest.mark.usefixtures("few")
def test_a_directory_that_cannot_be_opened_is_never_left_out(tmp_path: Path) -> None:
    _deep(tmp_path / "root", 100)
    source = DirSource(tmp_path / "root")
    taken: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/", os.O_RDONLY))
        for use in (lambda: list(source.walk()), lambda: source.names("d00000000"), lambda: source.stat("d00000000/f")):
            with pytest.raises(ContextError, match=r"of the context cannot be read|The context cannot be read"):
                use()
        for fd in taken[:20]:
            os.close(fd)
        del taken[:20]
        with pytest.raises(
            ContextError, match=r"The directory d00000000/.* of the context cannot be read: Too many open"
        ):
            list(source.walk())
    finally:
        for fd in taken:
            os.close(fd)


def test_a_directory_that_is_moved_while_it_is_walked_is_told(tmp_path: Path) -> None:
    _deep(tmp_path / "root", 100)
    walk = DirSource(tmp_path / "root").walk()
    for entry in walk:
        if entry.path.endswith("last"):
            break
    moved = "/".join(f"d{level:08}" for level in range(30))
    (tmp_path / "root" / moved).rename(tmp_path / "elsewhere")
    with pytest.raises(ContextError, match=r"The directory d0.*/d00000028 of the context was moved while it was read"):
        list(walk)


@pytest.mark.usefixtures("few")
def test_what_is_left_of_an_older_output_is_removed_at_any_depth(tmp_path: Path) -> None:
    _deep(tmp_path / "root", 1000)
    path = "d00000000"
    kept = [Entry(path, DIR)]
    for level in range(1, 1000):
        path += f"/d{level:08}"
        kept.append(Entry(path, DIR))
    kept.append(Entry(f"{path}/last", FILE))
    keep_only(tmp_path / "root", kept)
    found = [entry.path for entry in DirSource(tmp_path / "root").walk()]
    assert found == [entry.path for entry in kept]
    remove_tree(tmp_path / "root")
