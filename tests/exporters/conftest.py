"""A store for each test, and the base image as the engine has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.images.archive import open_images
from pybuild_magic.oci.blobs import read_config, read_manifest
from pybuild_magic.oci.config import ImageConfig
from pybuild_magic.oci.layout import find
from tests.exporters.build import Lab
from tests.services.buildkit import Engine


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A store and exports out of it."""
    lab = Lab(tmp_path / "store")
    yield lab
    lab.store.close()


@pytest.fixture
def busybox_config(engine: Engine, tmp_path: Path) -> ImageConfig:
    """The config of the engine's `busybox`."""
    path = tmp_path / "busybox.tar"
    engine.docker("save", "--output", path, "busybox")
    images = open_images(path)
    return read_config(images, read_manifest(images, find(images.index(), "busybox:latest")))
