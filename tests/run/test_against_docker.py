"""Every case, run here and by a real `docker run`: the same exit code and the same output."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import cdi
from pybuild_magic.errors import BuildError
from pybuild_magic.run import options_from, run_with
from tests.services.buildkit import Engine

from .cases import CASES, DEVICES, DOCKERFILE, IMAGE, Case

Answer = tuple[int, bytes, bytes]
_WARNING = b"WARNING: IPv4 forwarding is disabled"
"""The engine's own, of a machine where it has no network."""


@pytest.fixture(scope="module")
def answers(engine: Engine) -> dict[str, Answer]:
    """What docker says."""
    client, env = str(engine.client), engine.environ()
    specification = engine.daemon.root / "etc/cdi/pybuild-tests.yaml"
    specification.parent.mkdir(exist_ok=True)
    specification.write_text(DEVICES)
    subprocess.run(
        [client, "build", "-q", "-t", IMAGE, "-"], input=DOCKERFILE.encode(), env=env, check=True, capture_output=True
    )

    def ask(case: Case) -> Answer:
        words = ["run", "--rm", *case.words]
        done = subprocess.run(
            [client, *words], input=case.stdin or b"", env=env, capture_output=True, timeout=120, check=False
        )
        told = [line for line in done.stderr.splitlines(keepends=True) if not line.startswith(_WARNING)]
        return done.returncode, done.stdout, b"".join(told)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip((case.name for case in CASES), pool.map(ask, CASES), strict=True))


def _ours(case: Case) -> Answer:
    try:
        options, rest = options_from(case.words, **({} if case.stdin is None else {"stdin": case.stdin}))
        done = run_with(rest[0], tuple(rest[1:]), options)
    except BuildError as error:
        return 125, b"", str(error).encode()
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The specification that the engine has, too."""
    (tmp_path / "tests.yaml").write_text(DEVICES)
    monkeypatch.setattr(cdi, "DIRECTORIES", (str(tmp_path),))


@pytest.mark.usefixtures("store", "devices")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_as_docker(case: Case, answers: dict[str, Answer]) -> None:
    ours, theirs = _ours(case), answers[case.name]
    count = 3 if case.stderr else 2
    assert ours[:count] == theirs[:count]
