"""One cell on the embedded builder and on a real BuildKit: the results show the same but for times and names."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pybuild_magic.builders import embedded_builder
from pybuild_magic.display import html, text
from pybuild_magic.images.load import load_image
from pybuild_magic.result import BuildResult
from pybuild_magic.summary import Summary
from tests.services.buildkit import Engine

from .lab import Lab

CELL = """\
FROM {base} AS build
COPY . /src/
RUN --network=none echo hello; echo out > /src/made; ln /src/made /src/twin; ln -s made /src/link
FROM {base}
LABEL a=b
COPY --from=build /src /src
CMD cat /src/made
"""
FILES = {"a.txt": "alpha", "d/b": bytes(1000)}
OF_THE_RUN = {"ref": "", "builder": "", "driver": "", "command": "", "request": "", "seconds": 0.0, "rung": None}
TIMES = {"started": None, "completed": None, "seconds": 0.0, "log_seconds": (), "cached": False}


def shown(result: BuildResult) -> Summary:
    """The summary without what differs from run to run; steps are called by their names, not by digests."""
    names = {step.digest: step.name for step in result.vertexes}

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(each) for key, each in value.items()}
        if isinstance(value, list):
            return [named(each) for each in value]
        return names.get(value, value) if isinstance(value, str) else value

    document = named(msgspec.json.decode(msgspec.json.encode(result.summary))) | OF_THE_RUN
    steps = sorted(document["vertexes"], key=lambda step: step["name"])
    for output in document["outputs"]:
        output["size"] = 0 if output["type"] == "oci" else output["size"]  # archives are padded as their writer likes
    document["vertexes"] = [step | TIMES | {"inputs": sorted(step.get("inputs", ()))} for step in steps]
    return msgspec.json.decode(msgspec.json.encode(document), type=Summary)


@pytest.mark.parametrize(
    "words",
    [
        "--provenance=false -t made:1 -o type=oci,dest=out.tar,rewrite-timestamp=true,compression=uncompressed",
        "-o type=local,dest=out",
        "-o type=tar,dest=out.tar",
    ],
)
def test_a_cell_shows_the_same_on_both_builders(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    # A step that is in two builds at once has its name from the first: the base is this test's alone, by its files.
    base = f"pybuild-same-{secrets.token_hex(6)}"
    own, archive = f"FROM busybox\nCOPY <<EOF /own\n{base}\nEOF\n", tmp_path / "base.tar"
    engine.buildx_build(None, "--tag", base, "--output", f"type=docker,dest={archive}", dockerfile=own)
    engine.load(archive)
    load_image(embedded_builder().store, archive, base)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    try:
        ours, theirs = (
            shown(Lab(builder, "", tmp_path).build(CELL.format(base=base), f"--no-cache {words}", FILES))
            for builder in ("embedded", "docker://")
        )
    finally:
        engine.remove(base)
    assert msgspec.to_builtins(ours) == msgspec.to_builtins(theirs)
    assert html.render(ours) == html.render(theirs)
    assert text.render(ours) == text.render(theirs)
    assert ours.image or ours.outputs[0].files
