"""One JupyterLab for the tests of a worker, whose store has the image `busybox`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.services.baseimages import BaseImage

from . import gate as gates
from .gate import Gate
from .lab import Lab, lab


@contextlib.contextmanager
def _serve(directories: pytest.TempPathFactory, busybox: BaseImage) -> Iterator[Lab]:
    root, home = directories.mktemp("root"), directories.mktemp("home")
    store = Store(home / "store")
    load_image(store, busybox.path, "busybox")
    store.close()
    with lab(root, home) as running:
        yield running


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory, busybox_layout: BaseImage) -> Iterator[Lab]:
    with _serve(tmp_path_factory, busybox_layout) as running:
        yield running


@pytest.fixture
def server(
    request: pytest.FixtureRequest,
    shared_server: Lab,
    tmp_path_factory: pytest.TempPathFactory,
    busybox_layout: BaseImage,
) -> Iterator[Lab]:
    """The worker's server, or for a test that is run again after a failure one that knows nothing of it.

    The first run leaves its folders, its kernel, and steps in the cache, whose results look different.
    """
    if getattr(request.node, "execution_count", 1) == 1:
        yield shared_server
        return
    with _serve(tmp_path_factory, busybox_layout) as running:
        yield running


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that holds a build, or a cell, until the test opens it."""
    with gates.gate() as closed:
        yield closed
