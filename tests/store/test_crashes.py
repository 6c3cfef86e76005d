"""The store when processes die, run at once, or cannot write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pybuild_magic.errors import StoreError
from pybuild_magic.store import Entry, Store, write_layer
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals")
ROOT = Path(__file__).parent.parent.parent


def crashing(*arguments: str | Path) -> None:
    script = Path(__file__).with_name("crashing.py")
    subprocess.run(
        [sys.executable, script, *arguments], check=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


@posix
def test_fifty_kills_leave_the_store_in_order(tmp_path: Path) -> None:
    crashing(tmp_path / "store", "kill", "50")


@posix
def test_processes_share_a_store(tmp_path: Path) -> None:
    crashing(tmp_path / "store", "beside", "4")


@posix
def test_processes_make_a_store_together(tmp_path: Path) -> None:
    crashing(tmp_path, "opening", "8")


def open_to_all(path: Path) -> None:
    """Let other users reach a directory of this test."""
    while path.parent != path and path != Path(tempfile.gettempdir()):
        path.chmod(0o755)
        path = path.parent


def in_child(action: Callable[[], None]) -> str:
    """What a StoreError of `action`, run in a process of its own, says."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()
        except StoreError as error:
            os.write(write, str(error).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0, "no StoreError"
    return said


def big(store: Store) -> None:
    write_layer(store, [(Entry("big", size=20 << 20), bytes(20 << 20))])


@posix
def test_a_file_size_limit_is_a_sentence(tmp_path: Path) -> None:
    import resource

    with Store(tmp_path / "store") as store:

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))
            big(store)

        assert "No space is left for the store at" in in_child(limited)
        collect_garbage(store)
        assert fsck(store) == [] and not list((store.root / "ingest").iterdir())


def test_a_store_that_something_else_took_away_is_told(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        shutil.rmtree(store.root / "ingest")
        with pytest.raises(StoreError, match=r"failed while writing a blob: .*No such file") as caught:
            store.blobs.put(b"hello")
        assert caught.value.hint == "Something else has removed a part of it: restart the kernel."
    with Store(tmp_path / "store") as store:
        assert store.blobs.read(store.blobs.put(b"hello")) == b"hello"


@posix
def test_too_many_open_files_is_a_sentence(tmp_path: Path) -> None:
    import resource

    with Store(tmp_path / "store") as store:

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
            store.blobs.ingest()

        assert "raise the limit (ulimit -n)" in in_child(limited)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], check=False)
    if mount.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with Store(tmp_path / "store") as store:
            small = write_layer(store, [(Entry("small", size=5), b"hello")])
            with pytest.raises(StoreError, match=r"No space is left for the store at .*prune"):
                big(store)
            filler = tmp_path / "filler"
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))
            with pytest.raises(StoreError, match=r"(space|full)"):
                for number in range(1000):
                    store.blobs.put(b"%d" % number)
            filler.unlink()
            assert store.has_layer(small.diff_id)
            collect_garbage(store)
            assert fsck(store) == []
            write_layer(store, [(Entry("again", size=5), b"hello")])
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@posix
def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    fixed = tmp_path / "fixed"
    fixed.mkdir(mode=0o755)
    Store(fixed / "store").close()
    (fixed / "store").chmod(0o555)  # of its own user, too
    fixed.chmod(0o555)

    def unprivileged(root: Path) -> Callable[[], None]:
        def action() -> None:
            if os.geteuid() == 0:
                os.setuid(65534)
            Store(root).images.list()

        return action

    for root in (fixed / "new", fixed / "store"):
        assert "PYBUILD_HOME" in in_child(unprivileged(root))


@posix
def test_an_ordinary_user_has_a_store_too(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid() == 0:
        os.chown(home, 65534, 65534)

    def action() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        with Store(home / "store") as store, store.lease():
            layer = write_layer(
                store, [(Entry("dev", "3", devmajor=1, devminor=3), None), (Entry("f", uid=0, size=1), b"x")]
            )
            merged = store.tree([layer.diff_id])
            if fsck(store) == [] and merged.get("dev").devminor == 3 and merged.get("f").uid == 0:
                raise StoreError("all is well")

    assert in_child(action) == "all is well"
