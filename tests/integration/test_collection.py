"""A store that is kept small: builds, exports and pushes go on as if nothing had been collected."""

from __future__ import annotations

import json
import tarfile
import threading
import uuid
from pathlib import Path

import pytest

from pybuild_magic.display.collected import collected_line
from pybuild_magic.errors import ExportError, UsageError
from pybuild_magic.images.archive import open_images
from pybuild_magic.store.collector import Collected
from pybuild_magic.store.fsck import fsck
from pybuild_magic.store.policy import COMPRESSED, DIRECTORY, TAR
from pybuild_magic.store.usage import prune
from tests.services.baseimages import BaseImage, push, skopeo
from tests.services.registry import Registry

from .lab import FILES, TWO_STAGES, Home


def collect(home: Home) -> Collected:
    """All that may go."""
    return home.builder.collector.run(0)


def drop_forms(home: Home) -> Collected:
    """Of each layer the forms that can be had again, and nothing else."""
    home.builder.store._durability.flush()  # a write of its thread between the two plans makes the database larger
    plan = home.builder.collector.plan(0)
    forms = sum(step.size for step in plan.steps if step.kind in (DIRECTORY, COMPRESSED))
    return home.builder.collector.run(plan.total - forms)


def packed(home: Home) -> list[tuple[str, str]]:
    """Digest and annotations of the packed forms whose bytes are in the store."""
    return home.builder.store.db.read(
        "SELECT digest, annotations FROM compressed WHERE digest IN (SELECT digest FROM blobs)"
    )


@pytest.fixture
def base(home: Home, registry: Registry, busybox_layout: BaseImage) -> str:
    """The base image in a registry, and not in the store."""
    place = f"{registry.host}/{uuid.uuid4().hex}"
    push(busybox_layout, place)
    home.builder.store.images.remove("docker.io/library/busybox:latest")
    prune(home.builder.store, all=True)
    return f"{place}/busybox:latest"


def test_a_packed_layer_that_a_registry_has_is_fetched_again(home: Home, base: str, tmp_path: Path) -> None:
    dockerfile = f"FROM {base}\nRUN echo x > /x\n"
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    before = home.build(dockerfile, outputs=f"type=oci,dest={first}", tags="app")
    assert set(drop_forms(home).counts) == {DIRECTORY, COMPRESSED}
    assert [digest for digest, known in packed(home) if b"distribution.source" in bytes(known)] == []
    assert fsck(home.builder.store) == []
    named = home.build(dockerfile, tags="app")
    assert named.metadata["containerimage.digest"] == before.metadata["containerimage.digest"]
    assert [v.name for v in named.vertexes if "fetching" in v.name] == [], "an image is named without its bytes"
    again = home.build(dockerfile, outputs=f"type=oci,dest={second}", tags="app")
    assert again.metadata["containerimage.digest"] == before.metadata["containerimage.digest"]
    manifest = json.loads(open_images(second).open(before.metadata["containerimage.digest"]).read())
    assert all(open_images(second).has(layer["digest"]) for layer in manifest["layers"])
    home.check()


def test_a_result_is_shown_without_unpacking_its_base(home: Home) -> None:
    """The names of owners are in the base's passwd: for them, a base of gigabytes was unpacked after a cached build."""
    dockerfile = "FROM busybox\nCOPY <<E /etc/extra\nx\nE\n"
    before = home.build(dockerfile, tags="app")
    assert before.summary.image is not None
    base = before.summary.image.manifests[0].layers[0].diff_id
    home.builder.store._durability.flush()
    assert home.builder.collector.run(0).counts[TAR] >= 1
    shown = home.build(dockerfile, tags="app").mime_bundle()
    assert shown["text/html"]
    assert home.builder.store.packed.size(base) is not None


