"""One JupyterLab for the tests of a worker, whose store has the image `busybox`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.services.baseimages import BaseImage

from . import gate as gates
from .gate import Gate
from .lab import Lab, lab


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, busybox_layout: BaseImage) -> Iterator[Lab]:
    root, home = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("home")
    store = Store(home / "store")
    load_image(store, busybox_layout.path, "busybox")
    store.close()
    with lab(root, home) as running:
        yield running


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that holds a build, or a cell, until the test opens it."""
    with gates.gate() as closed:
        yield closed
