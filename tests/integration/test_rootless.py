"""Without root, with and without subordinate ids: the same Dockerfile is the same image, to the last byte."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.test_unprivileged import ENTER, UID
from tests.services import require
from tests.services.common import need_root, tool

from .lab import FILES, REPO, TWO_STAGES, Home

OWNERS = """FROM busybox AS owners
RUN mkdir /d && chown 1:2 /d && touch /d/mine && chown 65534:3 /d/mine && chmod 2775 /d && chmod 4755 /bin/busybox
USER 1000:1001
RUN touch /tmp/theirs && id -u > /tmp/id
"""
LAST = """FROM busybox
COPY --chown=7:8 data /data
COPY --from=work /src /src
RUN ln /src/data/name /linked && mkdir -m 700 /closed && echo in > /closed/file && mkfifo /pipe
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch echo x > /cache/x && touch /scratch/y
RUN rm -r /src/data && mv /closed /moved && cat /moved/file
"""
WORK = "FROM busybox AS work\nWORKDIR /src\nCOPY . .\nRUN sh make.sh > out && cp make.sh again\n"

DOCKERFILES = {
    "range": TWO_STAGES.replace("FROM busybox\nCOPY", f"{OWNERS}FROM busybox\nCOPY --from=owners /d /tmp /d/\nCOPY"),
    "single": WORK + LAST,
}
OPTIONS: dict[str, Any] = {
    "build_args": {"SOURCE_DATE_EPOCH": "0"},
    "outputs": ["type=image,name=rootless,rewrite-timestamp=true"],
}


@pytest.fixture
def place(store_template: Path) -> Iterator[Path]:
    """A directory that an ordinary user can get to, with a store of theirs."""
    require(lambda: need_root("becoming an ordinary user"))
    require(lambda: tool("setpriv"))
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to other users
        root = Path(name)
        root.chmod(0o711)
        (root / "state").mkdir()
        shutil.copytree(store_template, root / "user/home")
        for path in (root / "user", *(root / "user").rglob("*")):
            os.chown(path, UID, UID, follow_symlinks=False)
        yield root


@pytest.mark.parametrize("way", ["runc", "builtin", "copying"])
@pytest.mark.parametrize("identity", ["range", "single"])
def test_the_image_is_the_one_that_root_makes(home: Home, place: Path, identity: str, way: str) -> None:
    require(lambda: tool("runc" if way == "runc" else "setpriv"))
    if identity == "range":
        require(lambda: tool("newuidmap"))
    expected = home.build(DOCKERFILES[identity], FILES, **OPTIONS)
    answer = as_user(place, identity, way, DOCKERFILES[identity])
    assert answer.get("id") == expected.image_id, answer
    ran = [name for name in answer["ran"] if "RUN" in name]
    assert len(ran) == sum("RUN" in vertex.name for vertex in expected.vertexes)
    again = as_user(place, identity, way, DOCKERFILES[identity])
    assert again["id"] == expected.image_id
    assert [name for name in again["ran"] if "RUN" in name] == []
    for path in (place / "user/home", *(place / "user/home").iterdir(), *(place / "user/home").glob("*/*")):
        if path.lstat().st_uid == UID:  # root looks at its own stores only
            os.chown(path, 0, 0, follow_symlinks=False)
    Home(place / "user/home").check()


def test_one_id_makes_the_owners_that_root_makes(home: Home, place: Path) -> None:
    dockerfile = f"{OWNERS}USER root\nRUN touch /x && chown 7:8 /x && chown -R 9:9 /d\n"
    expected = home.build(dockerfile, FILES, **OPTIONS)
    answer = as_user(place, "single", "builtin", dockerfile)
    assert answer.get("id") == expected.image_id, answer


def as_user(
    place: Path, identity: str, way: str, dockerfile: str | None, context: Any = FILES, options: Any = OPTIONS
) -> dict[str, Any]:
    """Build as a user with subordinate ids (`range`) or without (`single`); what came of it."""
    ways = {
        "runc": {"PYBUILD_RUNTIME": "runc"},
        "builtin": {"PYBUILD_RUNTIME": "builtin"},
        "copying": {"PYBUILD_RUNTIME": "builtin", "PYBUILD_OVERLAY": "0"},
    }
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(place / "user"),
        "TMPDIR": str(place / "user"),
        "PYBUILD_HOME": str(place / "user/home"),
        "PYTHONPATH": str(REPO),
        "PYTHONDONTWRITEBYTECODE": "1",
        **ways[way],
    }
    state = Path(tempfile.mkdtemp(dir=place / "state"))
    job = {"dockerfile": dockerfile, "context": context, "when": "", "options": options}
    command = [sys.executable, "-m", "tests.integration.other", json.dumps(job)]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", ENTER, "sh", str(state), identity, sys.base_prefix, *command],
        cwd=REPO,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
