"""Building in tests as a cell does, on a builder by its name; and daemons that are reached in unusual ways."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pybuild_magic.api.run import run
from pybuild_magic.cancel import Cancel
from pybuild_magic.request.options import Context
from pybuild_magic.request.parse import parse_options
from pybuild_magic.result import BuildResult
from tests.services.buildkit import Engine

from . import certificates


@dataclass(frozen=True)
class Lab:
    """One builder, reached by one transport."""

    builder: str
    transport: str
    home: Path
    """A directory of the test's own."""

    def build(
        self, dockerfile: str | None, words: str = "", context: Context = "-", cancel: Cancel | None = None
    ) -> BuildResult:
        """What `%%build --builder BUILDER WORDS` does with the cell."""
        flags = ["--builder", self.builder, *shlex.split(words)]
        return run(parse_options(flags, dockerfile=dockerfile, context=context), cancel=cancel)


@dataclass(frozen=True)
class Proxy:
    """A TLS proxy in front of the engine."""

    process: subprocess.Popen[str]
    port: int
    certs: Path

    def address(self, **options: str) -> str:
        """The builder's address, with the client's certificate unless `options` say otherwise."""
        query = {
            "cacert": str(self.certs / "ca.pem"),
            "cert": str(self.certs / "client.pem"),
            "key": str(self.certs / "client-key.pem"),
            "servername": "buildkitd",
        } | options
        return f"tcp://127.0.0.1:{self.port}?" + "&".join(f"{k}={v}" for k, v in query.items() if v)


@contextlib.contextmanager
def tls_proxy(engine: Engine, directory: Path, kind: str = "grpc") -> Iterator[Proxy]:
    """Run the proxy with mTLS until the end of the block."""
    certs = certificates.make(directory)
    with _proxy(engine, kind, "-", certs / "server.pem", certs / "server-key.pem", certs / "ca.pem") as (process, port):
        yield Proxy(process, port, certs)


@contextlib.contextmanager
def unix_proxy(engine: Engine, path: Path) -> Iterator[str]:
    """The address of a `buildkitd` on a Unix socket."""
    with _proxy(engine, "grpc", path):
        yield f"unix://{path}"


@contextlib.contextmanager
def _proxy(engine: Engine, kind: str, *arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    script = Path(__file__).with_name("tlsproxy.py")
    process = subprocess.Popen(
        [sys.executable, script, engine.socket, kind, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def container_builder(engine: Engine, directory: Path) -> dict[str, str]:
    """The variables with which buildx has a builder `box` in a container, and `docker buildx dial-stdio` leads to it.

    There is no such container: what `docker` is called for is noted in `docker.args`, and the engine answers.
    """
    (directory / "buildx/instances").mkdir(parents=True)
    node = {"Name": "box0", "Endpoint": "default", "DriverOpts": {}}
    instance = {"Name": "box", "Driver": "docker-container", "Nodes": [node]}
    (directory / "buildx/instances/box").write_text(json.dumps(instance))
    stand_in(engine, directory / "bin", "docker")
    return {"BUILDX_CONFIG": str(directory / "buildx"), "PATH": f"{directory}/bin:{os.environ['PATH']}"}


def stand_in(engine: Engine, directory: Path, *names: str) -> None:
    """Programs that note their arguments in `NAME.args` beside `directory`, and speak to the real daemon."""
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_text(
            f"#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done > {directory.parent}/{name}.args\n"
            f"exec {engine.client} buildx dial-stdio --builder default\n"
        )
        (directory / name).chmod(0o755)


_earlier: set[threading.Thread] = set()


def forget_earlier_threads() -> None:
    """What runs now, other tests have begun: a kernel's pages, say, are answered by threads that stay."""
    _earlier.clear()
    _earlier.update(threading.enumerate())


def left_behind() -> list[str]:
    """Our threads that were begun since and still run, after a moment for those that are ending."""
    until, names = time.monotonic() + 5, list[str]()
    while time.monotonic() < until:
        begun = (thread.name for thread in threading.enumerate() if thread not in _earlier)
        names = [name for name in begun if name.startswith("pybuild-")]
        if not names:
            return []
        time.sleep(0.02)
    return names


def children() -> set[int]:
    """Processes that this one has started and that still run."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ends meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found
