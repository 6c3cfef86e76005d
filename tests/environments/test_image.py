"""A frozen environment, built: the same image every time, with what was frozen in it, and a kernel that starts."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ladder import build_as
from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.base import release_of
from pybuild_magic.environments.freeze import freeze
from pybuild_magic.environments.frozen import Frozen
from pybuild_magic.environments.installed import installed_in
from pybuild_magic.environments.versions import compare, shown
from pybuild_magic.environments.wheels import EPOCH
from pybuild_magic.errors import UsageError
from pybuild_magic.images.load import load_image
from pybuild_magic.result import BuildResult
from pybuild_magic.run import run
from tests.places.image import DEBIAN, debian_base
from tests.sandbox.test_unprivileged import user_place
from tests.services import buildkit, require

from .conftest import Install
from .index import LocalIndex, wheel

pytestmark = pytest.mark.xdist_group("environments")


@pytest.fixture
def homes(tmp_path: Path, shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever store a test has opened is closed at its end."""
    enter(tmp_path / "first", monkeypatch, shared_store)
    yield
    leave()


def enter(place: Path, monkeypatch: pytest.MonkeyPatch, store: Path | None = None) -> None:
    """Be in another directory, with a store that has the base image: another one, or one that tests share."""
    leave()
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYBUILD_HOME", str(store or place / "store"))
    opened = embedded_builder().store
    if not opened.images.get(f"docker.io/library/{DEBIAN}:latest"):
        load_image(opened, require(debian_base).path, DEBIAN)


def leave() -> None:
    if builders._embedded is not None:
        builders._embedded.close()
        builders._embedded = None


def made(frozen: Frozen) -> BuildResult:
    return build(**frozen.arguments, progress="quiet")


@pytest.fixture
def frozen(
    homes: None, site: Path, install: Install, index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Frozen:
    """An environment of an index that asks for a password, with a wheel of this machine."""
    install("app", "1.0", ("helper",))
    install("helper", "2.0", requested=False)
    # A module that Python imports when it starts is what another process may have compiled before.
    startup = {"startup.pth": "import helper\n"}
    index.add("app", "1.0", ("helper",), code="import helper\nprint('app with', helper.version)\n", more=startup)
    index.add("helper", "2.0")
    local = tmp_path / "wheels"
    local.mkdir()
    name, content = wheel("mine", "3.0", code="names = {'some', 'set', 'of', 'names'}\n")
    (local / name).write_bytes(content)
    monkeypatch.setenv("PIP_FIND_LINKS", str(local))
    install("mine", "3.0")
    index.login = "me:hunter2"
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("http://", "http://me:hunter2@"))
    return freeze(paths=[str(site)], name="app:1", base=DEBIAN)


def test_an_environment_has_what_was_frozen_and_no_password(frozen: Frozen) -> None:
    result = made(frozen)
    assert result.image is not None
    assert run(result, "python", "-c", "import app, mine; print(sorted(mine.names))").text == (
        "app with 2.0\n['names', 'of', 'set', 'some']\n"
    )
    tree = embedded_builder().store.tree(tuple(layer.diff_id for layer in result.image.layers))
    assert {row.verdict for row in compare(frozen.environment, installed_in(tree, "opt/env"))} == {"same"}
    python = run(result, "python", "-c", "import platform; print(platform.python_version())").text.strip()
    assert release_of(tree, ("/opt/env/bin",)) == python
    assert shown((), "3.11.99", python).note.endswith(f" Python is 3.11.99 here, {python} in the image.")
    assert run(result, "id", "-u").text == "1000\n"
    assert not [file for file in result.image.files if file.path.startswith(("root/.cache", "opt/install"))]
    assert not [entry.path for entry in tree.walk("opt/env") if entry.is_file and b"hunter2" in tree.read(entry)]
    assert os.environ["PIP_INDEX_URL"] not in str(result.image.config)


def test_what_changes_is_all_that_is_fetched_and_installed(
    frozen: Frozen,
    site: Path,
    install: Install,
    index: LocalIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of plain HTTP, pip keeps only what a host has sent that it is told to trust.
    monkeypatch.setenv("PIP_TRUSTED_HOST", index.url.split("/")[2])
    made(freeze(paths=[str(site)], name="app:1", base=DEBIAN))
    install("more", "1.0")
    new = index.add("more", "1.0")
    more = freeze(paths=[str(site)], name="app:1", base=DEBIAN)
    asked = len(index.asked)
    made(more)
    # The cache mount has the others: pip does not even ask for them.
    assert [path for path in index.asked[asked:] if path.startswith("/files/")] == [f"/files/{new}"]
    (file,) = (tmp_path / "wheels").iterdir()
    file.write_bytes(wheel("mine", "3.0", code="names = {'another'}\n")[1])
    changed = freeze(paths=[str(site)], name="app:1", base=DEBIAN)
    asked = len(index.asked)
    again = made(changed)
    assert not [path for path in index.asked[asked:] if path.startswith("/files/")]
    assert [step.name for step in again.vertexes if step.kind == "exec" and not step.cached] == [
        next(step.name for step in again.vertexes if "source=wheels,target=/wheels" in step.name)
    ]
    assert run(again, "python", "-c", "import mine; print(mine.names)").text == "{'another'}\n"


def test_an_environment_is_the_same_image_wherever_whenever_and_by_whomever_it_is_built(
    frozen: Frozen, index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = "type=oci,dest={},compression=uncompressed,force-compression=true,rewrite-timestamp=true"
    arguments = frozen.arguments
    result = build(**{**arguments, "outputs": output.format(tmp_path / "here.tar")}, progress="quiet")
    assert result.image is not None
    digests = {"root": result.image.digest}
    asked = len(index.asked)
    # Another user, in another directory, with another seed.
    with user_place() as (_, home):
        place = home / "context"
        frozen.write(str(place))
        rest = {name: arguments[name] for name in ("build_args", "secrets", "tags")}
        job = [[frozen.dockerfile, str(place), output.format(home / "there.tar"), rest]]
        settings = {"PIP_INDEX_URL": os.environ["PIP_INDEX_URL"], "PYTHONHASHSEED": "7"}
        digests["an ordinary user"] = build_as("range", [require(debian_base)], job, settings)["digests"][0]
        assert len(index.asked) > asked, "it was built anew"
        engine = require(buildkit.engine)
        engine.load_base(require(debian_base))
        secrets = [f"--secret={secret}" for secret in arguments["secrets"]]
        flags = ("--network=host", "--allow=network.host", *secrets)
        archive = engine.build_oci(place, tmp_path / "engine.tar", *flags, epoch=EPOCH)
    with tarfile.open(archive) as tar:
        file = tar.extractfile("index.json")
        assert file is not None
        digests["BuildKit"] = json.load(file)["manifests"][0]["digest"]
    assert set(digests.values()) == {digests["root"]}, digests


def test_a_base_without_the_python_is_a_sentence(homes: None, site: Path, install: Install, index: LocalIndex) -> None:
    install("app", "1")
    index.add("app", "1")
    with pytest.raises(
        UsageError, match=rf"The base image {DEBIAN} has no python3.99. It has Python 3\.\d+: use --python 3"
    ):
        freeze(paths=[str(site)], base=DEBIAN, python="3.99")
