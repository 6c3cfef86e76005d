"""Fixtures for the real services; each skips on a machine without the service and fails there in CI."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.services import baseimages, buildkit, chromium, require
from tests.services import registry as registries
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine
from tests.services.registry import Registry

if TYPE_CHECKING:
    from playwright.sync_api import Browser

T = TypeVar("T")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of one group run one at a time: a pytest whose ids pytest-xdist cannot mark would let them run together."""
    grouped = config.getoption("loadgroup", False)
    if grouped and any(item.get_closest_marker("xdist_group") and "@" not in item.nodeid for item in items):
        raise pytest.UsageError("This pytest and this pytest-xdist do not keep the tests of a group together.")


@pytest.fixture(scope="session")
def engine() -> Engine:
    """A Docker engine with BuildKit that has `busybox`; shared by all workers, so name images uniquely."""
    return require(buildkit.engine)


@pytest.fixture(scope="session")
def busybox_layout() -> BaseImage:
    """The base image `busybox` as an OCI image layout."""
    return require(baseimages.busybox)


@pytest.fixture(scope="session")
def debian_layout() -> BaseImage:
    """The base image `debian`, with python3, as an OCI image layout."""
    return require(baseimages.debian_python)


@pytest.fixture(scope="session")
def debian(engine: Engine, debian_layout: BaseImage) -> BaseImage:
    """The base image `debian` in the engine, for `FROM debian`."""
    engine.load_base(debian_layout)
    return debian_layout


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A registry that is open to everybody, one a worker."""
    with _required(registries.registry()) as running:
        yield running


@pytest.fixture
def basic_registry() -> Iterator[Registry]:
    """A registry with basic auth."""
    with _required(registries.registry("basic")) as running:
        yield running


@pytest.fixture
def token_registry() -> Iterator[Registry]:
    """A registry with bearer tokens."""
    with _required(registries.registry("token")) as running:
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A headless Chromium; one a test, as Playwright's event loop must not stay in the thread of other tests."""
    with _required(chromium.browser()) as running:
        yield running


@contextlib.contextmanager
def _required(service: AbstractContextManager[T]) -> Iterator[T]:
    with contextlib.ExitStack() as stack:
        yield require(lambda: stack.enter_context(service))
