"""The command in a real pseudo-terminal: keys, sizes, signals, and the terminal given back."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import COMMAND

PATIENCE = 60.0


class Terminal:
    """A pseudo-terminal with a program at its other end; `seen` is all that it has shown."""

    def __init__(self, words: list[str], environ: dict[str, str], cwd: Path) -> None:
        self.master, slave = pty.openpty()
        self.resize(30, 100, tell=False)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=environ, cwd=cwd, preexec_fn=_own_session
        )
        self.slave = slave
        self.seen = ""

    def resize(self, rows: int, columns: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, array.array("H", (rows, columns, 0, 0)))
        if tell:
            os.kill(self.process.pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, text: str) -> str:
        """Read until `text` is shown; return what was shown before it, and forget that."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come after {self.seen!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:
                    raise AssertionError(f"{text!r} did not come after {self.seen!r}") from None
        before, _, self.seen = self.seen.partition(text)
        return before

    def end(self) -> int:
        return self.process.wait(PATIENCE)

    @property
    def restored(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Close it, as a window or a server does that ends."""
        for fd in {self.slave, self.master} - {-1}:
            os.close(fd)
        self.slave = self.master = -1


def _own_session() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)


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


def test_a_shell_has_keys_a_size_and_an_exit_code(terminal: type[Terminal]) -> None:
    shell = terminal(*COMMAND, "run", "-it", "busybox", "sh")
    shell.type("echo $((40 + 2)); stty size\r")
    shell.until("42\r\n30 100\r\n")
    assert not shell.restored  # keys are the process's
    shell.resize(11, 55)
    shell.type("stty size\r")
    shell.until("11 55\r\n")
    shell.type("sh -c 'echo u\"\"p; exec cat'\r")
    shell.until("up\r\n")  # from a process that has the terminal's foreground
    shell.type("\x03")  # ends cat, and not the shell or the command
    shell.until("/ # ")
    shell.type("echo code=$?\r")
    shell.until("code=130\r\n")
    shell.type("exit 7\r")
    assert shell.end() == 7
    assert shell.restored


def test_a_signal_to_the_command_reaches_the_process(terminal: type[Terminal]) -> None:
    script = "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    shell = terminal(*COMMAND, "run", "-it", "busybox", "sh", "-c", script)
    shell.until("ready")
    shell.process.send_signal(signal.SIGTERM)
    shell.until("got it")
    assert shell.end() == 5
    assert shell.restored


def test_interrupts_without_a_terminal_of_its_own(terminal: type[Terminal]) -> None:
    script = "trap 'echo got it; exit 5' INT; echo ready; while :; do sleep 0.05; done"
    shell = terminal(*COMMAND, "run", "busybox", "sh", "-c", script)
    shell.until("ready")
    shell.type("\x03")
    shell.until("got it")
    assert shell.end() == 5


def test_a_deaf_process_is_killed_at_the_third_interrupt(terminal: type[Terminal]) -> None:
    shell = terminal(*COMMAND, "run", "busybox", "sh", "-c", "trap '' INT; echo ready; exec sleep 1000")
    shell.until("ready")
    for _ in range(3):
        shell.type("\x03")
        time.sleep(0.2)  # signals that are pending are one
    assert shell.end() == 137


def test_a_process_ends_with_its_terminal(terminal: type[Terminal]) -> None:
    shell = terminal(*COMMAND, "run", "-it", "busybox", "sh", "-c", "echo ready; exec sleep 7654")
    shell.until("ready")
    shell.hang_up()
    assert shell.end() == 137


def test_job_control_of_a_shell_works(terminal: type[Terminal]) -> None:
    shell = terminal("bash", "--norc", "-i")
    shell.type("PS1='ready> '; stty -echo\n")
    shell.until("ready> ")
    shell.type(" ".join(COMMAND) + " run -it busybox sh; echo ended=$?\n")
    shell.type("echo in=$((1 + 1))\r")
    shell.until("in=2")
    own = subprocess.run(["ps", "-o", "pid=", "--ppid", str(shell.process.pid)], capture_output=True, text=True)
    pid = int(own.stdout.split()[0])
    os.kill(pid, signal.SIGTSTP)
    shell.until("ready> ")  # the shell has its terminal again
    shell.type("fg >/dev/null\n")
    time.sleep(0.5)
    shell.type("echo again=$((1 + 2)); exit 3\r")
    shell.until("again=3")
    shell.until("ready> ")


def test_progress_is_drawn_in_a_terminal(terminal: type[Terminal], tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN --network=none echo drawn; sleep 0.5\nRUN exit 4\n")
    screen = terminal(*COMMAND, "build", "--no-cache", ".")
    screen.until("[+] Building")
    screen.until("=> # drawn")
    screen.until("ERROR")
    screen.until("exit code: 4")
    assert screen.end() == 1
    (tmp_path / "slow").write_text("FROM busybox\nRUN echo started; sleep 1000\n")
    stopped = terminal(*COMMAND, "build", "--no-cache", "-f", "slow", ".")
    stopped.until("=> # started")
    stopped.type("\x03")
    assert stopped.end() == 130


def test_debug_opens_a_shell_where_a_step_failed(terminal: type[Terminal], tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nWORKDIR /here\nRUN echo lost > left; exit 9\n")
    shell = terminal(*COMMAND, "build", "--debug", "--progress=plain", ".")
    shell.until("This shell runs where the step failed")
    shell.type("pwd; cat left; exit\r")
    shell.until("/here\r\nlost\r\n")
    assert shell.end() == 1
