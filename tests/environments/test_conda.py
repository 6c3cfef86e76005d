"""conda environments, really built from a channel that is made here; `micromamba.py` installs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments import conda
from pybuild_magic.environments.freeze import freeze
from pybuild_magic.errors import UsageError
from pybuild_magic.images.load import load_image
from tests.places.image import DEBIAN, debian_base
from tests.services import require

from .channel import make_channel
from .conftest import Install
from .index import LocalIndex
from .test_image import enter, leave

pytestmark = pytest.mark.xdist_group("environments")

_MICROMAMBA = Path(__file__).with_name("micromamba.py")
_BASE = f"""\
FROM {DEBIAN}
RUN python3 -m venv /opt/rattler && /opt/rattler/bin/pip install --no-compile --no-cache-dir py-rattler pyyaml
COPY --chmod=755 micromamba /bin/micromamba
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Build an image with the stand-in for micromamba, which also has its name."""
    enter(tmp_path / "place", monkeypatch)
    load_image(embedded_builder().store, require(debian_base).path, "debian:stable-slim")
    program = f"#!/opt/rattler/bin/python\n{_MICROMAMBA.read_text()}"
    tags = ["with-micromamba", conda.BASE]
    pybuild_magic.build(_BASE, {"micromamba": program}, tags=tags, progress="quiet")
    yield "with-micromamba"
    leave()


@pytest.fixture
def channel(base: str, index: LocalIndex, tmp_path: Path) -> str:
    """Return the URL of a channel for the Python of the base."""
    code = "import platform; print(platform.python_version())"
    version = pybuild_magic.run(DEBIAN, "python3", "-c", code).text.strip()
    make_channel(tmp_path / "channel", version)
    index.folder = tmp_path
    return index.url.replace("/simple", "/folder/channel")


def test_what_conda_has_installed_is_installed_again_and_a_repository_is_solved(
    base: str,
    channel: str,
    index: LocalIndex,
    site: Path,
    install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    dependencies = 'python=3, "small<2", pip, {pip: [toml]}'
    (root / "environment.yml").write_text(f"channels: [{channel}]\ndependencies: [{dependencies}]\n")
    found = pybuild_magic.open_repository(str(root), base=base, name="of-conda")
    pybuild_magic.build(found.dockerfile, found.context, tags=["of-conda"], progress="quiet")
    code = "import small, sys, toml; print(small.version, sys.prefix)"
    assert pybuild_magic.run("of-conda", "python", "-c", code).text == "1.0 /srv/env\n"
    assert pybuild_magic.run("of-conda", "jupyter", "lab").text == "4.0\n"

    monkeypatch.setattr(conda, "conda_prefix", lambda: tmp_path / "prefix")
    recorded(tmp_path / "channel", channel, tmp_path / "prefix", "python", "pip", "small-0.9")
    for name, version, installer in (("small", "0.9", "conda"), ("app", "1.0", "pip")):
        install(name, version, installer=installer)
    index.add("app", "1.0", code="print('by pip')\n")
    frozen = freeze(paths=[str(site)], name="frozen", installer="conda")
    assert "#   python small\nFROM mambaorg/micromamba:2 AS environment\n" in frozen.dockerfile
    pybuild_magic.build(**frozen.arguments, progress="quiet")
    code = "import app, os, small, ipykernel; print(small.version, os.getuid())"
    assert pybuild_magic.run("frozen", "python", "-c", code).text == "by pip\n0.9 1000\n"


def recorded(folder: Path, url: str, prefix: Path, *names: str) -> None:
    """Write the records that conda keeps of installed packages; `python` and `small` were asked for."""
    (prefix / "conda-meta").mkdir(parents=True)
    for subdir in ("noarch", "linux-64"):
        packages = json.loads((folder / subdir / "repodata.json").read_text())["packages"]
        for file, record in packages.items():
            if file.startswith(tuple(f"{name}-" for name in names)):
                document = {**record, "url": f"{url}/{subdir}/{file}", "fn": file}
                if record["name"] != "pip":
                    document["requested_spec"] = record["name"]
                (prefix / "conda-meta" / file.replace(".tar.bz2", ".json")).write_text(json.dumps(document))


def test_a_record_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/a-1.json").write_text("{")
    with pytest.raises(UsageError, match=r"conda's record a-1.json cannot be read"):
        conda.packages_of(tmp_path)


def test_a_token_of_a_channel_is_written_nowhere(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    record = {"name": "a", "version": "1", "url": "https://me:secret@host/t/tk-1/channel/a.conda", "md5": "0" * 32}
    (tmp_path / "conda-meta/a-1.json").write_text(json.dumps(record))
    (package,) = conda.packages_of(tmp_path)
    assert package.url == "https://host/channel/a.conda" and package.digest == "0" * 32
