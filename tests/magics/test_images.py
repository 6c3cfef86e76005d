"""`%build load` and `%build save`: images from files into the store, and the other way."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from pathlib import Path

import pytest

from pybuild_magic.builders import embedded_builder
from pybuild_magic.errors import Interrupted, SourceError, StoreError, UsageError
from pybuild_magic.images.archive import open_images
from pybuild_magic.oci.blobs import is_attestation
from pybuild_magic.oci.descriptor import CONTAINERD_NAME
from pybuild_magic.oci.manifest import decode_index
from pybuild_magic.store.fsck import fsck
from tests.oci.images import SmallImage
from tests.services.buildkit import Engine

from .conftest import Shell

HELLO = "%%build -t team/hello:1 -\nFROM scratch\nCOPY <<EOF /hello.txt\nhello\nEOF\nLABEL a=b\n"
OTHER = "%%build -t other --platform linux/amd64,linux/arm64 -\nFROM scratch\nCOPY <<EOF /o.txt\nother\nEOF\n"


@pytest.fixture
def own(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell with an empty store."""
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    return shell


def digests(shell: Shell) -> dict[str, str]:
    store = embedded_builder().store
    assert fsck(store) == []
    return {record.name: record.descriptor.digest for record in store.images.list()}


@pytest.mark.parametrize("dest", ["both.tar", "both/"])
def test_what_is_saved_is_loaded_as_the_very_images(own: Shell, dest: str) -> None:
    own.run(HELLO)
    own.run(OTHER)
    before = digests(own)
    assert len(before) == 2
    assert f"Saved team/hello:1, other:latest to {dest}" in repr(own.run(f"%build save team/hello:1 other {dest}"))
    own.run("%build rm team/hello:1 other")
    own.run("%build prune -a")
    assert digests(own) == {}
    said = repr(own.run(f"%build load {dest}"))
    assert "Loaded team/hello:1" in said and "Loaded other:latest" in said
    assert f"loading {dest}" in own.err
    assert digests(own) == before
    assert own.run("%build inspect team/hello:1").config["config"]["Labels"] == {"a": "b"}
    own.run("%%build -\nFROM team/hello:1\nCOPY --from=other /o.txt /\n")


@pytest.mark.parametrize("has_writer", [True, False])
def test_the_stop_button_ends_waiting_for_a_pipe(own: Shell, *, has_writer: bool) -> None:
    os.mkfifo("pipe.tar")
    if has_writer:  # one that writes nothing
        writer = os.open("pipe.tar", os.O_RDWR)
    pressed: list[float] = []
    timer = threading.Timer(0.5, lambda: (pressed.append(time.monotonic()), signal.raise_signal(signal.SIGINT)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        error = own.fail("%build load pipe.tar")
    finally:
        signal.signal(signal.SIGINT, before)
        timer.join()
        if has_writer:
            os.close(writer)
    assert isinstance(error, Interrupted)
    assert time.monotonic() - pressed[0] < 2, "of the 5 that a builder gets to end"


def test_an_archive_that_comes_through_a_pipe_is_loaded(own: Shell) -> None:
    own.run(HELLO)
    own.run("%build save -o one.tar team/hello:1")
    before = digests(own)
    own.run("%build rm team/hello:1")
    os.mkfifo("pipe.tar")
    data = Path("one.tar").read_bytes()

    def write() -> None:
        with Path("pipe.tar").open("wb") as file:
            for start in range(0, len(data), 1000):
                file.write(data[start : start + 1000])
                file.flush()

    writer = threading.Timer(0.3, write)
    writer.start()
    own.run("%build load pipe.tar")
    writer.join()
    assert digests(own) == before


def test_another_name_is_given_to_the_one_image(own: Shell) -> None:
    own.run(HELLO)
    own.run("%build save -o one.tar team/hello:1")
    own.run("%build load one.tar -t mine:2")
    found = digests(own)
    assert found["docker.io/library/mine:2"] == found["docker.io/team/hello:1"]


def test_a_saved_image_is_what_docker_loads(own: Shell, engine: Engine) -> None:
    name = f"pybuild-save-{uuid.uuid4().hex[:12]}:1"
    own.run(HELLO.replace("team/hello:1", name))
    own.run(f"%build save {name} saved.tar")
    try:
        assert name in engine.docker("load", "-i", Path("saved.tar").absolute()).stdout
        [told] = json.loads(engine.docker("image", "inspect", name).stdout)
        assert told["Config"]["Labels"] == {"a": "b"}
        engine.docker("save", "-o", Path("theirs.tar").absolute(), name)
    finally:
        engine.remove(name)
    own.run(f"%build rm {name}")
    own.run("%build load theirs.tar")
    assert own.run(f"%build inspect {name}").config["config"]["Labels"] == {"a": "b"}


def test_what_buildx_wrote_keeps_its_attestations(own: Shell, engine: Engine, tmp_path: Path) -> None:
    engine.buildx_build(
        None, f"--output=type=oci,name=attested:1,dest={tmp_path / 'a.tar'}", "--provenance=mode=min",
        dockerfile="FROM scratch\nCOPY <<E /f\nx\nE\n",
    )  # fmt: skip
    own.run("%build load a.tar")
    assert [row[0] for row in own.run("%build images").rows] == ["attested:1"]
    own.run("%build save attested:1 b.tar")
    images = open_images(Path("b.tar"))
    [entry] = images.index().manifests
    inner = decode_index(images.open(entry.digest).read()).manifests
    assert any(map(is_attestation, inner)) and all(images.has(each.digest) for each in inner)
    digests(own)


def test_an_image_that_lacks_a_platform_is_still_an_image(own: Shell, tmp_path: Path) -> None:
    own.run(OTHER)
    own.run("%build save other whole/")
    own.run("%build rm other")
    own.run("%build prune -a")
    [root] = open_images(Path("whole")).index().manifests
    lost = decode_index(Path("whole/blobs/sha256", root.digest[7:]).read_bytes()).manifests[1]
    Path("whole/blobs/sha256", lost.digest[7:]).unlink()
    own.run("%build load whole")
    assert [row[2] for row in own.run("%build images").rows] == ["linux/amd64"]
    digests(own)
    own.run("%build save other part.tar")
    assert not open_images(Path("part.tar")).has(lost.digest)


def test_mistakes_are_sentences(own: Shell, tmp_path: Path) -> None:
    SmallImage().layout(tmp_path / "nameless")
    for line, kind, message in (
        ("%build load", UsageError, "takes one file or directory"),
        ("%build load nameless", SourceError, "without names. Name one with -t NAME."),
        ("%build load nowhere.tar", SourceError, "nowhere.tar cannot be read: No such file or directory."),
        ("%build save", UsageError, "For example: %build save hello:latest hello.tar"),
        ("%build save one", UsageError, "a file or directory"),
        ("%build save missing m.tar", StoreError, "The image missing is not in the store."),
        ("%build import nameless", UsageError, "%build load nameless"),
    ):
        error = own.fail(line)
        assert isinstance(error, kind) and message in str(error), (line, str(error))
    own.run("%build load nameless -t small")
    own.run("%build save small small.tar")
    assert "%build load small.tar" in str(own.fail("%build import small.tar"))
    assert open_images(Path("small.tar")).index().manifests[0].annotations[CONTAINERD_NAME].endswith("small:latest")
