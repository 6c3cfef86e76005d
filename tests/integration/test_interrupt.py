"""The stop button, wherever a build is: within a second it has ended, and nothing of it is left but its cache."""

from __future__ import annotations

import os
import socket
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.store import Store
from tests.services import require
from tests.services.baseimages import BaseImage, push
from tests.services.common import tool
from tests.services.registry import Registry
from tests.sources.proxy import Fault, FaultProxy

from .lab import Home, Other, running

SECONDS = 2.0
"""A second, and another for machines that are busy with other tests."""


def stopped(home: Home, other: Other, step: str, *, pause: float = 0.0) -> None:
    """Interrupt a build once it is where it says, and look at what is left."""
    other.wait()
    time.sleep(pause)
    other.interrupt()
    answer = other.answer()
    assert answer.get("kind") == "interrupted", answer
    assert step in answer["error"], answer
    assert answer["seconds"] < SECONDS, answer
    assert answer["alive"] == []
    home.check()
    with Store(home.root) as store:
        assert store.history.list()[0].status not in ("running", "completed")


@pytest.mark.parametrize("way", ["runc", "builtin", "copying"])
def test_during_run(home: Home, way: str) -> None:
    if way == "runc":
        require(lambda: tool("runc"))
    marker = f"776.{os.getpid()}"
    env = {
        "runc": {"PYBUILD_RUNTIME": "runc"},
        "builtin": {"PYBUILD_RUNTIME": "builtin"},
        "copying": {"PYBUILD_RUNTIME": "builtin", "PYBUILD_OVERLAY": "0"},
    }[way]
    dockerfile = (
        "FROM busybox\nRUN echo first > /first\n"
        f"RUN trap '' INT TERM; setsid sleep {marker} & echo go''ing; while true; do sleep {marker}; done\n"
    )
    with home.start(dockerfile, env=env, when="going", marker=marker) as other:
        stopped(home, other, f"[3/3] RUN trap '' INT TERM; setsid sleep {marker}")
    assert running(marker) == []
    again = home.build("FROM busybox\nRUN echo first > /first\nRUN echo second\n")
    assert [v.cached for v in again.vertexes if "RUN" in v.name] == [True, False]


def test_during_the_transfer_of_a_context(home: Home, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    with (context / "big").open("wb") as file:
        file.truncate(40 << 30)
    with home.start("FROM scratch\nCOPY . /\n", str(context), when="load build context") as other:
        stopped(home, other, "[internal] load build context", pause=0.3)


def test_during_the_copy_of_a_big_file_within_the_build(home: Home) -> None:
    dockerfile = "FROM busybox AS a\nRUN truncate -s 20G /big; echo go''ing\nFROM scratch\nCOPY --from=a /big /\n"
    with home.start(dockerfile, when="going") as other:
        stopped(home, other, "[a 2/2] RUN truncate", pause=0.3)


@pytest.mark.parametrize("kind", ["oci", "tar", "local", "image"])
def test_during_an_export(home: Home, tmp_path: Path, kind: str) -> None:
    context, out = tmp_path / "context", tmp_path / "out"
    context.mkdir()
    out.mkdir()
    (context / "big").write_bytes(os.urandom(32 << 20))
    if kind in ("oci", "image"):
        dest = f",dest={out}/1" if kind == "oci" else ",name=stopped"
        outputs = [f"type={kind}{dest},compression=zstd,compression-level=22"]
        when = "exporting layers"
    else:
        outputs = [f"type={kind},dest={out}/{number}" for number in range(40)]
        when = {"tar": "exporting to client tarball", "local": "exporting to client directory"}[kind]
    with home.start("FROM scratch\nCOPY . /\n", str(context), when=when, outputs=outputs) as other:
        stopped(home, other, "exporting to")
    assert all(path.name.isdigit() for path in out.iterdir()), list(out.iterdir())
    for path in out.iterdir():
        if kind == "tar":
            with tarfile.open(path) as whole:
                assert whole.getnames() == ["big"]
        else:
            assert (path / "big").stat().st_size == 32 << 20
    assert len(list(out.iterdir())) < len(outputs)
    with Store(home.root) as store:
        assert store.images.get("docker.io/library/stopped:latest") is None


@contextmanager
def mute() -> Iterator[str]:
    """A server that takes connections and never answers; its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def slow(registry: Registry, image: BaseImage, match: str) -> Iterator[str]:
    """A registry that takes its time for one kind of request; its host and port."""
    push(image, registry.host, "slow/base:1")
    with FaultProxy(registry.host) as proxy:
        proxy.faults.append(Fault(match, delay=0.5, times=1000))
        yield proxy.host


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_during_a_slow_pull(tmp_path: Path, registry: Registry, busybox_layout: BaseImage, kind: str) -> None:
    home = Home(tmp_path / "home")  # without the base image
    when, step = {
        "manifests": ("load metadata for", "[internal] load metadata for"),
        "blobs": ("extracting sha256", "[1/2] FROM"),
    }[kind]
    with (
        slow(registry, busybox_layout, f"/{kind}/sha") as host,
        home.start(f"FROM {host}/slow/base:1\nRUN echo hi\n", when=when) as other,
    ):
        stopped(home, other, f"{step} {host}/slow/base:1", pause=0.3)


@pytest.mark.parametrize(
    ("dockerfile", "when", "options"),
    [
        ("FROM {host}/x\n", "[internal] load metadata for {host}/x", {}),
        ("FROM scratch\nADD http://{host}/f /f\n", "ADD http://{host}/f", {}),
        ("FROM scratch\nADD http://{host}/x.git /x\n", "ADD http://{host}/x.git", {}),
        ("FROM busybox\nLABEL a=b\n", "exporting to image", {"tags": "{host}/x:1", "push": True}),
        ("FROM busybox\nLABEL a=b\n", "exporting to docker image format", {"load": True, "tags": "x"}),
    ],
    ids=["pull", "http", "git", "push", "load"],
)
def test_while_a_server_does_not_answer(home: Home, dockerfile: str, when: str, options: dict[str, Any]) -> None:
    with mute() as host:
        if "tags" in options:
            options = {**options, "tags": options["tags"].format(host=host)}
        step = when.format(host=host)
        with home.start(
            dockerfile.format(host=host), when=step, env={"DOCKER_HOST": f"tcp://{host}"}, **options
        ) as other:
            stopped(home, other, step, pause=0.5)


def test_a_second_press_does_not_cut_the_cleaning_short(home: Home) -> None:
    marker = f"775.{os.getpid()}"
    with home.start(f"FROM busybox\nRUN echo go''ing; sleep {marker}\n", when="going", marker=marker) as other:
        other.wait()
        other.interrupt()
        time.sleep(0.01)
        other.interrupt()
        answer = other.answer()
        assert answer["kind"] == "interrupted"
        assert answer["alive"] == []
    home.check()
