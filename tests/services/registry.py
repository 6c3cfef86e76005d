"""A real registry (docker-registry) on a free loopback port: open, with basic auth, or with bearer tokens."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .common import ServiceError, tail, tool
from .tokens import SERVICE, TokenServer

Auth = Literal["none", "basic", "token"]

USERNAME = "alice"
PASSWORD = "open-sesame"
# bcrypt of the password above, as htpasswd(1) writes it: docker-registry takes no other scheme.
HTPASSWD = f"{USERNAME}:$2b$05$abcdefghijklmnopqrstuutXu9KzOt.1yBoZUeFWoT/914/JfszCO\n"

START_SECONDS = 20


@dataclass(frozen=True)
class Request:
    """One line of the registry's access log."""

    method: str
    path: str
    """With the query."""
    status: int
    agent: str


@dataclass(frozen=True)
class Registry:
    """A running registry."""

    host: str
    """Host and port, as they begin a reference: `127.0.0.1:40123`."""
    auth: Auth
    directory: Path
    """Holds `storage/`, `config.yml` and the log; gone when the registry stops."""
    tokens: TokenServer | None
    """The token server, when `auth` is `token`."""

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}"

    @property
    def credentials(self) -> str | None:
        """`user:password`, or None where nobody asks for them."""
        return None if self.auth == "none" else f"{USERNAME}:{PASSWORD}"

    def blob_path(self, digest: str) -> Path:
        """The file in which the registry keeps a blob or manifest; tests corrupt it."""
        algorithm, _, encoded = digest.partition(":")
        blobs = self.directory / "storage/docker/registry/v2/blobs"
        return blobs / algorithm / encoded[:2] / encoded / "data"

    def requests(self) -> list[Request]:
        """What clients have asked for so far, oldest first."""
        line = re.compile(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3}) \S+ "[^"]*" "([^"]*)"')
        text = (self.directory / "log").read_text(errors="replace")
        return [Request(m[1], m[2], int(m[3]), m[4]) for m in line.finditer(text)]


@contextlib.contextmanager
def registry(auth: Auth = "none", *, anonymous_pull: bool = False) -> Iterator[Registry]:
    """Run a registry with an empty temporary store until the end of the block.

    Args:
        auth: who may use it. `basic` and `token` know one user, `USERNAME` with `PASSWORD`.
        anonymous_pull: with `token`, give everybody tokens to pull, as Docker Hub does.

    Raises:
        ServiceMissingError: docker-registry is not installed.
        ServiceError: it did not start; the message has the end of its log.
    """
    program = tool("docker-registry")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pybuild-registry-")))
        tokens = None
        settings: dict[str, Any] = {}
        if auth == "basic":
            (directory / "htpasswd").write_text(HTPASSWD)
            settings = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
        elif auth == "token":
            tokens = stack.enter_context(TokenServer(USERNAME, PASSWORD, anonymous_pull=anonymous_pull))
            (directory / "root.pem").write_bytes(tokens.certificate)
            settings = {
                "token": {
                    "realm": tokens.url,
                    "service": SERVICE,
                    "issuer": tokens.issuer,
                    "rootcertbundle": str(directory / "root.pem"),
                }
            }
        port = stack.enter_context(_process(program, directory, settings))
        yield Registry(f"127.0.0.1:{port}", auth, directory, tokens)


@contextlib.contextmanager
def _process(program: Path, directory: Path, auth: dict[str, Any]) -> Iterator[int]:
    """Run the registry and yield its port."""
    # Another process may take a free port between the look and the use; then the next one is tried.
    for attempt in range(5):
        port = _free_port()
        (directory / "config.yml").write_text(_config(directory, port, auth))
        env = {k: v for k, v in os.environ.items() if not k.startswith(("REGISTRY_", "OTEL_"))}
        with (directory / "log").open("wb") as out:
            command = [program, "serve", directory / "config.yml"]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
        try:
            if not _answers(process, port):
                log = (directory / "log").read_text(errors="replace")
                if "address already in use" in log and attempt < 4:
                    continue
                raise ServiceError(f"docker-registry did not start; the end of its log:\n{tail(log)}")
            yield port
            return
        finally:
            process.terminate()
            process.wait()


def _config(directory: Path, port: int, auth: dict[str, Any]) -> str:
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "of no worth on loopback"},
    }
    return json.dumps({**config, **({"auth": auth} if auth else {})})  # JSON is YAML


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the process that we started, and not another on the same port, answers."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5):
                return process.poll() is None
        except urllib.error.HTTPError as error:
            return error.code == 401 and process.poll() is None
        except OSError:
            time.sleep(0.02)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
