"""Command lines with words that are wrong: the same exit codes as docker's, and a sentence without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.cli import main
from pybuild_magic.run.background import start
from tests.services.buildkit import Engine

from .cases import DOCKERFILE, IMAGE

Docker = Callable[[str], int]
NAME = f"pybuild-{os.getpid()}-words"
RUN = (
    "",
    "--nonsense IMAGE",
    "IMAGE /missing",
    "IMAGE /etc/passwd",
    "IMAGE /",
    "-w relative IMAGE true",
    "-w /missing IMAGE true",
    "-w /etc/passwd IMAGE true",
    "-u nobodyx IMAGE true",
    "-u 99999999999 IMAGE true",
    "-e =x IMAGE true",
    "--env-file /missing IMAGE true",
    "-v :/x IMAGE true",
    "-v /tmp:relative IMAGE true",
    "-v /tmp:/b:bad IMAGE true",
    "--mount type=bad,target=/x IMAGE true",
    "--mount target=relative IMAGE true",
    "--tmpfs relative IMAGE true",
    "--memory bad IMAGE true",
    "--memory 1k IMAGE true",
    "--cpus bad IMAGE true",
    "--cpus -1 IMAGE true",
    "--pids-limit bad IMAGE true",
    "--ulimit bad IMAGE true",
    "--ulimit bad=1 IMAGE true",
    "--ulimit nofile=5:3 IMAGE true",
    "--cap-add BAD IMAGE true",
    "--cap-drop BAD IMAGE true",
    "--stop-signal BAD IMAGE true",
    "--stop-timeout bad IMAGE true",
    "--network bad IMAGE true",
    "--shm-size bad IMAGE true",
    "--add-host bad IMAGE true",
    "--add-host a:bad IMAGE true",
    "--add-host a:host-gateway IMAGE true",
    "--gpus bad IMAGE true",
    "--device bad IMAGE true",
    "--platform bad/arch/x/y/z IMAGE true",
    "--init=bad IMAGE true",
    "UPPER true",
    "missing:tag! true",
    "-it IMAGE true",
    "-t IMAGE true",
    "--entrypoint /missing IMAGE",
    "-d --name NAME IMAGE true",
    "-d --name /bad/name IMAGE true",
)
OTHERS = (
    "exec",
    "exec NAME",
    "exec MISSING true",
    "exec --nonsense NAME true",
    "exec -w relative NAME true",
    "exec -u nobodyx NAME true",
    "exec -u 99999999999 NAME true",
    "exec -u root:nogroupx NAME true",
    "exec -e =x NAME true",
    "exec --env-file /missing NAME true",
    "exec -it NAME true",
    "exec -t NAME true",
    "exec NAME /missing",
    "exec NAME /etc/passwd",
    "exec NAME /",
    "stop",
    "stop MISSING",
    "stop --nonsense NAME",
    "stop -t BADWORD NAME",
    "stop --timeout= NAME",
    "stop -s BADSIG NAME",
    "logs",
    "logs MISSING",
    "logs NAME NAME",
    "logs --nonsense NAME",
    "logs -n -5 NAME",
    "ps extra",
    "ps --nonsense",
    "rm",
    "rm --nonsense x",
    "volume nonsense",
    "volume create a b",
    "volume create bad/name",
    "volume rm",
    "volume rm MISSING",
    "volume ls extra",
    "volume ls --nonsense",
    "images --nonsense",
    "images a b",
    "inspect",
    "inspect --nonsense x",
    "save",
    "nonsense",
)
"""Each begins with its command. Elsewhere ours differ on purpose: `logs --tail x` is refused, where docker shows
everything; `stop -t 1.5` is a time; `stop -s 99` is no signal; `run --device /dev/missing` is 125, and not 127.
"""
UNENTERED = ("exec -w /missing NAME true", "exec -w /etc/passwd NAME true")
"""Lines that end with 127, as docker's do most times: it looks for words in a message that its runtime may cut off."""
LINES = (*(f"run {line}".rstrip() for line in RUN), *OTHERS)


def _words(line: str, *flags: str) -> list[str]:
    words = [{"NAME": NAME, "IMAGE": IMAGE}.get(word, word) for word in line.split()]
    return [words[0], *flags, *words[1:]]


@pytest.fixture(scope="module")
def docker(engine: Engine) -> Iterator[Docker]:
    """Yield what asks docker for the exit code of a line, beside a container NAME that runs."""
    client, env = str(engine.client), engine.environ()

    def docker(words: Sequence[str], stdin: bytes = b"") -> int:
        done = subprocess.run([client, *words], input=stdin, env=env, capture_output=True, timeout=120, check=False)
        return done.returncode

    assert docker(["build", "-q", "-t", IMAGE, "-"], DOCKERFILE.encode()) == 0
    assert docker(["run", "-d", "--name", NAME, IMAGE, "sleep", "1000"]) == 0
    try:
        yield lambda line: docker(_words(line, *["--rm"] * line.startswith("run -")))
    finally:
        docker(["rm", "-f", "-v", NAME])


def test_wrong_words_end_with_the_exit_code_that_docker_has_for_them(
    docker: Docker, store: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(builders, "close", lambda **_: None)  # the next command still has it
    going = start(IMAGE, "sleep", "1000", name=NAME)
    kept = os.dup(0)
    try:
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
            monkeypatch.setattr(sys, "stdin", nothing)
            ours = {line: main(_words(line)) for line in LINES}
            assert [main(_words(line)) for line in UNENTERED] == [127, 127]
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        going.stop(0)
        going.remove()
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    with ThreadPoolExecutor(4) as pool:
        theirs = dict(zip(LINES, pool.map(docker, LINES), strict=True))
    for line in [line for line in LINES if ours[line] != theirs[line]]:
        # Docker looks for words of its runtime, which come late at times: a missing program is 126 then, not 127.
        theirs[line] = next((code for _ in range(5) if (code := docker(line)) == ours[line]), theirs[line])
    assert ours == theirs
