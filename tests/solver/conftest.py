"""A builder with a store of its own, and the base image in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[EmbeddedBuilder]:
    """An embedded builder on an empty store."""
    builder = EmbeddedBuilder(Store(tmp_path / "store"))
    yield builder
    builder.close()


@pytest.fixture
def busybox(builder: EmbeddedBuilder, busybox_layout: BaseImage) -> str:
    """The name of the base image, which the store has."""
    load_image(builder.store, busybox_layout.path, "busybox")
    return "busybox"


@pytest.fixture(scope="session")
def busybox_archive(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine's own `busybox`, as an archive."""
    path = tmp_path_factory.mktemp("busybox") / "busybox.tar"
    engine.docker("save", "--output", path, "busybox")
    return path


@pytest.fixture
def engine_busybox(builder: EmbeddedBuilder, busybox_archive: Path) -> str:
    """The engine's base image in the store, so that both build on the same layers."""
    load_image(builder.store, busybox_archive, "busybox")
    return "busybox"
