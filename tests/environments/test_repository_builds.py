"""`%build repo` of real repositories: each is built, and its script is run in the image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pybuild_magic
from benchmarks.ladder import build_as
from pybuild_magic import builders
from pybuild_magic.builders import embedded_builder
from pybuild_magic.images.load import load_image
from tests.places.image import DEBIAN, debian_base
from tests.sandbox.test_unprivileged import user_place
from tests.services import require

from .index import wheel as made_wheel
from .repositories import CASES, Case

pytestmark = pytest.mark.xdist_group("repositories")  # they share what they have in common


@pytest.fixture(scope="session")
def repository_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repositories")


@pytest.fixture
def home(repository_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYBUILD_HOME", str(repository_home / "store"))
    monkeypatch.setattr(builders, "_embedded", None)
    store = embedded_builder().store
    if not store.images.get("docker.io/library/debian-python:latest"):
        load_image(store, require(debian_base).path, "debian")
        # Half of what pip does is to compile, which proves nothing here; by its manual, "no" is what turns that off.
        settings = "FROM debian\nRUN printf '[install]\\nno-compile = no\\n' >> /etc/pip.conf"
        pybuild_magic.build(settings, {}, tags=["debian-python"], progress="quiet")
    yield repository_home
    embedded_builder().close()


@pytest.fixture(scope="session")
def wheel() -> dict[str, str]:
    """Where this machine's index has the wheel of iniconfig."""
    words = ["install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--report=-", "iniconfig==2.0.0"]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, check=True, text=True)
    url = json.loads(done.stdout)["install"][0]["download_info"]["url"]
    index = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, check=False, text=True
    ).stdout.strip()
    return {"url": url, "index": index}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_repository_is_an_image_in_which_its_script_goes_well(
    case: Case, home: Path, tmp_path: Path, wheel: dict[str, str]
) -> None:
    root = case.filled(**wheel).write(tmp_path)
    found = pybuild_magic.open_repository(str(root), base="debian-python", name=f"repository-{case.name}")
    assert tuple(one.path for one in found.findings if one.use == "used") == case.used
    pybuild_magic.build(
        found.dockerfile, found.context, tags=[found.name], build_contexts=found.contexts, progress="quiet"
    )
    done = pybuild_magic.run(found.name, "bash", "-c", script(case))
    assert done.exit_code == 0, done.stderr.decode()


def script(case: Case) -> str:
    return f"set -euxo pipefail\nFROM_START=${{FROM_START:-}}\n{case.verify}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
def test_an_ordinary_user_builds_repositories(wheel: dict[str, str]) -> None:
    """Of a base that has a tiny JupyterLab to install; each script is run by the last step."""
    settings = "[install]\\nno-compile = no\\nfind-links = /opt/links\\n"
    base = f"FROM {DEBIAN}\nCOPY . /opt/links\nRUN printf '{settings}' >> /etc/pip.conf"
    with user_place() as (_, place):
        name, content = made_wheel("jupyterlab", "99.0")
        (place / "links").mkdir()
        (place / "links" / name).write_bytes(content)
        jobs: list[Any] = [[base, str(place / "links"), ["type=image"], {"tags": ["tiny"]}]]
        for case in CASES:
            if case.name in ("binder-dir", "local-requirement"):
                root = case.filled(**wheel).write(place)
                found = pybuild_magic.open_repository(str(root), base="tiny", name=case.name)
                entry = ["/home/jovyan/binder/start"] if "binder/start" in case.used else []
                dockerfile = f"{found.dockerfile}RUN {json.dumps([*entry, 'bash', '-c', script(case)])}\n"
                jobs.append([dockerfile, str(root), ["type=cacheonly"], {"build_contexts": found.contexts}])
        answer = build_as("range", [require(debian_base)], jobs, {})
    assert len(answer["times"]) == 3
