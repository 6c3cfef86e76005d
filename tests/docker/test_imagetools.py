"""Indexes made of images that are there: as `docker buildx imagetools create` makes them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic.errors import BuildError
from pybuild_magic.notebook.commands import images
from pybuild_magic.notebook.imagetools_command import imagetools
from tests.integration.lab import close_builder
from tests.services.baseimages import skopeo
from tests.services.buildkit import Engine
from tests.services.registry import Registry

PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture
def names(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two images in a registry, each for one platform."""
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    close_builder()
    repository = f"{registry.host}/tools/{uuid.uuid4().hex}"
    found = [f"{repository}:{platform.partition('/')[2]}" for platform in PLATFORMS]
    for name, platform in zip(found, PLATFORMS, strict=True):
        pybuild_magic.build(
            f"FROM scratch\nCOPY f /\nLABEL a={platform}\n", {"f": platform}, platforms=platform, tags=name, push=True,
            progress="none",
        )  # fmt: skip
    yield [repository, *found]
    close_builder()


def test_an_index_is_buildx_to_the_byte(names: list[str], engine: Engine) -> None:
    repository, *sources = names
    ours = imagetools(["create", "--dry-run", *(f"docker://{name}" for name in sources)])
    theirs = engine.docker("buildx", "imagetools", "create", "--dry-run", *sources).stdout
    assert json.loads(str(ours)) == json.loads(theirs)
    imagetools(["create", "-t", f"docker://{repository}:both", *(f"docker://{name}" for name in sources)])
    pushed = skopeo("inspect", "--raw", f"docker://{repository}:both")
    assert pushed.strip() == theirs.strip()
    assert [entry["platform"]["architecture"] for entry in json.loads(pushed)["manifests"]] == ["amd64", "arm64"]
    shown = repr(imagetools(["inspect", f"docker://{repository}:both"]))
    assert all(platform in shown for platform in PLATFORMS)
    raw = repr(imagetools(["inspect", "--raw", f"{repository}:both"]))
    assert json.loads(raw) == json.loads(pushed)


def test_more_is_added_and_the_store_has_indexes_too(names: list[str]) -> None:
    repository, first, second = names
    imagetools(["create", "-t", f"docker://{repository}:grows", f"docker://{first}"])
    imagetools(["create", "--append", "-t", f"docker://{repository}:grows", f"docker://{second}"])
    assert len(json.loads(skopeo("inspect", "--raw", f"docker://{repository}:grows"))["manifests"]) == 2
    shown = json.loads(str(imagetools(["create", "-t", "here", "--annotation", "a=b", f"docker://{repository}:grows"])))
    assert shown["annotations"] == {"a": "b"}
    assert "here" in repr(images([]))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "takes create or inspect"),
        (["create", "x"], "The new image needs a name."),
        (["create", "-t", "x"], "No image was named for the index."),
        (["create", "-t", "oci:x", "y"], "An index cannot be written to oci:."),
        (["create", "--dry-run", "--annotation", "manifest:a=b", "x"], "is not KEY=VALUE"),
        (["inspect"], "takes one image"),
        (["create", "--dry-run", "nosuch"], "The image nosuch is not in the store."),
    ],
)
def test_what_is_wrong_is_told(words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    with pytest.raises(BuildError) as caught:
        imagetools(words)
    assert says in str(caught.value)
    close_builder()
