"""A user's home with a store that has the base image."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.conformance.case import Dir, File, Layout, write_layout
from tests.services.baseimages import BaseImage, push
from tests.services.registry import Registry

from .lab import Home, close_builder


@pytest.fixture(scope="session")
def store_template(busybox_layout: BaseImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `busybox` alone, to be copied."""
    root = tmp_path_factory.mktemp("template") / "store"
    with Store(root) as store:
        load_image(store, busybox_layout.path, "busybox")
    return root


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's own settings decide no test."""
    for name in (
        *(
            "PYBUILD_REGISTRY_MIRRORS",
            "PYBUILD_INSECURE_REGISTRIES",
            "PYBUILD_REGISTRY_CERTS",
            "PYBUILD_RUNTIME",
            "PYBUILD_RUNG",
        ),
        *("PYBUILD_RUNG", "PYBUILD_OVERLAY", "DOCKER_AUTH_CONFIG", "DOCKER_HOST", "DOCKER_TLS_VERIFY"),
        *("DOCKER_DEFAULT_PLATFORM", "SOURCE_DATE_EPOCH", "SSH_AUTH_SOCK", "BUILDX_BUILDER", "BUILDKIT_HOST"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))


@pytest.fixture
def home(store_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A store of the test's own, which is PYBUILD_HOME."""
    root = tmp_path / "home"
    shutil.copytree(store_template, root)
    monkeypatch.setenv("PYBUILD_HOME", str(root))
    yield Home(root)
    close_builder()


@pytest.fixture
def name() -> str:
    """A repository of this test alone."""
    return f"t/{uuid.uuid4().hex}"


@pytest.fixture
def base(registry: Registry, tmp_path: Path, name: str) -> tuple[str, list[str]]:
    """(reference, digests of the layers) of an image that the registry has and the store has not."""
    layers = ({"etc": Dir(0o700), "etc/one": File(os.urandom(1000))}, {"two": File(os.urandom(1000))})
    write_layout(tmp_path / "base", Layout(layers))
    image = BaseImage("base", tmp_path / "base")
    return push(image, registry.host, f"{name}/base:1"), [layer["digest"] for layer in image.manifest["layers"]]
