"""A disk that is full: the sentence that says so, and nothing half done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from hashlib import md5, sha256
from pathlib import Path

import pytest

from pybuild_magic.display.advice import advice
from pybuild_magic.errors import ExportError, RunError, StoreError
from tests.services import require
from tests.services.common import need_root
from tests.services.registry import Registry
from tests.sources.images import make, upload, write_layout

from .lab import Home, close_builder, tmpfs

BASE = "FROM busybox\n"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 20 MB."""
    require(lambda: need_root("mounting a small disk"))
    with tmpfs(tmp_path / "small", "20m") as disk:
        yield disk
        close_builder()


@pytest.fixture
def big(tmp_path: Path) -> str:
    """A context with 32 MB."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "big").write_bytes(os.urandom(32 << 20))
    (context / "small").write_text("small")
    return str(context)


@pytest.fixture
def cramped(store_template: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A store on the small disk."""
    shutil.copytree(store_template, small / "home")
    monkeypatch.setenv("PYBUILD_HOME", str(small / "home"))
    return Home(small / "home")


def usable(home: Home) -> None:
    """The store is whole, and can be used again."""
    home.check()
    assert home.build(f"{BASE}COPY <<E /f\nx\nE\nRUN echo small > /g\n", tags="ok").image is not None


def test_under_the_store_while_a_context_is_copied(cramped: Home, big: str) -> None:
    error = cramped.fails(f"{BASE}COPY big /\n", big)
    assert isinstance(error, StoreError)
    assert "No space is left for the store" in error.message
    assert "PYBUILD_HOME" in error.hint
    assert str(error.location) == "Dockerfile:2"
    usable(cramped)


def test_under_the_store_while_a_command_runs(cramped: Home) -> None:
    error = cramped.fails(f"{BASE}RUN dd if=/dev/zero of=/big bs=1M count=40\n")
    assert isinstance(error, RunError)
    assert any("No space left on device" in line for line in error.logs)
    usable(cramped)