def test_what_was_pushed_is_packed_again_to_the_same_digest(home: Home, registry: Registry, tmp_path: Path) -> None:
    ref = f"{registry.host}/t/{uuid.uuid4().hex}:1"
    home.build(TWO_STAGES, FILES, tags=ref, push=True)
    own = {digest for digest, known in packed(home) if b"pybuild/packed" in bytes(known)}
    drop_forms(home)
    assert len(own) == 3 and own.isdisjoint(digest for digest, _ in packed(home))
    asked = len(registry.requests())
    home.build(f"FROM {ref}\nLABEL a=b\n", outputs=f"type=oci,dest={tmp_path / 'a.tar'}")
    sent = {layer["digest"] for layer in json.loads(skopeo("inspect", "--raw", f"docker://{ref}"))["layers"]}
    assert all(open_images(tmp_path / "a.tar").has(digest) for digest in sent)
    assert own <= sent
    fetched = {r.path.rpartition("/")[2] for r in registry.requests()[asked:] if r.method == "GET"}
    assert own.isdisjoint(fetched)
    home.check()


def test_the_error_says_so_when_the_registry_is_gone(home: Home, base: str, tmp_path: Path) -> None:
    home.build(f"FROM {base}\nRUN echo x > /x\n", tags="app")
    drop_forms(home)
    db = home.builder.store.db
    for digest, known in db.read("SELECT digest, annotations FROM compressed"):
        moved = bytes(known).replace(base.partition("/")[0].encode(), b"127.0.0.1:9")
        db.execute("UPDATE compressed SET annotations = ? WHERE digest = ?", (moved, digest))
    error = home.fails("FROM app\nRUN echo y > /y\n", outputs=f"type=oci,dest={tmp_path / 'a.tar'}")
    assert isinstance(error, ExportError)
    assert "was collected, and cannot be fetched again" in error.message
    home.check()


def test_what_no_registry_has_is_kept_packed_and_unpacked_for_a_run(home: Home, base: str, tmp_path: Path) -> None:
    dockerfile = f"FROM {base}\nRUN echo x > /x\n"
    home.build(dockerfile, tags="app")
    store = home.builder.store
    store.db.execute("UPDATE compressed SET annotations = '{}'")
    store._durability.flush()
    before = {d for (d,) in store.db.read("SELECT digest FROM blobs WHERE digest IN (SELECT diff_id FROM layers)")}
    assert collect(home).counts[TAR] == 2
    dropped = [digest for digest in before if store.has_layer(digest) and not store.blobs.path(digest).exists()]
    assert len(dropped) == 2 and fsck(store) == []
    home.build("FROM app\nRUN cat /x && echo y > /y\n", outputs=f"type=tar,dest={tmp_path / 'all.tar'}")
    with tarfile.open(tmp_path / "all.tar") as tar:
        assert {"x", "y", "bin/busybox"} <= set(tar.getnames())
    assert all(store.blobs.verify(digest) == "" for digest in dropped)
    home.check()


def test_it_is_told_in_one_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYBUILD_KEEP_STORAGE", "1")
    told: list[Collected] = []
    home.builder.collector.tell = told.append
    home.build("FROM busybox\nRUN echo 1 > /f\n")
    home.builder.collector.wait()
    [done] = told
    line = collected_line(done)
    assert line.startswith("Collected ") and "cached result" in line and "\n" not in line
    assert done.remaining > done.limit and line.endswith(" MB, because named images and data in use are kept.")
    home.build("FROM busybox\nRUN echo 1 > /f\n")
    home.check()


def test_a_limit_that_is_no_size_is_told_by_a_build(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would ever be collected with it."""
    monkeypatch.setenv("PYBUILD_KEEP_STORAGE", "five")
    error = home.fails("FROM busybox\n")
    assert isinstance(error, UsageError)
    assert "PYBUILD_KEEP_STORAGE 'five' is not a size." in error.message


def test_builds_go_on_while_others_collect(home: Home) -> None:
    """Threads that build, and one that collects all it may, over and over."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def collecting() -> None:
        try:
            while not stop.is_set():
                collect(home)
        except BaseException as error:
            errors.append(error)

    collector = threading.Thread(target=collecting)
    collector.start()

    def building(number: int) -> None:
        try:
            for turn in range(3):
                home.build(f"FROM busybox\nCOPY . /x\nRUN cat /x/f && echo {number} {turn} > /g\n", {"f": f"{turn}"})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=building, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    collector.join()
    assert errors == []
    home.check()
    assert home.build(TWO_STAGES, FILES, tags="x").image is not None
