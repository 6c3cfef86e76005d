"""Trees of any kind are deleted, with few descriptors; one that cannot be deleted does not keep the others."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox.helper import mounts
from pybuild_magic.removal import remove_tree
from pybuild_magic.store import Store
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck
from tests.descriptors import few_descriptors

Remove = Callable[[Path], None]
WAYS: dict[str, Remove] = {"store": remove_tree, "helper": lambda path: mounts.remove_tree(str(path))}


def deep(top: Path, depth: int) -> None:
    """Directories in each other, with a file in each tenth."""
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for number in range(depth):
        os.mkdir("d", 0o755, dir_fd=fd)
        if number % 10 == 0:
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            os.symlink("/", "link", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


@pytest.mark.parametrize("way", WAYS)
def test_a_tree_deeper_than_paths_and_descriptors_go_is_deleted(tmp_path: Path, way: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "stays").touch()
    deep(tmp_path / "tree", 2500)
    (tmp_path / "tree/out").symlink_to(outside)
    with few_descriptors(48):
        WAYS[way](tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "stays").exists()


REMOVE = """
import os, sys
from pybuild_magic.removal import remove_tree
os.chdir(sys.argv[1])
os.setgid(54321), os.setuid(54321)
remove_tree("tree")
"""


def test_directories_without_permissions_are_deleted_by_an_ordinary_user() -> None:
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as place:  # pytest's own directories are closed to other users
        tree = Path(place) / "tree"
        (tree / "closed/in it").mkdir(parents=True)
        (tree / "closed/in it/file").touch()
        deep(tree / "far", 100)
        for path in (tree / "closed/in it", tree / "closed", tree / "far/d/d", tree / "far"):
            path.chmod(0)
        if root:
            for folder, names, files in os.walk(place):
                for name in (*names, *files):
                    os.chown(f"{folder}/{name}", 54321, 54321, follow_symlinks=False)
            os.chown(place, 54321, 54321)
            done = subprocess.run([sys.executable, "-c", REMOVE, place], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        else:
            remove_tree(tree)
        assert not tree.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what nobody can delete")
@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_deleted_does_not_keep_the_rest(tmp_path: Path, store: Store, way: str) -> None:
    """A mount in it is what even root cannot delete."""
    store.remove_tree = WAYS[way]
    trees = [store.root / "trash" / name for name in "abc"]
    for tree in trees:
        (tree / "x/busy").mkdir(parents=True)
        (tree / "x/file").touch()
        (tree / "y").touch()
    busy = trees[1] / "x/busy"
    if subprocess.run(["mount", "-t", "tmpfs", "none", busy], check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        with pytest.raises(OSError, match="busy"):
            WAYS[way](trees[1])
        assert [path.name for path in trees[1].rglob("*")] == ["x", "busy"]
        collect_garbage(store)
        assert [path.name for path in (store.root / "trash").iterdir()] == ["b"]
        [problem] = fsck(store, repair=True)
        assert (problem.kind, problem.repaired) == ("orphan", False)
        assert "cannot be deleted" in problem.message
    finally:
        subprocess.run(["umount", busy], check=True)
    assert fsck(store, repair=True) == []
    assert not any((store.root / "trash").iterdir())


def test_a_file_and_a_link_are_deleted_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    remove_tree(tmp_path / "link")
    assert (tmp_path / "file").exists()
    remove_tree(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "file")
