"""The command in a real pseudo-terminal: keys, sizes, signals, and the terminal given back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from .conftest import COMMAND
from .pseudo import Terminal


def test_a_shell_has_keys_a_size_and_an_exit_code(terminal: type[Terminal]) -> None:
    shell = terminal(*COMMAND, "run", "-it", "busybox", "sh")
    shell.type("echo $((40 + 2)); stty size\r")
    shell.until("42\r\n30 100\r\n")
    assert not shell.restored  # keys are the process's
    shell.resize(11, 55)
    shell.until_size("11 55")
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
