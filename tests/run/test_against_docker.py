"""Every case, run here and by a real `docker run`: the same exit code and the same output."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import cdi
from pybuild_magic.errors import BuildError
from pybuild_magic.run import options_from, run_with
from tests.services.buildkit import Engine

from .cases import CASES, DEVICES, DOCKERFILE, ENV_FILES, FILES, IMAGE, PLACE, VOLUME, Case

pytestmark = pytest.mark.xdist_group("run-cases")  # so that docker is asked once
Answer = tuple[int, bytes, bytes]
VARIABLES = {"TESTED": "here", "TESTED_EMPTY": ""}
"""Variables that the client and this process have."""
_REFUSED = 125
"""The exit code of a run that did not begin; the words about it are the engine's own."""
_WARNING = b"WARNING: IPv4 forwarding is disabled"
"""The engine's own, of a machine where it has no network."""


def _filled(case: Case, place: Path) -> list[str]:
    """The words of a case, with its place and volumes."""
    return [word.replace(PLACE, str(place)).replace(VOLUME, place.name) for word in case.words]


@pytest.fixture(scope="module")
def place(engine: Engine) -> Iterator[Path]:
    """A directory that this machine and the engine's own file system have alike."""
    path = Path(f"/var/tmp/pybuild-run-cases-{os.getpid()}")
    copies = [path, engine.daemon.root / str(path)[1:]]
    for copy in copies:
        for name, data in {**FILES, **{f"env/{name}": data for name, data in ENV_FILES.items()}}.items():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(data)
    yield path
    for copy in copies:
        shutil.rmtree(copy)


@pytest.fixture(scope="module")
def answers(engine: Engine, place: Path) -> Iterator[dict[Case, Answer]]:
    """What docker says."""
    client, env = str(engine.client), engine.environ(VARIABLES)
    specification = engine.daemon.root / "etc/cdi/pybuild-tests.yaml"
    specification.parent.mkdir(exist_ok=True)
    specification.write_text(DEVICES)
    subprocess.run(
        [client, "build", "-q", "-t", IMAGE, "-"], input=DOCKERFILE.encode(), env=env, check=True, capture_output=True
    )

    def ask(case: Case) -> Answer:
        words = ["run", "--rm", *_filled(case, place)]
        done = subprocess.run(
            [client, *words], input=case.stdin or b"", env=env, capture_output=True, timeout=120, check=False
        )
        told = [line for line in done.stderr.splitlines(keepends=True) if not line.startswith(_WARNING)]
        return done.returncode, done.stdout, b"".join(told)

    with ThreadPoolExecutor(4) as pool:
        yield dict(zip(CASES, pool.map(ask, CASES), strict=True))
    names = subprocess.run([client, "volume", "ls", "-q"], env=env, check=True, capture_output=True, text=True).stdout
    ours = [name for name in names.split() if name.startswith(place.name)]
    subprocess.run([client, "volume", "rm", *ours], env=env, check=True, capture_output=True)


def _ours(case: Case, place: Path) -> Answer:
    try:
        options, rest = options_from(_filled(case, place), **({} if case.stdin is None else {"stdin": case.stdin}))
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
def test_as_docker(case: Case, answers: dict[Case, Answer], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    ours, theirs = _ours(case, place), answers[case]
    count = 1 if theirs[0] == _REFUSED else 3 if case.stderr else 2
    assert ours[:count] == theirs[:count]
