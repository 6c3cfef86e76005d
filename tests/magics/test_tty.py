"""IPython in a real pseudo-terminal: progress is drawn over again, and the result is in colour."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.cli.test_terminal import Terminal

PLAIN = {"NO_COLOR": "1"}


@pytest.mark.parametrize("asked", [{}, PLAIN], ids=["colours", "no colours"])
def test_a_build_in_a_terminal_is_drawn_and_coloured_where_that_is_wanted(
    tmp_path: Path, asked: dict[str, str]
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY <<EOF /hello.txt\nhello\nEOF\n")
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
        terminal.until("In [1]:")
        terminal.type("%load_ext pybuild_magic\n")
        terminal.until("In [2]:")
        terminal.type("%build -t hello .\n")
        terminal.until("[+] Building ")  # the layout of a screen that is drawn over again
        terminal.until("FINISHED")
        name, digest = ("hello:latest", "sha256:") if asked else ("\x1b[1mhello:latest\x1b[0m", "\x1b[2msha256:")
        terminal.until("Built in ")
        terminal.until(name)
        terminal.until(digest)
        terminal.until("In [3]:")
        terminal.type("exit\n")
        assert terminal.end() == 0
    finally:
        terminal.process.kill()
