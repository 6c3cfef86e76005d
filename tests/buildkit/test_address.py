"""Addresses and names of builders: what they lead to, and what is said about those that lead nowhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pybuild_magic import build
from pybuild_magic.builders.buildkit.address import Tcp, UnixSocket, parse
from pybuild_magic.builders.buildkit.discover import probe
from pybuild_magic.builders.buildkit.names import BuilderNames
from pybuild_magic.docker.config import DEFAULT_ENGINE, DockerConfig, EngineAddress
from pybuild_magic.editor.line import files_here
from pybuild_magic.errors import BuildError, UnsupportedError, UsageError
from pybuild_magic.net.command import Command
from pybuild_magic.net.tls import TLS
from pybuild_magic.session.auth import DockerAuth


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("unix:///run/x.sock", UnixSocket("/run/x.sock")),
        ("unix://", UnixSocket("/run/buildkit/buildkitd.sock")),
        ("tcp://host", Tcp("host", 1234)),
        ("tcp://[::1]:99", Tcp("::1", 99)),
        ("tcp://host:1?cacert=ca&cert=c&key=k&servername=s", Tcp("host", 1, TLS("ca", "c", "k", "s"))),
        ("kube-pod://bk", Command(("kubectl", "exec", "-i", "bk", "--", "buildctl", "dial-stdio"))),
        (
            "docker-container://c?context=remote",
            Command(("docker", "--context=remote", "exec", "-i", "c", "buildctl", "dial-stdio")),
        ),
    ],
)
def test_addresses(text: str, target: object) -> None:
    assert parse(text).target == target


def test_settings_of_tls_are_for_addresses_that_say_nothing_else() -> None:
    target = parse("tcp://host:1?cacert=mine", TLS("ca", "cert", "key")).target
    assert target == Tcp("host", 1, TLS("mine", "cert", "key"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tpc://host", "Did you mean tcp://?"),
        ("npipe:////./pipe/docker_engine", "a Windows named pipe, which is not supported"),
        ("tcp://", "no host and port"),
        ("tcp://host:99999999", "no host and port"),
        ("tcp://host?cacrt=x", "Did you mean cacert?"),
        ("tcp://host?cert=x", "without its key"),
        ("kube-pod://-x;y", "not the name of a pod"),
        ("kube-pod://p?namespace=--all", "not a namespace"),
        ("docker-container://--privileged", "not the name of a container"),
        ("ssh://-oProxyCommand=x", "not a host's name"),
        ("ssh://me:secret@host", "contains a password"),
    ],
)
def test_bad_addresses_are_told_in_one_sentence_and_never_become_options(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.fixture
def config(tmp_path: Path) -> BuilderNames:
    """Docker's configuration with two contexts and three builders."""

    def write(path: str, data: object) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(data))

    write("config.json", {"currentContext": "remote"})
    for name, host in (("remote", "tcp://far:2376"), ("over-ssh", "ssh://me@far")):
        digest = hashlib.sha256(name.encode()).hexdigest()
        write(f"contexts/meta/{digest}/meta.json", {"Name": name, "Endpoints": {"docker": {"Host": host}}})
    digest = hashlib.sha256(b"remote").hexdigest()
    for file in ("ca.pem", "cert.pem", "key.pem"):
        write(f"contexts/tls/{digest}/docker/{file}", "")
    options = {"cacert": "/ca", "cert": "/c", "key": "/k", "servername": "bk"}
    for name, driver, endpoint in (("far", "remote", "tcp://bk:1234"), ("box", "docker-container", "remote")):
        node = {"Name": f"{name}0", "Endpoint": endpoint, "DriverOpts": options if driver == "remote" else {}}
        write(f"buildx/instances/{name}", {"Name": name, "Driver": driver, "Nodes": [node]})
    (tmp_path / "buildx/instances/broken").write_text("{")
    return BuilderNames({"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)})


def found(config: BuilderNames, name: str) -> tuple[str, object]:
    address = config.find(name)
    assert address is not None
    return address.driver, address.target


def test_names_are_builders_of_buildx_and_contexts(config: BuilderNames) -> None:
    assert found(config, "far") == ("remote", Tcp("bk", 1234, TLS("/ca", "/c", "/k", "bk")))
    dial = Command(("docker", "buildx", "dial-stdio", "--builder", "box"))
    assert found(config, "box") == ("docker-container", dial)
    assert found(config, "buildx://box") == ("docker-container", dial)
    assert found(config, "buildx://far") == found(config, "far")
    assert found(config, "buildx://remote")[1] == found(config, "docker://")[1]
    assert found(config, "over-ssh") == ("docker", EngineAddress("ssh://me@far"))
    driver, target = found(config, "docker://")
    assert driver == "docker"
    assert isinstance(target, EngineAddress)
    assert target.host == "tcp://far:2376"
    assert target.tls is not None
    assert target.tls.cert.endswith("cert.pem")
    assert found(config, "docker:///x.sock") == ("docker", EngineAddress("unix:///x.sock"))
    assert config.find("nobody") is None


@pytest.mark.parametrize("name", ["docker://remot", "buildx://bxo"])
def test_names_that_are_not_known_are_told_with_the_nearest(config: BuilderNames, name: str) -> None:
    with pytest.raises(UnsupportedError, match="Did you mean"):
        config.find(name)


def test_docker_host_comes_before_the_current_context(tmp_path: Path) -> None:
    environ = {"DOCKER_HOST": "tcp://there:2375", "DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    assert DockerConfig(environ).default_engine() == EngineAddress("tcp://there:2375")
    for file in ("cert.pem", "key.pem"):
        (tmp_path / file).touch()
    secure = DockerConfig({**environ, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}).default_engine()
    assert secure.tls == TLS(*(str(tmp_path / file) for file in ("ca.pem", "cert.pem", "key.pem")))


def test_a_user_without_a_home_has_no_configuration_and_the_usual_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the random IDs of OpenShift: no HOME, and no entry in passwd."""

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert DockerConfig({}).default_engine() == EngineAddress(DEFAULT_ENGINE)
    assert DockerAuth({}).hosts() == ()
    assert files_here("~/").items == ()


def test_an_address_that_is_wrong_is_a_build_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from pybuild_magic.builders import choose

    with pytest.raises(BuildError, match="unknown scheme"):
        choose("gopher://x")


def test_an_engine_behind_a_named_pipe_is_said_to_be_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "npipe:////./pipe/docker_engine")
    with pytest.raises(UnsupportedError, match=r"Windows named pipe.* Have the daemon listen on tcp://"):
        build("FROM scratch\nLABEL a=b\n", {}, builder="docker://", progress="none")


def test_a_builder_that_cannot_be_reached_says_so_in_a_few_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\necho 'ERROR: no{' such' * 99} pod' >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    status = probe("docker-container://box").status
    assert status.startswith("cannot be reached: no such such")
    assert len(status) == 100
