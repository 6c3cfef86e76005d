"""Texts by which others use an image: they are what they say they are, and the shell's one runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.builders import embedded_builder
from pybuild_magic.dockerfile.parser import parse
from pybuild_magic.environments.share import share
from pybuild_magic.errors import StoreError
from pybuild_magic.images.load import load_image
from pybuild_magic.notebook.image_commands import save
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine

DOCKERFILE = """
FROM busybox
RUN echo 'jovyan:x:1000:1000::/home/jovyan:/bin/sh' >> /etc/passwd {server}
USER 1000
EXPOSE 8888 53/udp
CMD ["echo", "it runs"]
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busybox_layout: BaseImage) -> Iterator[Path]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(builders, "_embedded", None)
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    yield tmp_path
    embedded_builder().close()


def build(name: str, dockerfile: str) -> dict[str, str]:
    pybuild_magic.build(dockerfile, "-", tags=[name], progress="quiet")
    return {part.title.partition(":")[0]: part.text for part in share(name)}


def test_each_text_is_what_it_is_pasted_into(store: Path) -> None:
    server = "&& touch /bin/jupyterhub-singleuser && chmod +x /bin/jupyterhub-singleuser"
    texts = build("registry.example/team/env:2", DOCKERFILE.format(server=server))
    assert texts["In a shell"] == "docker run --rm -p 8888:8888 registry.example/team/env:2"
    hub = texts["JupyterHub on Kubernetes (KubeSpawner)"]
    profile = yaml.safe_load(hub)["singleuser"]["profileList"][0]
    assert profile["kubespawner_override"] == {"image": "registry.example/team/env:2"}
    assert profile["slug"] == "registry-example-team-env-2"
    assert "jupyterhub-singleuser" not in hub
    editor = json.loads(texts["An editor"])
    assert (editor["image"], editor["remoteUser"]) == ("registry.example/team/env:2", "jovyan")
    assert editor["forwardPorts"] == [8888]
    binder = texts["Binder"]
    assert binder.startswith("FROM registry.example/team/env:2\nCOPY --chown=1000:1000 . /home/jovyan\n")
    assert parse(binder).stages


def test_what_an_image_lacks_for_a_hub_is_told(store: Path) -> None:
    texts = build("team/env", 'FROM busybox\nCMD ["sh"]\n')
    assert texts["In a shell"] == "docker run --rm -it team/env:latest"
    assert texts["JupyterHub on Kubernetes (KubeSpawner)"].startswith("# The image has no jupyterhub-singleuser")
    assert "RUN pip install --no-cache-dir jupyterhub jupyterlab\n" in texts["Binder"]
    assert texts["Binder"].endswith("ENV HOME=/home/jovyan\nUSER 1000")
    assert "remoteUser" not in texts["An editor"]


def test_the_image_for_binder_has_a_home_in_which_its_user_writes(store: Path) -> None:
    server = "RUN ln -s /bin/true /bin/jupyterhub-singleuser\n"
    texts = build("team/env", f"FROM busybox\n{server}")
    pybuild_magic.build(texts["Binder"], {"notebook.ipynb": b"{}"}, tags=["for-binder"], progress="quiet")
    done = pybuild_magic.run("for-binder", "sh", "-c", "touch $HOME/new notebook.ipynb && ls $HOME")
    assert (done.exit_code, done.stdout.split()) == (0, [b"new", b"notebook.ipynb"])


def test_an_image_that_nobody_can_pull_goes_as_a_file(store: Path, engine: Engine) -> None:
    texts = build("repository-share", DOCKERFILE.format(server=""))
    first, _, there = texts["As a file"].partition("\n\n")
    assert first == "%build save repository-share:latest repository-share-latest.tar"
    archive = store / "repository-share-latest.tar"
    save(["repository-share:latest", str(archive)])
    load, run = (shlex.split(line) for line in there.splitlines())
    assert load == ["docker", "load", "-i", archive.name]
    engine.docker("load", "-i", str(archive))
    try:
        # The port is not of this test, and may be taken.
        words = [word for word in run[1:] if word not in ("-p", "8888:8888")]
        assert "it runs" in str(engine.docker(*words))
    finally:
        engine.remove("repository-share:latest")


def test_an_image_that_is_not_there_is_told(store: Path) -> None:
    with pytest.raises(StoreError, match="Did you mean busybox"):
        share("busybx")
