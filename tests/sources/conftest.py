"""What the tests of sources share: a store, one build's context, and the status that it sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.builders.embedded.sources import Resolver, SourceContext, open_source
from pybuild_magic.cancel import Cancel
from pybuild_magic.llb.ops import SourceOp
from pybuild_magic.session import Session
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.status.report import Reporter
from pybuild_magic.store import Store


@dataclass
class Build:
    """One build's side of the sources, and everything it was told."""

    store: Store
    session: Session
    mode: str = "default"
    cancel: Cancel = field(default_factory=Cancel)
    messages: list[SolveStatus] = field(default_factory=list[SolveStatus])

    def __post_init__(self) -> None:
        self.reporter = Reporter(self.messages.append)
        self.resolver = Resolver(self.store, self.session, self.cancel, self.reporter, self.mode)
        self.context = SourceContext(self.store, self.session, self.cancel, self.resolver)

    def open(self, identifier: str, attrs: dict[str, str] | None = None, platform: str = "linux/amd64") -> Opened:
        return Opened(self, open_source(SourceOp(identifier, attrs or {}), platform, self.context))

    @property
    def statuses(self) -> dict[str, tuple[int, int]]:
        """(current, total) of every counter and step, as last told."""
        return {s.id: (s.current, s.total) for message in self.messages for s in message.statuses}

    @property
    def logs(self) -> str:
        return b"".join(log.data for message in self.messages for log in message.logs).decode()


@dataclass
class Opened:
    build: Build
    source: Any

    def key(self) -> str:
        with self.build.reporter.vertex("sha256:1", "source") as vertex:
            return self.source.key(vertex)

    def snapshot(self) -> tuple[str, ...]:
        with self.build.reporter.vertex("sha256:1", "source") as vertex:
            return self.source.snapshot(vertex)

    def files(self) -> dict[str, bytes]:
        """Paths and contents of the regular files of the snapshot."""
        tree = self.build.store.tree(self.snapshot())
        return {entry.path: tree.read(entry) for entry in tree.walk() if entry.is_file}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's own settings decide no test."""
    names = ("PYBUILD_REGISTRY_MIRRORS", "PYBUILD_INSECURE_REGISTRIES", "PYBUILD_REGISTRY_CERTS", "DOCKER_AUTH_CONFIG")
    for name in (*names, "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def build(store: Store) -> Build:
    return Build(store, Session())
