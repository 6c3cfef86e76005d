"""The image of the cases, in the store and in the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.images.load import load_image
from tests.services.baseimages import BaseImage

from .cases import DOCKERFILE, IMAGE


@pytest.fixture(scope="session")
def run_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run-store")


@pytest.fixture
def store(run_home: Path, busybox_layout: BaseImage, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store with busybox and the image of the cases."""
    monkeypatch.setenv("PYBUILD_HOME", str(run_home))
    builder = embedded_builder()
    if not builder.store.images.get(f"docker.io/library/{IMAGE}:latest"):
        load_image(builder.store, busybox_layout.path, "busybox")
        build(DOCKERFILE, "-", tags=[IMAGE], progress="quiet")
    yield
    embedded_builder().close()
    builders._embedded = None
