"""Secrets, agents and sinks: read when asked, refused early, written whole or not at all."""

from __future__ import annotations

import io
import socket
import tempfile
from pathlib import Path

import pytest

from pybuild_magic.errors import ExportError, UsageError
from pybuild_magic.session import DirSink, FileSink, SecretSource, SecretStore, SSHAgents, SSHSource


def test_secrets_come_from_files_and_variables(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xffsecret\n")
    environ = {"VAR": "value", "both": "from env"}
    store = SecretStore(
        (
            SecretSource("f", str(path)),
            SecretSource("e", env="VAR"),
            SecretSource("both"),
            SecretSource("no", env="UNSET"),
        ),
        environ,
    )
    assert store.get("f") == b"\xffsecret\n"
    assert store.get("e") == b"value"
    assert store.get("both") == b"from env"
    assert store.get("no") == b""
    assert store.get("unknown") is None


def test_secret_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        SecretStore((SecretSource("s", str(tmp_path / "nowhere")),))
    large = tmp_path / "large"
    large.write_bytes(bytes(600 * 1024))
    with pytest.raises(UsageError, match="are possible"):
        SecretStore((SecretSource("s", str(large)),))


def test_agents_are_sockets(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as agent:
        path = f"{short}/agent"
        agent.bind(path)
        agents = SSHAgents((SSHSource(), SSHSource("other", (path,))), {"SSH_AUTH_SOCK": path})
        assert agents.get("default") == agents.get("") == agents.get("other") == path
        assert agents.get("unknown") is None
    key = tmp_path / "id_rsa"
    key.write_text("key")
    with pytest.raises(UsageError, match="keys are used only through an agent"):
        SSHAgents((SSHSource("default", (str(key),)),), {})
    with pytest.raises(UsageError, match="SSH_AUTH_SOCK is not set"):
        SSHAgents((SSHSource(),), {})
    with pytest.raises(UsageError, match="does not exist"):
        SSHAgents((SSHSource("default", (str(tmp_path / "nowhere"),)),), {})


def test_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.tar"
    with FileSink(path).open() as file:
        file.write(b"first")
    assert path.read_bytes() == b"first"
    with pytest.raises(RuntimeError), FileSink(path).open() as file:
        file.write(b"second")
        raise RuntimeError
    assert path.read_bytes() == b"first"
    assert [each.name for each in path.parent.iterdir()] == ["out.tar"]


def test_sinks_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="cannot be written"), FileSink(tmp_path / "file" / "x").open():
        pass
    with pytest.raises(ExportError, match="cannot be made"):
        DirSink(tmp_path / "file" / "x").make()
    with pytest.raises(ExportError, match="No space left on device"), FileSink("/dev/full").open() as full:
        full.write(b"x" * 100_000)


def test_open_file_is_left_open() -> None:
    target = io.BytesIO()
    with FileSink(target).open() as file:
        file.write(b"x")
    assert target.getvalue() == b"x"
