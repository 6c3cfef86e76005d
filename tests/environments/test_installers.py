"""What is installed otherwise than by pip from wheels, built for real: by uv, of a source archive, of a repository."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.freeze import freeze
from pybuild_magic.environments.frozen import Frozen
from pybuild_magic.environments.installed import installed_in
from pybuild_magic.environments.versions import compare
from pybuild_magic.result import BuildResult
from pybuild_magic.run import run
from tests.places.image import DEBIAN

from .conftest import Install
from .index import LocalIndex, wheel
from .test_freeze import BACKEND
from .test_image import enter, leave

pytestmark = pytest.mark.xdist_group("environments")

CONFIGURED = dict(os.environ)
"""The settings of this machine, which tests of an index of their own put aside."""
_WHO = ("-c", "user.name=A", "-c", "user.email=a@example.org")
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
"""What is built by a backend of its own, so that nothing is fetched for that."""
_EDITABLE = """
import os, zipfile
def get_requires_for_build_wheel(config_settings=None):
    return []
get_requires_for_build_editable = get_requires_for_build_wheel
def build_wheel(directory, config_settings=None, metadata_directory=None):
    return _wheel(directory, "mine.py", open("mine.py").read())
def build_editable(directory, config_settings=None, metadata_directory=None):
    return _wheel(directory, "mine.pth", os.getcwd())
