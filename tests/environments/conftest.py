"""A directory of installed distributions, and an index that has them, both made here."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .index import LocalIndex, served, wheel

Install = Callable[..., None]


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the steps that many tests have in common are built once."""
    return tmp_path_factory.mktemp("environments") / "store"


@pytest.fixture
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of pip and uv, nothing is configured but what a test configures."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "PIP_CONFIG_FILE", "UV_INDEX"):
        monkeypatch.delenv(name, raising=False)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "UV_DEFAULT_INDEX", "UV_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home-of-configuration"
    home.mkdir()
    monkeypatch.setattr("pybuild_magic.environments.configuration._pip_files", lambda: iter([home / "pip.conf"]))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("UV_CONFIG_FILE", str(home / "uv.toml"))


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, no_configuration: None) -> Iterator[LocalIndex]:
    """An index with ipykernel, which is the one that is configured."""
    with served(LocalIndex()) as running:
        running.add("ipykernel", "7.0", ["comm>=0.1"])
        running.add("comm", "0.2")
        running.add("comm", "0.3a1")
        monkeypatch.setenv("PIP_INDEX_URL", running.url)
        yield running


@pytest.fixture
def site(tmp_path: Path, no_configuration: None) -> Path:
    """A directory of modules."""
    path = tmp_path / "site-packages"
    path.mkdir()
    return path


@pytest.fixture
def install(site: Path) -> Install:
    """Install a distribution there, as an installer would leave it."""

    def put(
        name: str,
        version: str,
        requires: tuple[str, ...] = (),
        *,
        requested: bool = True,
        installer: str = "pip",
        origin: dict[str, Any] | None = None,
        more: dict[str, str] | None = None,
    ) -> None:
        _, content = wheel(name, version, requires, more=more)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(site)
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        (info / "INSTALLER").write_text(f"{installer}\n")
        if requested:
            (info / "REQUESTED").write_text("")
        if origin:
            (info / "direct_url.json").write_text(json.dumps(origin))

    return put
