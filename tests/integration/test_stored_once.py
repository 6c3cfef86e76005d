"""A large context that is copied again after a small change: only the change is stored, and nobody sees that."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from pybuild_magic.images.archive import open_images
from pybuild_magic.oci.blobs import read_manifest
from pybuild_magic.oci.descriptor import Descriptor
from pybuild_magic.store.usage import prune

from .lab import Home

FROM = "FROM busybox\nCOPY . /data\n"
ONTO_ROOT = "FROM busybox\nCOPY . /\n"
"""Makes no directory, which would have the time of the build."""
CHECK = "RUN cd /data && sha256sum -c sums && echo ok > /ok\n"
MB = 1_000_000


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """24 MB in 60 files."""
    path = tmp_path / "context"
    for number in range(60):
        (path / f"d{number % 7}").mkdir(parents=True, exist_ok=True)
        (path / f"d{number % 7}" / f"f{number}").write_bytes(os.urandom(400_000 + number))
    return edited(path, "first")


def edited(context: Path, text: str) -> Path:
    (context / "app.py").write_text(text)
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(context)}\n"
        for path in sorted(context.rglob("*"))
        if path.is_file() and path.name != "sums"
    ]
    (context / "sums").write_text("".join(sums))
    return context


def room(home: Home) -> int:
    return sum(path.stat().st_size for path in (home.root / "blobs").rglob("*") if path.is_file())


def test_only_the_change_is_stored(
    home: Home, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_template: Path
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    home.build(ONTO_ROOT, str(context))
    before = room(home)
    edited(context, "second")
    home.build(ONTO_ROOT, str(context))
    assert room(home) - before < MB / 10
    dest = {name: tmp_path / name for name in ("plain.tar", "gzip.tar", "layout", "files", "files.tar")}
    outputs = [
        f"type=oci,compression=uncompressed,dest={dest['plain.tar']}",
        f"type=oci,dest={dest['gzip.tar']}",
        f"type=oci,tar=false,compression=zstd,dest={dest['layout']}",
        f"type=local,dest={dest['files']}",
        f"type=tar,dest={dest['files.tar']}",
    ]
    for output in outputs:
        home.build(ONTO_ROOT, str(context), outputs=output)
    home.check()
    other = tmp_path / "other"
    shutil.copytree(store_template, other)
    monkeypatch.setenv("PYBUILD_HOME", str(other))
    fresh = Home(other)
    for output in outputs:
        fresh.build(ONTO_ROOT, str(context), outputs=output.replace(str(tmp_path), str(tmp_path / "fresh")))
    for name in ("plain.tar", "gzip.tar", "layout"):
        mine, theirs = (open_images(path).index().manifests for path in (dest[name], tmp_path / "fresh" / name))
        assert [one.digest for one in mine] == [one.digest for one in theirs]
    assert dest["files.tar"].read_bytes() == (tmp_path / "fresh/files.tar").read_bytes()
    for path in context.rglob("*"):
        if path.is_file():
            assert (dest["files"] / path.relative_to(context)).read_bytes() == path.read_bytes()
    fresh.close()


@pytest.mark.parametrize("images", [True, False])
def test_run_sees_the_files(home: Home, context: Path, monkeypatch: pytest.MonkeyPatch, images: bool) -> None:
    """Also when what they are stored in is nobody's layer any more, in images of layers and in directories."""
    if not images:
        monkeypatch.setenv("PYBUILD_EROFS", "0")
    home.build(FROM, str(context))
    for text in ("second", "third"):
        edited(context, text)
        home.build(FROM + CHECK, str(context))
    prune(home.builder.store, filters=["description~=COPY", "inuse=false"])
    edited(context, "fourth")
    home.build(FROM + CHECK, str(context))
    home.build(FROM + CHECK + "RUN cat /ok\n", str(context))
    home.check()


def test_files_of_a_stage_are_not_stored_again(home: Home, context: Path) -> None:
    home.build(f"FROM busybox AS data\nCOPY . /data\n{CHECK}", str(context))
    before = room(home)
    home.build(f"FROM busybox AS data\nCOPY . /data\n{CHECK}FROM scratch\nCOPY --from=data /data /d\n", str(context))
    assert room(home) - before < MB / 10
    home.check()


def test_a_store_that_many_use_at_once(home: Home, context: Path) -> None:
    """Kernels that copy the same context into one store."""
    others = [
        home.start(f"FROM busybox\nCOPY . /data\nCOPY <<E /n\n{number}\nE\n{CHECK}", str(context))
        for number in range(4)
    ]
    for other in others:
        with other:
            other.answer()
    home.build(FROM + CHECK, str(context))
    home.check()


ENVIRONMENT = (
    "FROM busybox\nRUN mkdir /e && cd /e && for n in $(seq 40); do seq $n $((n * 1000 + 90000)) > f$n; done{more}"
    " && find /e | xargs touch -h -d @1000000000\n"
)
"""40 files of 25 MB in all."""


@pytest.mark.parametrize("images", [True, False])
def test_an_environment_that_is_made_again_with_one_file_more(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_template: Path, images: bool
) -> None:
    """Everybody gets what a store has that never saw the first one."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("PYBUILD_EROFS", "1" if images else "0")
    again = ENVIRONMENT.format(more=" && seq 20000 > more")
    home.build(ENVIRONMENT.format(more=""))
    before = room(home)
    home.build(again)
    assert room(home) - before < MB / 2
    home.check()
    ran = "RUN cd /e && cat f40 more | sha256sum > /sum && echo x >> f1\n"
    outputs = [f"type=oci,dest={tmp_path}/DIR/image.tar", f"type=tar,dest={tmp_path}/DIR/files.tar"]
    for output in outputs:
        home.build(again + ran, outputs=output.replace("DIR", "mine"))
    home.check()
    shutil.copytree(store_template, tmp_path / "other")
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "other"))
    fresh = Home(tmp_path / "other")
    for output in outputs:
        fresh.build(again + ran, outputs=output.replace("DIR", "theirs"))
    fresh.close()
    mine, theirs = (
        [layer.digest for layer in manifests(tmp_path / name / "image.tar")[:-1]] for name in ("mine", "theirs")
    )
    assert mine == theirs and len(mine) == 2
    with tarfile.open(tmp_path / "mine/files.tar") as one, tarfile.open(tmp_path / "theirs/files.tar") as other:
        assert {m.name: (m.size, m.mode) for m in one} == {m.name: (m.size, m.mode) for m in other}
        for name in ("e/f1", "e/f40", "e/more", "sum"):
            member, same = one.extractfile(name), other.extractfile(name)
            assert member is not None and same is not None and member.read() == same.read()


def manifests(path: Path) -> tuple[Descriptor, ...]:
    """The layers of an archived image."""
    with closing(open_images(path)) as images:
        [root] = images.index().manifests
        return read_manifest(images, root).layers
