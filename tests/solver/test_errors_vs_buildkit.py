"""What BuildKit rejects while it solves is rejected here, at the same line and in the same words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.errors import BuildError
from pybuild_magic.session import DirSource
from tests.conformance.compare import PLAIN
from tests.services.buildkit import Engine
from tests.solver.compare import Link, Spec, solve, write_context

CONTEXT: Spec = {
    "x": "x",
    "dir/f": "f",
    "tree/name/f": "",
    "flat/name": "",
    "outside": Link("/etc/passwd"),
    "secret": "s",
    "to-dir": Link("dir"),
    "dangling": Link("nowhere"),
    ".dockerignore": "secret\n",
}

CASES = {
    "missing file": "FROM scratch\nCOPY nope /",
    "missing of several": "FROM scratch\nCOPY x nope dir /d/",
    "missing below a directory": "FROM scratch\nCOPY dir/nope /",
    "missing below a file": "FROM scratch\nCOPY x/nope /",
    "missing in a stage": "FROM scratch AS a\nCOPY x /\nFROM scratch\nCOPY --from=a /y /",
    "ignored file": "FROM scratch\nCOPY secret /",
    "link out of the context": "FROM scratch\nCOPY outside /",
    "dangling link": "FROM scratch\nCOPY dangling /",
    "directory over a file": "FROM scratch\nCOPY x /to/dir\nCOPY dir /to/dir",
    "file in the place of a directory": "FROM scratch\nCOPY tree /\nCOPY flat /",
    "name without base image": "FROM scratch\nCOPY --chown=me x /",
    "archive that is missing": "FROM scratch\nADD nope.tar /",
    "failing command": "FROM busybox\nRUN false",
    "failing command in exec form": 'FROM busybox\nRUN ["sh", "-c", "exit 7"]',
    "missing secret": "FROM busybox\nRUN --mount=type=secret,id=nosuch,required=true true",
    "missing agent": "FROM busybox\nRUN --mount=type=ssh,required=true true",
}


def _core(message: str) -> str:
    """The message without what names this very builder, refs and directories of snapshots, and our own first words."""
    message = re.sub(r"^ERROR: (failed to build: )?failed to (solve|run Build function): ", "", message.strip())
    message = PLAIN.sub("", message)
    message = re.sub(r"checksum of ref [^\"]*:", "checksum of ref REF:", message)
    return re.sub(r"/\S*/buildkit\d+", "", message)


@pytest.mark.parametrize("name", CASES)
def test_rejected_alike(
    name: str, builder: EmbeddedBuilder, engine: Engine, engine_busybox: str, tmp_path: Path
) -> None:
    dockerfile = CASES[name]
    context = write_context(tmp_path / "context", CONTEXT)
    theirs = engine.buildx_build(context, "--no-cache", dockerfile=dockerfile, check=False)
    assert theirs.returncode != 0
    (told,) = [line for line in theirs.stderr.splitlines() if line.startswith("ERROR: ")][-1:]
    place = re.findall(r"^Dockerfile:(\d+)$", theirs.stderr, re.MULTILINE)
    with pytest.raises(BuildError) as caught:
        solve(builder, dockerfile, DirSource(context))
    assert _core(caught.value.message) == _core(told)
    location = caught.value.location
    assert ([str(location.start)] if location else []) == place
