"""Each command in a pseudo-terminal: it ends as it should, says something, and gives the terminal back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pybuild_magic.cli.commands import table

from .conftest import COMMAND
from .pseudo import Terminal

DOCKERFILE = "FROM busybox\nRUN --network=none echo hello > /greeting\n"
SLOW = "FROM busybox\nRUN --network=none echo started; sleep 1000\n"
LINES: dict[str, tuple[int, str]] = {
    "build -t each .": (0, "FINISHED"),
    "build --progress=plain .": (0, "CACHED"),
    "bake --print": (0, '"default"'),
    "run each cat /greeting": (0, "hello"),
    "run --memory 64m --pids-limit 50 each true": (0, "64 MiB"),
    "exec going true": (0, ""),
    "exec going /missing": (127, "no such file"),
    "ps": (0, "going"),
    "logs going": (0, "ready"),
    "images": (0, "each:latest"),
    "inspect each": (0, "linux/"),
    "diff busybox each": (0, "/greeting"),
    "diff --format json busybox each": (0, '"path": "/greeting"'),
    "history": (0, "completed"),
    "du": (0, "reclaimable"),
    "prune": (0, "Freed"),
    "gc": (0, "There is nothing to collect"),
    "fsck": (0, "The store is sound"),
    "sbom each": (0, "0 packages"),
    "slim each": (0, "nothing significant"),
    "share each": (0, "docker load"),
    "lock .": (0, "Wrote Dockerfile.lock"),
    "save each each.tar": (0, "Saved each"),
    "load each.tar": (0, "Loaded"),
    "convert each oci:layout": (0, "layout"),
    "imagetools inspect Upper": (1, "is not an image name"),
    "commit nosuch": (1, "There is no stopped run nosuch"),
    "rm nosuch": (1, "nosuch"),
    "volume create each": (0, "each"),
    "volume ls": (0, "each"),
    "volume rm each": (0, "Removed each"),
    "kernel each": (1, "has no Jupyter kernel"),
    "kernels": (0, "No image is a kernel yet"),
    "repo .": (0, "Build it with: pybuild build"),
    "env --no-such": (125, "Unknown flag"),
    "test notes.ipynb": (1, "needs an image"),
    "builders": (0, "embedded *"),
    "use embedded": (0, "export BUILDX_BUILDER=embedded"),
    "doctor": (0, "✓"),
    "completion bash": (0, "complete "),
    "stop --nosuch": (125, "Unknown flag"),
    "nosuch": (1, "no command"),
}
"""The exit code, and a part of what is shown. A line may use what those above it leave."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("each")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "slow").write_text(SLOW)
    (folder / "docker-bake.hcl").write_text('target "default" {}\n')
    return folder


@pytest.fixture
def compiled(environ: dict[str, str], place: Path) -> dict[str, str]:
    """Return the environment, in which compiled modules are kept, since there are many processes."""
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    environ["PYTHONPYCACHEPREFIX"] = str(place / "pycache")
    return environ


@pytest.fixture
def going(compiled: dict[str, str]) -> Iterator[None]:
    """Keep a run in the background that does not end when it is asked to."""
    script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.1; done"
    words = [*COMMAND, "run", "-d", "--rm", "--name", "going", "busybox", "sh", "-c", script]
    subprocess.run(words, env=compiled, check=True)
    yield
    subprocess.run([*COMMAND, "stop", "-t", "0", "going"], env=compiled, check=True)


@pytest.fixture
def terminal(compiled: dict[str, str], place: Path) -> Iterator[Callable[..., Terminal]]:
    with ExitStack() as opened:

        def start(*words: str) -> Terminal:
            return opened.enter_context(closing(Terminal(list(words), compiled, place)))

        yield start


def test_every_command_is_among_the_lines() -> None:
    assert set(table()) <= {line.split()[0] for line in LINES}


@pytest.mark.usefixtures("going")
def test_every_command_ends_well_in_a_terminal(terminal: Callable[..., Terminal]) -> None:
    for line, (code, text) in LINES.items():
        command = terminal(*COMMAND, *line.split())
        shown = command.rest()
        assert (command.end(), text in shown) == (code, True), f"{line}: {shown}"
        assert command.restored, line
        assert not [word for word in ("Traceback", "%build", "%env") if word in shown], f"{line}: {shown}"
        command.close()


