"""The attestations of a build by a front end of another image are those that BuildKit makes of the same build."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.attest.documents import Archive
from tests.conformance.attested import comparable
from tests.integration.lab import Home
from tests.services.buildkit import Engine

from .conftest import Front
from .test_frontends import BASE, context_of

pytestmark = pytest.mark.xdist_group("frontends")

DOCKERFILE = "FROM busybox\nCOPY a.txt /\nRUN echo hi > /hi\n"
"""For the front end that is built in, when the other one asks it."""
CASES = {
    "files": "write /x 0123\nread /x 1 2\n",
    "a process": BASE + "copy / /src/\nread /src/dir/b.txt 0 100\nrun echo hi > /hi\nevaluate\n",
    "lines": "lines\nwrite /x 0123\nwrite /y 0123\n",
    "forwarded": "forward inner\n",
}
ARGS = {"X": "y"}


@pytest.mark.parametrize("name", CASES)
def test_its_provenance_is_that_of_buildkit(
    name: str, front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    context = context_of(tmp_path)
    (tmp_path / "inner").write_text(DOCKERFILE)
    file = tmp_path / "Dockerfile"
    file.write_text(f"# syntax={front.ref} and more\n{CASES[name]}")
    output = "type=oci,compression=uncompressed,oci-artifact=false"
    flags = ("--build-arg=X=y", "--label=a=b", "--no-cache", "--provenance=mode=max,version=v0.2")
    engine.buildx_build(context, *flags, f"--file={file}", f"--output={output},dest={tmp_path / 'theirs'}")
    home.build(
        None,
        context,
        file=str(file),
        build_args=ARGS,
        labels={"a": "b"},
        no_cache=True,
        provenance="mode=max,version=v0.2",
        outputs=[f"{output},dest={tmp_path / 'ours'}"],
    )
    ours, theirs = (_shown(tmp_path / who) for who in ("ours", "theirs"))
    assert ours == theirs


def test_its_file_system_has_an_sbom(front: Front, home: Home, tmp_path: Path) -> None:
    archive = tmp_path / "image"
    home.build(f"# syntax={front.ref}\n{BASE}", sbom=True, provenance=False, outputs=[f"type=oci,dest={archive}"])
    (statement,) = Archive(archive).statements
    assert statement["predicateType"] == "https://spdx.dev/Document"


def _shown(archive: Path) -> dict[str, Any]:
    (statement,) = Archive(archive).statements
    digests = statement["predicate"]["buildConfig"]["digestMapping"]
    shown = comparable(statement)
    config = shown["predicate"]["buildConfig"]
    bases = [step for step in config["llbDefinition"] if _mode(step)]
    if bases:  # Docker's client asks for images that the engine has, and so gives other digests to what is made of them
        config.pop("digestMapping")
    else:
        shown["digests"] = digests  # what the front end sends is the same, to the bit
    for material in shown["predicate"]["materials"]:
        # The newer BuildKit that is followed here escapes the colon before a registry's port.
        material["uri"] = unquote(material["uri"])
    return shown


def _mode(step: dict[str, Any]) -> bool:
    """Take the way to find a base image, which is the client's, out of a step; whether it is one of a base image."""
    source = step["op"]["Op"].get("source", {})
    if source.get("attrs", {}).pop("image.resolvemode", ""):
        source.pop("attrs")
    return source.get("identifier", "").startswith("docker-image://")
