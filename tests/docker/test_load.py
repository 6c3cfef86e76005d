"""`--load` finds the engine that docker itself would talk to, and a real engine takes the image in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pybuild_magic.docker.config import DockerConfig
from pybuild_magic.docker.load import default_engine
from pybuild_magic.errors import ExportError, UnsupportedError
from tests.buildkit.lab import Proxy, tls_proxy
from tests.exporters.build import Lab, file
from tests.services.buildkit import Engine

ELSEWHERE = "unix:///nowhere/docker.sock"
"""An engine that is not there: the tests would fail if it were the one that is meant."""


@pytest.fixture
def docker(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """The docker client with a configuration of the test's own, which is this process's too."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))

    def run(*words: str) -> None:
        # An empty DOCKER_HOST is none: `docker context use` warns about another.
        engine.docker(*words, env={"DOCKER_CONFIG": str(tmp_path / "config"), "DOCKER_HOST": ""})

    return run


@pytest.fixture(scope="module")
def far(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The engine behind TLS, which takes no client without a certificate."""
    with tls_proxy(engine, tmp_path_factory.mktemp("certs"), "engine") as proxy:
        for name, file in (("cert.pem", "client.pem"), ("key.pem", "client-key.pem")):
            (proxy.certs / name).write_bytes((proxy.certs / file).read_bytes())
        yield proxy


def loaded(lab: Lab, engine: Engine) -> bool:
    """Export an image without `dest`; whether the tests' engine has it then."""
    name = f"pybuild-test/{uuid.uuid4().hex}:1"
    try:
        lab.export("docker", lab.result(file("a", b"x" * 300_000)), {"name": name})
        return engine.docker("image", "inspect", name, check=False).returncode == 0
    finally:
        engine.docker("rmi", name, check=False)


def test_the_context_of_the_environment(
    lab: Lab, engine: Engine, docker: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    docker("context", "create", "near", "--docker", f"host=unix://{engine.socket}")
    docker("context", "create", "off", "--docker", f"host={ELSEWHERE}")
    docker("context", "use", "off")
    monkeypatch.setenv("DOCKER_CONTEXT", "near")
    assert loaded(lab, engine)


def test_the_context_in_use_and_the_host_before_it(
    lab: Lab, engine: Engine, docker: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    docker("context", "create", "near", "--docker", f"host=unix://{engine.socket}")
    docker("context", "use", "near")
    assert loaded(lab, engine)
    monkeypatch.setenv("DOCKER_HOST", ELSEWHERE)
    with pytest.raises(UnsupportedError, match=rf"DOCKER_HOST is {ELSEWHERE}: /nowhere/docker.sock is missing"):
        default_engine()


@pytest.mark.parametrize("verify", [True, False])
def test_a_context_with_tls(lab: Lab, engine: Engine, docker: Callable[..., None], far: Proxy, verify: bool) -> None:
    files = f"cert={far.certs}/cert.pem,key={far.certs}/key.pem"
    trust = f"ca={far.certs}/ca.pem" if verify else "skip-tls-verify=true"
    docker("context", "create", "far", "--docker", f"host=tcp://127.0.0.1:{far.port},{files},{trust}")
    docker("context", "use", "far")
    assert loaded(lab, engine)


def test_a_host_with_tls_by_the_environment(
    lab: Lab, engine: Engine, docker: Callable[..., None], far: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{far.port}")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(far.certs))
    assert loaded(lab, engine)


def test_a_certificate_of_an_unknown_authority_is_refused(
    lab: Lab, engine: Engine, docker: Callable[..., None], far: Proxy, tmp_path: Path
) -> None:
    files = f"cert={far.certs}/cert.pem,key={far.certs}/key.pem"
    docker("context", "create", "far", "--docker", f"host=tcp://127.0.0.1:{far.port},{files}")
    docker("context", "use", "far")
    with pytest.raises(ExportError, match="cannot be reached: its certificate is not valid"):
        loaded(lab, engine)


def test_an_engine_over_ssh(
    lab: Lab, engine: Engine, docker: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no host to log in to: a program in place of ssh does there what it is asked to do."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/ssh"
    script.write_text(
        f'#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift 3\n'
        f'DOCKER_HOST=unix://{engine.socket} exec {engine.client} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    docker("context", "create", "there", "--docker", "host=ssh://me@host")
    docker("context", "use", "there")
    assert loaded(lab, engine)


def test_a_context_that_there_is_not_is_told_before_the_build(docker: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.json").write_text('{"currentContext": "gone"}')
    with pytest.raises(UnsupportedError, match=r"Docker's context is gone: Docker has no context 'gone'\. `docker"):
        default_engine()


def test_an_engine_that_refuses_the_image_says_why(
    lab: Lab, engine: Engine, docker: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pybuild_magic.docker.load import Load

    monkeypatch.setenv("DOCKER_HOST", f"unix://{engine.socket}")
    for size in (3000, None):
        load = Load(default_engine(), size)
        load.write(b"x" * 3000) if size is None else load.socket.sendall(b"x" * 3000)
        with pytest.raises(ExportError, match=r"(refused|could not load) the image: \S+"):
            load.finish()
        load.close()


def test_the_order_of_precedence_is_dockers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "default"}')
    environ = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    assert DockerConfig(environ).default_engine().host == "unix:///var/run/docker.sock"
    with pytest.raises(UnsupportedError, match="no context 'x'"):
        DockerConfig({**environ, "DOCKER_CONTEXT": "x"}).default_engine()
    assert DockerConfig({**environ, "DOCKER_CONTEXT": "x", "DOCKER_HOST": "tcp://h"}).default_engine().host == "tcp://h"
    insecure = DockerConfig({**environ, "DOCKER_HOST": "tcp://h", "DOCKER_TLS": "1"}).default_engine().tls
    assert insecure is not None
    assert insecure.unverified
