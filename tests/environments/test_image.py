"""A frozen environment, built: the same image every time, with what was frozen in it, and a kernel that starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.freeze import Frozen, freeze
from pybuild_magic.environments.installed import installed_in
from pybuild_magic.environments.versions import compare
from pybuild_magic.errors import UsageError
from pybuild_magic.images.load import load_image
from pybuild_magic.result import BuildResult
from pybuild_magic.run import run
from tests.places.image import DEBIAN, debian_base
from tests.services import require

from .conftest import Install
from .index import LocalIndex

pytestmark = pytest.mark.xdist_group("environments")


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever store a test has opened is closed at its end."""
    enter(tmp_path / "first", monkeypatch)
    yield
    leave()


def enter(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in another directory, with another store that has the base image."""
    leave()
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYBUILD_HOME", str(place / "store"))
    load_image(embedded_builder().store, require(debian_base).path, DEBIAN)


def leave() -> None:
    if builders._embedded is not None:
        builders._embedded.close()
        builders._embedded = None


def made(frozen: Frozen) -> BuildResult:
    return build(**frozen.arguments, progress="quiet")


def test_an_environment_is_the_same_image_wherever_and_whenever_it_is_built(
    homes: None,
    site: Path,
    install: Install,
    index: LocalIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install("app", "1.0", ("helper",))
    install("helper", "2.0", requested=False)
    # A module that Python imports when it starts is what another process may have compiled before.
    startup = {"startup.pth": "import helper\n"}
    index.add("app", "1.0", ("helper",), code="import helper\nprint('app with', helper.version)\n", more=startup)
    index.add("helper", "2.0")
    local = tmp_path / "wheels"
    local.mkdir()
    from .index import wheel

    name, content = wheel("mine", "3.0", code="names = {'some', 'set', 'of', 'names'}\n")
    (local / name).write_bytes(content)
    monkeypatch.setenv("PIP_FIND_LINKS", str(local))
    install("mine", "3.0")
    # The password is given to the build, and nothing of it is in the image.
    index.login = "me:hunter2"
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("http://", "http://me:hunter2@"))
    frozen = freeze(paths=[str(site)], name="app:1", base=DEBIAN)
    first = made(frozen)
    assert first.image is not None
    assert run(first, "python", "-c", "import app, mine; print(sorted(mine.names))").text == (
        "app with 2.0\n['names', 'of', 'set', 'some']\n"
    )
    tree = embedded_builder().store.tree(tuple(layer.diff_id for layer in first.image.layers))
    assert {row.verdict for row in compare(frozen.environment, installed_in(tree, "opt/env"))} == {"same"}
    assert run(first, "id", "-u").text == "1000\n"
    assert not [file for file in first.image.files if file.path.startswith(("root/.cache", "opt/install"))]
    asked = len(index.asked)
    enter(tmp_path / "second", monkeypatch)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    second = made(freeze(paths=[str(site)], name="app:1", base=DEBIAN))
    assert second.image is not None
    assert len(index.asked) > asked, "it was built anew"
    assert second.image.digest == first.image.digest
    tree = embedded_builder().store.tree(tuple(layer.diff_id for layer in second.image.layers))
    assert not [entry.path for entry in tree.walk("opt/env") if entry.is_file and b"hunter2" in tree.read(entry)]
    assert os.environ["PIP_INDEX_URL"] not in str(second.image.config)


def test_a_base_without_the_python_is_a_sentence(homes: None, site: Path, install: Install, index: LocalIndex) -> None:
    install("app", "1")
    index.add("app", "1")
    with pytest.raises(
        UsageError, match=rf"The base image {DEBIAN} has no python3.99. It has Python 3\.\d+: --python 3"
    ):
        freeze(paths=[str(site)], base=DEBIAN, python="3.99")
