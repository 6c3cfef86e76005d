"""Runs in the background beside docker's: the same command lines, the same exit codes and the same output."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from pybuild_magic import builders
from pybuild_magic.cli import main
from pybuild_magic.run import BackgroundRun
from pybuild_magic.run.background import list_runs
from tests.services.buildkit import Engine

from .background_cases import NAME, SCENARIOS, Step
from .cases import DOCKERFILE, IMAGE

Answer = tuple[int, bytes, bytes]


def _named(words: Sequence[str], scenario: str) -> list[str]:
    name = f"pybuild-{os.getpid()}-{scenario}"
    return [word.replace(NAME, name) for word in words]


@pytest.fixture(scope="module")
def answers(engine: Engine) -> Iterator[dict[str, list[Answer]]]:
    """Yield the exit codes and outputs of docker, by scenario."""
    client, env = str(engine.client), engine.environ()
    subprocess.run(
        [client, "build", "-q", "-t", IMAGE, "-"], input=DOCKERFILE.encode(), env=env, check=True, capture_output=True
    )

    def docker(words: Sequence[str], stdin: bytes = b"") -> Answer:
        done = subprocess.run([client, *words], input=stdin, env=env, capture_output=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    def ask(scenario: str) -> list[Answer]:
        try:
            return [docker(_named(step.words, scenario), step.stdin or b"") for step in SCENARIOS[scenario]]
        finally:
            docker(["rm", "-f", "-v", *_named((NAME, f"{NAME}-2"), scenario)])

    with ThreadPoolExecutor(4) as pool:
        yield dict(zip(SCENARIOS, pool.map(ask, SCENARIOS), strict=True))


@pytest.fixture
def scenario(store: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the name of a scenario, and end its run afterwards."""
    yield request.param
    for record in list_runs(ended=True):
        BackgroundRun(record).stop(0)
        record.remove()


def _ours(step: Step, scenario: str, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch) -> Answer:
    kept = os.dup(0)
    with tempfile.TemporaryFile() as file:
        file.write(step.stdin or b"")
        file.seek(0)
        os.dup2(file.fileno(), 0)
    capture.readouterr()
    try:
        with patch.context() as given, open(0, closefd=False) as stdin:
            given.setattr(sys, "stdin", stdin)
            given.setattr(builders, "close", lambda **_: None)  # the next command still has it
            code = main(_named(step.words, scenario))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    return code, *capture.readouterr()


@pytest.mark.parametrize("scenario", SCENARIOS, indirect=True)
def test_as_docker(
    scenario: str,
    answers: dict[str, list[Answer]],
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for step, theirs in zip(SCENARIOS[scenario], answers[scenario], strict=True):
        count = 1 if step.quiet else 3
        ours = _ours(step, scenario, capfdbinary, monkeypatch)
        assert ours[:count] == theirs[:count], (step.words, ours, theirs)
