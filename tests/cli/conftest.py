"""The command, on a store that has the base image."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.cli import main
from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.services.baseimages import BaseImage

from .pseudo import Terminal

Pybuild = Callable[..., "Ended"]
COMMAND = [sys.executable, "-m", "pybuild_magic"]


@pytest.fixture(scope="session")
def cli_home(tmp_path_factory: pytest.TempPathFactory, busybox_layout: BaseImage) -> Path:
    home = tmp_path_factory.mktemp("cli-store")
    with Store(home) as store:
        load_image(store, busybox_layout.path, "busybox")
    return home


@pytest.fixture
def environ(cli_home: Path) -> dict[str, str]:
    return {**os.environ, "PYBUILD_HOME": str(cli_home), "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm"}


@dataclass
class Ended:
    """What a command printed."""

    stdout: bytes
    stderr: bytes


@pytest.fixture
def pybuild(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Pybuild:
    """Run the command, in this process; `code` is what it has to end with."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builders, "_embedded", None)

    def call(*words: str, stdin: bytes = b"", code: int = 0) -> Ended:
        kept = os.dup(0)
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            os.dup2(file.fileno(), 0)
        capfdbinary.readouterr()
        try:
            with monkeypatch.context() as patch, open(0, closefd=False) as given:
                patch.setattr(sys, "stdin", given)
                ended = main(words)
        finally:
            os.dup2(kept, 0)
            os.close(kept)
        out, err = capfdbinary.readouterr()
        assert ended == code, err.decode()
        return Ended(out, err)

    return call


@pytest.fixture
def terminal(environ: dict[str, str], tmp_path: Path) -> Iterator[type[Terminal]]:
    opened: list[Terminal] = []

    class Opened(Terminal):
        def __init__(self, *words: str) -> None:
            super().__init__(list(words), environ, tmp_path)
            opened.append(self)

    yield Opened
    for each in opened:
        each.close()
