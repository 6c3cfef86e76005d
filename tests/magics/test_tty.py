"""IPython in a real pseudo-terminal: progress is drawn over again, and the result is in colour."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pybuild_magic.display.table import Table
from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.cli.test_terminal import Terminal
from tests.services.baseimages import BaseImage

PLAIN = {"NO_COLOR": "1"}
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


@contextmanager
def ipython(tmp_path: Path, asked: dict[str, str], columns: int = 100) -> Iterator[Terminal]:
    """Run IPython with the extension loaded, up to its second prompt."""
    environ = {name: value for name, value in os.environ.items() if name not in PLAIN}
    environ |= {
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYBUILD_HOME": str(tmp_path / "store"),
        "TERM": "xterm",
        **asked,
    }
    words = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit"]
    terminal = Terminal(words, environ, tmp_path)
    try:
        terminal.resize(30, columns, tell=False)
        terminal.until("In [1]:")
        terminal.type("%load_ext pybuild_magic\n")
        terminal.until("In [2]:")
        yield terminal
        terminal.type("exit\n")
        assert terminal.end() == 0
    finally:
        terminal.close()


@pytest.mark.parametrize("asked", [{}, PLAIN], ids=["colours", "no colours"])
def test_a_build_in_a_terminal_is_drawn_and_coloured_where_that_is_wanted(
    tmp_path: Path, asked: dict[str, str]
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY <<EOF /hello.txt\nhello\nEOF\n")
    with ipython(tmp_path, asked) as terminal:
        terminal.type("%build -t hello .\n")
        terminal.until("[+] Building ")  # the layout of a screen that is drawn over again
        terminal.until("FINISHED")
        name, digest = ("hello:latest", "sha256:") if asked else ("\x1b[1mhello:latest\x1b[0m", "\x1b[2msha256:")
        terminal.until("Built in ")
        terminal.until(name)
        terminal.until(digest)
        terminal.until("In [3]:")
        terminal.type("%build inspect hello\n")
        terminal.until(name)
        terminal.until(digest)
        terminal.until("In [4]:")


def test_a_dumb_terminal_gets_lines_without_colours(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY <<EOF /hello.txt\nhello\nEOF\n")
    with ipython(tmp_path, {"TERM": "dumb"}) as terminal:
        terminal.type("%build -t hello .\n")
        shown = terminal.until("In [3]:")
    assert "#1 [internal] load build definition" in shown
    assert "Built in " in shown
    assert "\x1b" not in shown


def test_a_narrow_terminal_has_no_rows_that_wrap_and_a_canceled_build_is_no_error(
    tmp_path: Path, busybox_layout: BaseImage
) -> None:
    store = Store(tmp_path / "store")
    load_image(store, busybox_layout.path, "busybox")
    store.close()
    (tmp_path / "slow").write_text("FROM busybox\nRUN echo started; sleep 1000\n")
    with ipython(tmp_path, {}, 40) as terminal:
        terminal.type("%build -f slow .\n")
        terminal.until("# started")
        terminal.type("\x03")
        canceled = terminal.until("In [3]:")
        for number, command in enumerate(["images", "du", "history", "inspect busybox"], 4):
            terminal.type(f"%build {command}\n")
            shown = ESCAPE.sub("", terminal.until(f"In [{number}]:")).split("\n")
            rows = [line for line in shown if line.startswith("  ")]
            assert rows
            assert [row for row in rows if len(row) > 40] == []
    assert "CANCELED [2/2] RUN" in canceled
    assert "The build was interrupted in [2/2] RUN" in canceled
    assert "ERROR" not in canceled
    assert "\x1b[31m" not in canceled


def test_a_table_fits_its_terminal() -> None:
    rows = (("a" * 12, "1 kB", "d" * 100), ("b", "20 kB", "e"))
    table = Table(("NAME", "SIZE", "DESCRIPTION"), rows, numbers=frozenset({"SIZE"}))
    assert table.text(40).split("\n") == [
        "NAME           SIZE  DESCRIPTION",
        "aaaaaaaaaaaa   1 kB  dddddddddddddddddd…",
        "b             20 kB  e",
    ]
    assert table.text(20).split("\n")[:3] == ["aaaaaaaaaaaa", "  SIZE         1 kB", "  DESCRIPTION  dddd…"]
    assert table.text() == repr(table)
    assert "d" * 100 in repr(table)
    assert repr(Table(("NAME",), (), "None yet.")) == "None yet."
