"""The engine reached in three ways: its own upgrade, `docker buildx dial-stdio`, and TCP with mTLS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.buildkit import Engine

from .lab import Lab, container_builder, forget_earlier_threads, left_behind, tls_proxy


@pytest.fixture(autouse=True)
def environment(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine is Docker's own, and the store is the test's."""
    for name in ("BUILDX_BUILDER", "BUILDKIT_HOST", "SOURCE_DATE_EPOCH", "DOCKER_CONTEXT", "BUILDX_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in engine.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{engine.env['DOCKER_CONFIG']}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    forget_earlier_threads()


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Lab]:
    """The engine by its own upgrade."""
    yield Lab("docker://", "docker", tmp_path)
    assert left_behind() == []


@pytest.fixture(params=["docker", "buildx", "tcp"])
def lab(
    request: pytest.FixtureRequest, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lab]:
    """The engine by each transport; nothing of ours may run when the test has ended."""
    if request.param == "tcp":
        with tls_proxy(engine, tmp_path / "certs") as proxy:
            yield Lab(proxy.address(), "tcp", tmp_path)
            assert left_behind() == []
    elif request.param == "buildx":
        for name, value in container_builder(engine, tmp_path / "box").items():
            monkeypatch.setenv(name, value)
        yield Lab("buildx://box", "buildx", tmp_path)
        assert left_behind() == []
    else:
        yield Lab("docker://", "docker", tmp_path)
        assert left_behind() == []
