"""Secrets are for the step that asks for them, and are found nowhere afterwards."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.images.load import load_image
from tests.search import holders
from tests.services import require
from tests.services.baseimages import BaseImage
from tests.services.common import tool
from tests.services.registry import PASSWORD, Registry

from .lab import Home, close_builder
from .test_push import log_in


def found(token: str, *roots: Path) -> list[Path]:
    """Files that hold the token, as it is or in base64."""
    encoded = base64.b64encode(token.encode())[:-4]
    return [path for root in roots for path in holders(root, token.encode(), encoded)]


@pytest.mark.parametrize("way", ["runc", "builtin", "copying"])
def test_a_secret_is_in_no_file_afterwards(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if way == "runc":
        require(lambda: tool("runc"))
    monkeypatch.setenv("PYBUILD_RUNTIME", "runc" if way == "runc" else "builtin")
    if way == "copying":
        monkeypatch.setenv("PYBUILD_OVERLAY", "0")
    file, token, other = tmp_path / "token", secrets.token_hex(20), secrets.token_hex(20)
    file.write_text(token)
    monkeypatch.setenv("OTHER", other)
    dockerfile = """FROM busybox
RUN --mount=type=secret,id=token wc -c < /run/secrets/token && cp /run/secrets/token /dev/shm/x
RUN --mount=type=secret,id=other,env=VALUE --mount=type=secret,id=token,target=/etc/token,mode=0400,uid=5 \\
    test -n "$VALUE" && stat -c '%a %u' /etc/token && echo $VALUE | wc -c
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
RUN test ! -e /run/secrets/token && test ! -e /etc/token && test -z "$VALUE"
"""
    out = tmp_path / "out"
    out.mkdir()
    outputs = [f"type={kind},dest={out}/{kind}" for kind in ("oci", "local", "tar")]
    result = home.build(
        dockerfile,
        tags="x",
        secrets=[f"id=token,src={file}", "id=other,env=OTHER"],
        outputs=[*outputs, "type=image"],
        metadata_file=out / "metadata",
        progress="plain",
    )
    assert "40" in "".join(result.logs.values())
    assert "400 5" in "".join(result.logs.values())
    shown = capsys.readouterr()
    bundle = json.dumps(result._repr_mimebundle_()) + str(result.request) + shown.out + shown.err
    for value in (token, other):
        assert value not in bundle
        assert found(value, home.root, out) == []
    history = result.image.config["history"] if result.image else []
    assert any("--mount=type=secret" in entry["created_by"] or "wc -c" in entry["created_by"] for entry in history)
    failing = "FROM busybox\nRUN --mount=type=secret,id=token,required cat /nope /run/secrets/token > /leak; false\n"
    error = home.fails(failing, secrets=f"id=token,src={file}")
    assert token not in error.render()
    close_builder()
    assert found(token, home.root) == []
    # A secret's value is no part of the cache's key.
    file.write_text("x" * 40)
    again = home.build(dockerfile, secrets=[f"id=token,src={file}", "id=other,env=OTHER"])
    assert all(vertex.cached for vertex in again.vertexes if "RUN" in vertex.name)


def test_credentials_of_a_registry_are_kept_nowhere(home: Home, basic_registry: Registry, tmp_path: Path) -> None:
    log_in(basic_registry.host)
    home.build("FROM busybox\nLABEL a=b\n", tags=f"{basic_registry.host}/x:1", push=True)
    home.build(f"FROM {basic_registry.host}/x:1\nRUN true\n", pull=True)
    close_builder()
    assert found(PASSWORD, home.root) == []


def test_credentials_of_a_url_are_in_no_error(home: Home) -> None:
    for source in ("http://me:hunter2@127.0.0.1:1/f", "http://me:hunter2@127.0.0.1:1/x.git"):
        error = home.fails(f"FROM scratch\nADD {source} /f\n")
        assert "hunter2" not in error.message
        assert "127.0.0.1:1" in error.message


def test_build_args_are_in_the_history_as_buildkit_has_them(home: Home) -> None:
    """But for the credentials of a URL, which nothing shows or keeps."""
    dockerfile = "FROM busybox\nARG A=1\nARG B\nENV C=$A\nRUN echo $A$B\nARG HTTP_PROXY\nRUN echo 2\n"
    args = {"B": "two words", "HTTP_PROXY": "http://user:secret@127.0.0.1:1"}
    result = home.build(dockerfile, tags="x", build_args=args)
    assert result.image is not None
    lines = [entry["created_by"] for entry in result.image.config["history"]]
    assert lines[-6:] == [
        "ARG A=1",
        "ARG B=two words",
        "ENV C=1",
        "RUN |2 A=1 B=two words /bin/sh -c echo $A$B # buildkit",
        "ARG HTTP_PROXY=http://xxxxx:xxxxx@127.0.0.1:1",
        "RUN |3 A=1 B=two words HTTP_PROXY=http://xxxxx:xxxxx@127.0.0.1:1 /bin/sh -c echo 2 # buildkit",
    ]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A real ssh-agent with one key: its socket, and the key as `ssh-add -L` prints it."""
    program = require(lambda: tool("ssh-agent"))
    require(lambda: tool("runc"))
    # A socket's path has a limit, which pytest's directories come near.
    directory = Path(f"/tmp/pybuild-agent-{os.getpid()}")
    directory.mkdir()
    socket = directory / "agent"
    running = subprocess.Popen([program, "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
        env = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", tmp_path / "key"], env=env, check=True)
        yield str(socket), (tmp_path / "key.pub").read_text().split()[1]
    finally:
        running.kill()
        running.wait()
        socket.unlink(missing_ok=True)
        directory.rmdir()


IDENTITIES = """import base64, os, socket, struct
with socket.socket(socket.AF_UNIX) as agent:
    agent.connect(os.environ["SSH_AUTH_SOCK"])
    agent.sendall(struct.pack(">IB", 1, 11))  # SSH_AGENTC_REQUEST_IDENTITIES
    answer = agent.recv(65536)
length = struct.unpack_from(">I", answer, 9)[0]
print(base64.b64encode(answer[13 : 13 + length]).decode())
"""


def test_an_agent_answers_in_the_step_and_nowhere_else(
    home: Home, debian_layout: BaseImage, agent: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_image(home.builder.store, debian_layout.path, "debian")
    socket, key = agent
    dockerfile = """FROM debian
COPY identities.py /
RUN --mount=type=ssh python3 /identities.py
RUN --mount=type=ssh,id=mine,target=/s,mode=0666,uid=9 stat -c '%a %u %F' /s
RUN test -z "$SSH_AUTH_SOCK"
"""
    monkeypatch.setenv("SSH_AUTH_SOCK", socket)
    for runtime in ("runc", "builtin"):
        monkeypatch.setenv("PYBUILD_RUNTIME", runtime)
        close_builder()
        result = home.build(
            dockerfile,
            {"identities.py": IDENTITIES},
            ssh=["default", f"mine={socket}"],
            no_cache=True,
        )
        assert sorted(result.logs.values()) == sorted([key, "666 9 socket"])
    private = (tmp_path / "key").read_text().splitlines()[2]
    close_builder()
    assert found(private, home.root) == []
