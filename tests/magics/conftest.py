"""A shell of IPython in this process, with the magics loaded and a store and a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from pybuild_magic import builders
from pybuild_magic.builders import embedded_builder


@dataclass
class Shell:
    """Runs cells as a user's session does; `printed` is what the last one wrote."""

    ip: Any
    capsys: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def run(self, source: str) -> Any:
        """Run a cell that must succeed; its value."""
        result = self._run(source)
        result.raise_error()
        return result.result

    def fail(self, source: str) -> BaseException:
        """Run a cell that must fail; the error."""
        result = self._run(source)
        error = result.error_in_exec or result.error_before_exec
        assert error is not None, f"the cell went well: {source}"
        return error

    def _run(self, source: str) -> Any:
        self.capsys.readouterr()
        result = self.ip.run_cell(source, store_history=True)
        self.out, self.err = self.capsys.readouterr()
        return result

    @property
    def names(self) -> dict[str, Any]:
        """The user's variables."""
        return self.ip.user_ns


@pytest.fixture(scope="session")
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def shell(
    store_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    monkeypatch.setenv("PYBUILD_HOME", str(store_home))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builders, "_embedded", None)
    InteractiveShell.clear_instance()
    ip = InteractiveShell.instance()
    ip.run_line_magic("colors", "nocolor")
    ip.run_line_magic("load_ext", "pybuild_magic")
    yield Shell(ip, capsys)
    embedded_builder().close()
    InteractiveShell.clear_instance()