def test_under_the_store_while_a_traced_command_reads_its_base(
    cramped: Home, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracer writes a content into the layer's directory when it is read."""
    subprocess.run([sys.executable, Path(__file__).parents[2] / "native/build.py"], check=True)
    monkeypatch.setenv("PYBUILD_RUNG", "4")
    (tmp_path / "base").mkdir()
    content = os.urandom(2 << 20)
    (tmp_path / "base/big").write_bytes(content)
    cramped.build(f"{BASE}COPY big /\nRUN true\n", str(tmp_path / "base"), tags="base")
    free = os.statvfs(small)
    (small / "other").write_bytes(bytes(free.f_bavail * free.f_bsize - (1 << 20)))
    error = cramped.fails("FROM base\nRUN cat /big > /dev/null\n")
    assert isinstance(error, RunError)
    assert any("No space left on device" in line for line in error.logs)
    assert "A disk is full" in advice(error, error.logs)
    (small / "other").unlink()
    result = cramped.build("FROM base\nRUN md5sum /big\n", tags="again")
    assert md5(content).hexdigest() in "".join(result.logs.values())
    usable(cramped)


def test_under_the_store_while_a_layer_is_made_of_a_command(cramped: Home) -> None:
    error = cramped.fails(f"{BASE}RUN dd if=/dev/urandom of=/big bs=1M count=8\n")
    assert isinstance(error, StoreError)
    assert "space" in error.message
    assert str(error.location) == "Dockerfile:2"
    usable(cramped)


def test_under_the_store_while_layers_are_packed(cramped: Home, big: str) -> None:
    Path(big, "big").write_bytes(os.urandom(7 << 20))
    error = cramped.fails(f"{BASE}COPY big /\n", big, tags="x")
    assert isinstance(error, StoreError)
    assert "space" in error.message
    usable(cramped)


@pytest.mark.parametrize("attrs", ["type=oci", "type=docker", "type=tar", "type=oci,tar=false", "type=local"])
def test_under_the_dest(home: Home, small: Path, big: str, attrs: str) -> None:
    dest = small / "dest"
    error = home.fails("FROM scratch\nCOPY big /\n", big, outputs=f"{attrs},dest={dest}")
    assert isinstance(error, ExportError)
    assert "No space left on device" in error.message
    assert "another disk" in error.hint
    assert str(dest) in error.message
    if "tar=false" not in attrs:  # a layout gets its index last, and without one it is no image
        assert list(small.iterdir()) == []
    else:
        assert not (dest / "index.json").exists()
        for path in (dest / "blobs/sha256").iterdir():
            assert sha256(path.read_bytes()).hexdigest() == path.name
    home.check()


def test_under_the_iidfile(home: Home) -> None:
    error = home.fails(BASE, tags="x", iidfile="/dev/full")
    assert isinstance(error, ExportError)
    assert "--iidfile /dev/full cannot be written: No space left on device." in error.message


@pytest.mark.parametrize("form", ["packed", "unpacked"])
def test_under_the_store_while_an_image_is_pulled(
    cramped: Home, small: Path, tmp_path: Path, registry: Registry, form: str
) -> None:
    """The layer as it comes does not fit, or its tar does not."""
    content = os.urandom(32 << 20) if form == "packed" else b"many of the same words " * (2 << 20)
    ref = f"{registry.host}/full/{form}:1"
    upload(write_layout(tmp_path / "layout", make({"small": b"small"}, {"big": content}), tag="1"), ref)
    error = cramped.fails(f"FROM {ref}\nCOPY <<E /f\nx\nE\n", tags="x")
    assert isinstance(error, StoreError)
    assert "No space is left for the store" in error.message
    assert "PYBUILD_HOME" in error.hint
    assert str(error.location) == "Dockerfile:1"
    usable(cramped)
    subprocess.run(["mount", "-o", "remount,size=200m", small], check=True)
    assert cramped.build(f"FROM {ref}\nCOPY <<E /f\nx\nE\n", tags="x").image is not None
    cramped.check()


def test_builds_that_follow_each_other_find_the_room_that_their_limit_leaves(
    cramped: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Automatic collection waits for a pause between builds; what the limit allows to remove must not fill the disk."""
    monkeypatch.setenv("PYBUILD_KEEP_STORAGE", "4m")
    for size in (5, 4, 5):  # each takes twice its size, and the disk has 20 MB
        cramped.build(f"{BASE}RUN dd if=/dev/urandom of=/big bs=1M count={size}\n")
    cramped.builder.collector.wait()
    cramped.build(f"{BASE}RUN dd if=/dev/urandom of=/big bs=1M count=3\n")
    for _ in range(3):  # the disk still has as much room as the store may take when the copy begins
        (tmp_path / "big").write_bytes(os.urandom(8 << 20))
        cramped.build("FROM scratch\nCOPY big /\n", str(tmp_path))
    usable(cramped)


def test_a_layer_is_extracted_into_the_room_that_the_limit_leaves(
    cramped: Home, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYBUILD_KEEP_STORAGE", "2m")
    monkeypatch.setenv("PYBUILD_EROFS", "0")
    for name, content in (("big", bytes(5 << 20)), ("other", os.urandom(4 << 20))):
        (tmp_path / name).write_bytes(content)
    cramped.build(f"{BASE}COPY big /\n", str(tmp_path), tags="big")
    cramped.build("FROM scratch\nCOPY other /\n", str(tmp_path))
    free = os.statvfs(small)
    assert 2 << 20 < free.f_bavail * free.f_frsize < 5 << 20
    cramped.build("FROM big\nRUN test -s /big\n")
    usable(cramped)


@pytest.mark.parametrize("command", ["prune --force", "gc --keep-storage 1", "rm big"])
def test_a_disk_without_a_byte_can_be_freed(cramped: Home, small: Path, command: str) -> None:
    """The next step that the error names works, in a process that has the store open and in a new one.

    Deleting needs room for its records, so `%build prune` told that the disk was full, and to use `%build prune`.
    """
    again = f"{BASE}RUN dd if=/dev/urandom of=/big bs=1M count=1\n"
    cramped.build(again, tags="big" if command == "rm big" else "")
    if command != "prune --force":
        cramped.close()  # with the last connection go SQLite's other files, which need room again
    with suppress(OSError), (small / "other").open("ab", buffering=0) as other:
        while other.write(bytes(1 << 12)):
            pass
    free = os.statvfs(small)
    assert free.f_bavail == 0
    if command == "prune --force":
        error = cramped.fails(f"{BASE}COPY <<E /f\nx\nE\n")
        assert isinstance(error, StoreError)
        assert "%build prune" in error.hint
    words = [sys.executable, "-m", "pybuild_magic", *command.split()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.statvfs(small).f_bavail * free.f_frsize > 1 << 20
    usable(cramped)
