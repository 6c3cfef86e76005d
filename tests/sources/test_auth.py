"""Credentials as `docker login` left them, and challenges as registries send them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.oci.remote.auth import Challenge, parse_challenges
from pybuild_magic.oci.remote.credentials import Credentials
from pybuild_magic.session.auth import DockerAuth


def config(directory: Path, **members: Any) -> DockerAuth:
    (directory / "config.json").write_text(json.dumps(members))
    return DockerAuth({"DOCKER_CONFIG": str(directory), "PATH": f"{directory}:/usr/bin:/bin"})


def helper(directory: Path, name: str, script: str) -> None:
    file = directory / f"docker-credential-{name}"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def packed(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
    ],
)
def test_a_registry_is_found_under_every_name_docker_stores_it_by(tmp_path: Path, key: str, host: str) -> None:
    auth = config(tmp_path, auths={"other.example": packed("x", "y"), key: packed("me", "p:w")})
    assert auth.credentials(host) == Credentials("me", "p:w")
    assert auth.credentials("nowhere.example") is None
    assert auth.looked(host) == f'credentials (user "me") were found in {tmp_path}/config.json'


def test_identity_and_registry_tokens_are_read(tmp_path: Path) -> None:
    auth = config(tmp_path, auths={"a.example": {"identitytoken": "r"}, "b.example": {"registrytoken": "t"}})
    assert auth.credentials("a.example") == Credentials(identity_token="r")
    assert auth.credentials("b.example") == Credentials(registry_token="t")


def test_helpers_are_asked(tmp_path: Path) -> None:
    answer = (
        """read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"at $server\\",\\"Secret\\":\\"s\\"}" """
    )
    helper(tmp_path, "one", answer)
    helper(tmp_path, "two", 'echo \'{"Username":"<token>","Secret":"refresh"}\'')
    auth = config(tmp_path, credsStore="one", credHelpers={"special.example": "two"}, auths={"x.example": {}})
    assert auth.credentials("x.example") == Credentials("at x.example", "s")
    assert auth.credentials("docker.io") == Credentials("at https://index.docker.io/v1/", "s")
    assert auth.credentials("special.example") == Credentials(identity_token="refresh")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo "credentials not found in native keychain"; exit 1', "no credentials are in the credential helper"),
        ("echo secret-words; echo secret-words >&2; exit 3", "which failed with exit code 3"),
        ("echo secret-words", "whose answer cannot be read"),
        (None, "which is not installed"),
    ],
)
def test_a_helper_that_has_nothing_leaves_one_anonymous_and_is_named(
    tmp_path: Path, script: str | None, words: str
) -> None:
    if script:
        helper(tmp_path, "broken", script)
    auth = config(tmp_path, credsStore="broken")
    assert auth.credentials("x.example") is None
    assert words in auth.looked("x.example")
    assert "docker-credential-broken" in auth.looked("x.example")
    assert "secret-words" not in auth.looked("x.example")


def test_a_helper_cannot_name_another_program(tmp_path: Path) -> None:
    auth = config(tmp_path, credsStore="../../bin/sh")
    assert auth.credentials("x.example") is None
    assert "whose name is not valid" in auth.looked("x.example")


def test_no_configuration_is_no_error(tmp_path: Path) -> None:
    auth = DockerAuth({"DOCKER_CONFIG": str(tmp_path)})
    assert auth.credentials("x.example") is None
    assert auth.looked("x.example") == f"no credentials are in {tmp_path}/config.json, which is not there"
    (tmp_path / "config.json").write_text("{")
    assert "not Docker's configuration" in auth.looked("x.example")
    assert DockerAuth({"HOME": "/home/me"}).path == Path("/home/me/.docker/config.json")


def test_a_login_while_the_kernel_runs_counts(tmp_path: Path) -> None:
    auth = config(tmp_path, auths={})
    assert auth.credentials("x.example") is None
    config(tmp_path, auths={"x.example": packed("me", "pw")})
    assert auth.credentials("x.example") == Credentials("me", "pw")


def test_the_environment_may_hold_the_configuration(tmp_path: Path) -> None:
    inline = json.dumps({"auths": {"x.example": packed("ci", "pw")}})
    auth = DockerAuth({"DOCKER_AUTH_CONFIG": inline, "DOCKER_CONFIG": str(tmp_path)})
    assert auth.credentials("x.example") == Credentials("ci", "pw")


def test_secrets_are_not_in_what_is_printed() -> None:
    shown = repr(Credentials("me", "pass-word", "identity-token", "registry-token"))
    assert "me" in shown
    assert "word" not in shown
    assert "token'" not in shown


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        (
            'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {"realm": "https://auth.example/token", "service": "registry", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        ('Basic realm="x \\"y\\""', [("basic", {"realm": 'x "y"'})]),
        ("BASIC REALM=plain", [("basic", {"realm": "plain"})]),
        (
            'Negotiate, Basic realm="a", Bearer realm="b"',
            [("negotiate", {}), ("basic", {"realm": "a"}), ("bearer", {"realm": "b"})],
        ),
        ("", []),
        ("====", []),
    ],
)
def test_challenges_are_parsed(header: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == [Challenge(scheme, parameters) for scheme, parameters in challenges]
