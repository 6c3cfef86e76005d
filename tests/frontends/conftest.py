"""The image of a front end of the tests' own, in a registry."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hpack
import pytest

import pybuild_magic
from pybuild_magic.images.load import load_image
from pybuild_magic.oci import platform as platforms
from pybuild_magic.store import Store
from tests.integration.lab import Home, close_builder
from tests.services.baseimages import BaseImage
from tests.services.registry import Registry

DOCKERFILE = """FROM debian
COPY program.py /front/
COPY hpack /front/hpack
ENV ARCH={architecture}
LABEL moby.buildkit.frontend.caps=moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts
ENTRYPOINT ["/usr/bin/python3", "-B", "/front/program.py"]
"""


@dataclass(frozen=True)
class Front:
    """The front end: its reference, and a store that has it and the base images."""

    ref: str
    store: Path


ARCHIVE = "PYBUILD_TEST_FRONT"
"""The variable with an archive of the front end, for those who cannot make its base image."""


@pytest.fixture(scope="session")
def front(
    request: pytest.FixtureRequest, busybox_layout: BaseImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    """The front end `program.py`, pushed; or as it is in an archive, where there is one."""
    scratch = tmp_path_factory.mktemp("front")
    if archive := os.environ.get(ARCHIVE):
        with Store(scratch / "store") as store:
            load_image(store, busybox_layout.path, "busybox")
            load_image(store, Path(archive), "front")
        close_builder()
        yield Front("docker.io/library/front", scratch / "store")
        close_builder()
        return
    registry: Registry = request.getfixturevalue("registry")
    debian_layout: BaseImage = request.getfixturevalue("debian_layout")
    context = scratch / "context"
    context.mkdir()
    shutil.copy(Path(__file__).with_name("program.py"), context)
    package = Path(hpack.__file__).parent
    shutil.copytree(package, context / "hpack", ignore=shutil.ignore_patterns("__pycache__"))
    ref = f"{registry.host}/front:1"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYBUILD_HOME", str(scratch / "store"))
        with Store(scratch / "store") as store:
            load_image(store, busybox_layout.path, "busybox")
            load_image(store, debian_layout.path, "debian")
        text = DOCKERFILE.format(architecture=platforms.host().architecture)
        pybuild_magic.build(text, context, tags=[ref], push=True, progress="none")
        close_builder()
    yield Front(ref, scratch / "store")
    close_builder()


@pytest.fixture
def home(front: Front, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The store that has the base images, which is PYBUILD_HOME."""
    monkeypatch.setenv("PYBUILD_HOME", str(front.store))
    return Home(front.store)