@pytest.mark.usefixtures("going")
def test_another_process_has_keys_a_size_and_an_exit_code(terminal: Callable[..., Terminal]) -> None:
    shell = terminal(*COMMAND, "exec", "-it", "going", "sh")
    shell.type("stty size\r")
    shell.until("30 100\r\n")
    assert not shell.restored
    shell.resize(11, 55)
    shell.until_size("11 55")
    shell.type("sh -c 'echo u\"\"p; exec cat'\r")
    shell.until("up\r\n")
    shell.type("\x03")  # ends cat, and not the shell or the command
    shell.until("/ # ")
    shell.type("echo code=$?\r")
    shell.until("code=130\r\n")
    shell.type("exit 7\r")
    assert (shell.end(), shell.restored) == (7, True)


@pytest.mark.usefixtures("going")
def test_an_interrupt_ends_a_log_that_is_followed(terminal: Callable[..., Terminal]) -> None:
    log = terminal(*COMMAND, "logs", "-f", "going")
    log.until("ready")
    log.type("\x03")
    assert "Traceback" not in log.rest()
    assert (log.end(), log.restored) == (130, True)


def test_a_build_is_suspended_and_goes_on_in_the_foreground(terminal: Callable[..., Terminal]) -> None:
    shell = terminal("bash", "--norc", "-i")
    shell.type("PS1='ready> '; stty -echo\n")
    shell.until("ready> ")
    shell.type(" ".join(COMMAND) + " build --progress=plain --no-cache -f slow .; echo ended=$?\n")
    shell.until("started\r\n")
    job = os.tcgetpgrp(shell.master)
    shell.type("\x1a")
    shell.until("Stopped")
    shell.until("ready> ")
    shell.type("fg; echo after=$?\n")
    shell.until("slow .")  # the shell names what it brings back
    shell.until_foreground(job)
    shell.type("\x03")
    shell.until("CANCELED")
    shell.until("after=130")


INTERRUPTS: dict[str, str] = {
    "stop -t 1000 going": "asked",
    "save big never": "sending tarball",
    "load big.tar": "extracting",
    "convert --compression=gzip big oci:never": "exporting layers",
    "convert big oci-archive:never": "sending tarball",
    "convert big docker://{silent}/big": "copying",
    "convert docker://{silent}/big oci:never": "copying",
}
"""What is shown, or written to the log of `going`, when the command is interrupted."""


@pytest.fixture
def silent() -> Iterator[str]:
    """Yield the address of a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def big(place: Path, cli_home: Path) -> None:
    """Make an image that takes a while to copy."""
    environ = {**os.environ, "PYBUILD_HOME": str(cli_home)}
    text = "FROM busybox\nRUN --network=none head -c 400m /dev/urandom > /big\n"
    subprocess.run([*COMMAND, "build", "-q", "-t", "big", "-"], input=text.encode(), env=environ, check=True)
    subprocess.run([*COMMAND, "save", "big", place / "big.tar"], env=environ, check=True)


@pytest.mark.usefixtures("going", "big")
@pytest.mark.parametrize("line", INTERRUPTS)
def test_an_interrupt_ends_a_command_at_once(
    line: str, silent: str, terminal: Callable[..., Terminal], place: Path, compiled: dict[str, str], tmp_path: Path
) -> None:
    before = sorted(place.iterdir())
    # The store of the others has what would be loaded.
    words = ["env", f"PYBUILD_HOME={tmp_path}", *COMMAND] if line.startswith("load") else COMMAND
    for _ in range(5):
        command = terminal(*words, *line.format(silent=silent).split())
        seen = terminal(*COMMAND, "logs", "-f", "going") if line.startswith("stop") else command
        seen.until(INTERRUPTS[line])
        began = time.monotonic()
        command.type("\x03")
        shown = command.rest().replace("^C", "")
        code = command.end()
        if (place / "never").exists() and code == 0:  # it was faster
            (place / "never").unlink()
            continue
        assert (code, command.restored) == (130, True), shown
        assert time.monotonic() - began < 3
        assert "Traceback" not in shown
        assert [row for row in shown.splitlines() if "CANCELED" in row or "ERROR" in row] in ([], ["#1 CANCELED"])
        assert sorted(place.iterdir()) == before
        break
    else:
        pytest.fail("it was never interrupted")
    left = subprocess.run([*words, "fsck"], env=compiled, capture_output=True, check=False)
    assert b"The store is sound" in left.stdout + left.stderr


def test_an_interrupt_of_a_command_that_begins_shows_nothing(terminal: Callable[..., Terminal]) -> None:
    script = (
        "import os, signal, sys; from pybuild_magic import cli\n"
        "def hook(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'pybuild_magic.cli.commands':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.addaudithook(hook); sys.argv[1:] = ['images']; cli.entry()\n"
    )
    command = terminal(sys.executable, "-c", script)
    assert (command.rest(), command.end()) == ("", 130)