def _wheel(directory, name, text):
    wheel, info = "mine-1.0-py3-none-any.whl", "mine-1.0.dist-info"
    files = {
        name: text,
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/RECORD": f"{name},,\\n",
    }
    with zipfile.ZipFile(f"{directory}/{wheel}", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel
"""
"""A backend that can also install in editable mode."""


@pytest.fixture
def home(tmp_path: Path, shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    enter(tmp_path / "place", monkeypatch, shared_store)
    yield
    leave()


def is_what_was_frozen(result: BuildResult, environment: object) -> bool:
    assert result.image is not None
    tree = embedded_builder().store.tree(tuple(layer.diff_id for layer in result.image.layers))
    return {row.verdict for row in compare(environment, installed_in(tree, "opt/env"))} == {"same"}  # type: ignore


def test_uv_installs_what_is_locked(
    home: None, site: Path, install: Install, index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    install("app", "1.0", installer="uv")
    index.add("app", "1.0", code="print('by uv')\n")
    put_installer(index, "uv", tmp_path)
    # A wheel of this machine that has a program, which pip makes.
    entry = {"tool-1.0.dist-info/entry_points.txt": "[console_scripts]\ntool = tool:main\n"}
    name, content = wheel("tool", "1.0", code="def main():\n    print('a program')\n", more=entry)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / name).write_bytes(content)
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "links"))
    install("tool", "1.0", installer="uv")
    frozen = freeze(paths=[str(site)], name="by-uv", base=DEBIAN)
    assert "bin/uv pip install" in frozen.dockerfile
    result = build(**frozen.arguments, progress="quiet")
    assert run(result, "python", "-c", "import app").text == "by uv\n"
    assert run(result, "tool").text == "a program\n"
    assert is_what_was_frozen(result, frozen.environment)
    assert contents(freeze(paths=[str(site)], name="by-uv", base=DEBIAN, lock="pylock.toml")) == contents(frozen)


def test_uv_fetches_only_what_is_new(
    home: None, site: Path, install: Install, index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    put_installer(index, "uv", tmp_path)
    for name in ("first", "second"):
        install(name, "1.0", installer="uv")
        index.add(name, "1.0")
        frozen = freeze(paths=[str(site)], name="by-uv", base=DEBIAN)
        assert "--mount=type=cache,target=/root/.cache/uv" in frozen.dockerfile
        asked = len(index.asked)
        build(**frozen.arguments, progress="quiet")
        fetched = {path for path in index.asked[asked:] if path.startswith("/files/")}
    assert fetched == {"/files/second-1.0-py3-none-any.whl"}


def test_sources_and_repositories_are_built_in_a_stage_of_their_own(
    home: None, site: Path, install: Install, index: LocalIndex, tmp_path: Path
) -> None:
    index.files["mine"] = {"mine-1.0.tar.gz": source_archive("mine-1.0", BACKEND)}
    install("mine", "1.0")
    commit = repository(tmp_path / "theirs", BACKEND.replace("mine", "theirs"))
    index.folder = tmp_path
    install(
        "theirs",
        "1.0",
        origin={
            "url": index.url.replace("/simple", "/folder/theirs/.git"),
            "vcs_info": {"vcs": "git", "commit_id": commit},
        },
    )
    install("plain", "1.0")
    index.add("plain", "1.0")
    name, content = wheel("linked", "1.0")
    index.files["elsewhere"] = {name: content}
    where = index.url.replace("/simple", f"/files/{name}")
    digests = {"hashes": {"sha256": hashlib.sha256(content).hexdigest()}}
    install("linked", "1.0", origin={"url": where, "archive_info": digests})
    put_installer(index, "pip>=26.3", tmp_path)
    frozen = freeze(paths=[str(site)], name="of-sources", base=DEBIAN)
    locked = freeze(paths=[str(site)], name="of-sources", base=DEBIAN, lock="pylock.toml")
    assert sorted(locked.files) == ["pip.txt", "pylock.sources.toml", "pylock.toml"]
    assert contents(locked) == contents(frozen)
    result = build(**frozen.arguments, progress="quiet")
    assert run(result, "python", "-c", "import mine, theirs; print(mine.__file__)").text.endswith("/mine.py\n")
    assert is_what_was_frozen(result, frozen.environment)
    assert result.image is not None
    assert not [file.path for file in result.image.files if file.path.startswith(("usr/bin/gcc", "usr/bin/git"))]


def contents(frozen: Frozen) -> dict[str, bytes]:
    """Build an image, and return the files of its environment, but for records in which versions of pip differ."""
    result = build(**frozen.arguments, progress="quiet")
    assert result.image is not None
    tree = embedded_builder().store.tree(tuple(layer.diff_id for layer in result.image.layers))
    files = [entry for entry in tree.walk("opt/env") if entry.is_file]
    return {file.path: tree.read(file) for file in files if not file.path.endswith(("/direct_url.json", "/RECORD"))}


def put_installer(index: LocalIndex, requirement: str, tmp_path: Path) -> None:
    """Put an installer into the index, from the one that this machine is configured to use."""
    folder = tmp_path / "installer"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), requirement]
    subprocess.run(command, check=True, env=CONFIGURED)
    (file,) = folder.iterdir()
    index.files[file.name.partition("-")[0]] = {file.name: file.read_bytes()}


def source_archive(name: str, backend: str) -> bytes:
    buffer = io.BytesIO()
    files = {"pyproject.toml": PROJECT, "backend.py": backend, "PKG-INFO": "Metadata-Version: 2.1\nName: mine\n"}
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def repository(root: Path, backend: str) -> str:
    """Make a repository that can be fetched from as plain files; its commit."""
    root.mkdir()
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "backend.py").write_text(backend)
    for words in (["init", "-q"], ["add", "."], [*_WHO, "commit", "-q", "-m", "one"], ["update-server-info"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    said = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True)
    return said.stdout.strip()


def test_what_pip_installed_editable_or_of_a_commit_is_imported_in_the_image(
    home: None, index: LocalIndex, tmp_path: Path
) -> None:
    project = tmp_path / "mine"
    repository(project, _EDITABLE)
    theirs = tmp_path / "theirs"
    old = repository(theirs, BACKEND.replace("mine", "theirs"))
    (theirs / "backend.py").write_text("raise RuntimeError('this commit was not asked for')\n")
    subprocess.run(["git", *_WHO, "commit", "-qam", "two"], cwd=theirs, check=True)
    subprocess.run(["git", "update-server-info"], cwd=theirs, check=True)
    index.folder = tmp_path
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    url = index.url.replace("/simple", "/folder/theirs/.git")
    words = ["install", "-q", "--no-deps", "-e", str(project), f"git+{url}@{old}"]
    subprocess.run([sys.executable, "-m", "pip", f"--python={python}", *words], check=True)
    (project / "mine.py").write_text("value = 'changed after the installation'\n")
    (site,) = (tmp_path / "venv/lib").glob("python3*/site-packages")
    frozen = freeze(paths=[str(site)], name="of-projects", base=DEBIAN)
    assert [each.name for each in frozen.environment.values() if each.requested] == ["mine", "theirs"]
    assert str(frozen.files["sources.txt"]) == f"theirs @ git+{url}@{old}\n"
    result = build(**frozen.arguments, progress="quiet")
    code = "import mine, theirs; print(mine.__file__, mine.value, theirs.__name__)"
    where, _, rest = run(result, "python", "-c", code).text.partition(" ")
    assert where.startswith("/opt/env/lib/") and rest == "changed after the installation theirs\n"
    assert is_what_was_frozen(result, frozen.environment)
