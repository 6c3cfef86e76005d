"""The page that says what works on which builder has a row for everything, and each row says what the code does."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from pybuild_magic import exporters
from pybuild_magic.api import run as api
from pybuild_magic.builders.embedded import builder as embedded
from pybuild_magic.errors import UnsupportedError, UsageError
from pybuild_magic.request.parse import parse_options
from pybuild_magic.request.solve_request import compile_request
from pybuild_magic.session import DirSink, FileSink, Sink
from tests.services.buildkit import Engine

_SPEC = importlib.util.spec_from_file_location(
    "pybuild_docs_support", Path(__file__).parents[2] / "docs" / "support.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
support = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = support
_SPEC.loader.exec_module(support)

SAMPLES = {
    "add-host": "a:1.2.3.4",
    "allow": "network.host",
    "annotation": "a=b",
    "attest": "type=provenance,mode=max",
    "build-arg": "A=b",
    "build-context": "a=docker-image://busybox",
    "builder": "embedded",
    "cache-from": "type=registry,ref=a/b",
    "cache-to": "type=inline",
    "call": "outline,format=json",
    "cgroup-parent": "a",
    "file": "Dockerfile",
    "iidfile": "id",
    "label": "a=b",
    "metadata-file": "data",
    "network": "none",
    "no-cache-filter": "a",
    "output": "type=cacheonly",
    "platform": "linux/amd64",
    "progress": "plain",
    "provenance": "mode=max",
    "resource": "memory=1g",
    "sbom": "true",
    "secret": "id=a,env=PATH",
    "shm-size": "1g",
    "ssh": "default=/nowhere",
    "tag": "a",
    "target": "a",
    "ulimit": "nofile=1:2",
}
"""A value for each flag that takes one."""
VALUES = {
    "bool": "true",
    "int": "1",
    "string": "x",
    "path": "x",
    "names": "x",
    "epoch": "0",
    "annotation": "x",
}


def test_every_flag_of_buildx_has_a_row(engine: Engine) -> None:
    told = engine.docker("buildx", "build", "--help").stdout
    theirs = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", told, flags=re.MULTILINE))
    assert len(theirs) > 30
    assert theirs - {name for name, _ in support.flag_rows()} == set()


@pytest.mark.parametrize("name", [name for name, _ in support.flag_rows() if name not in support.NOT_OURS])
def test_a_flag_does_on_the_embedded_builder_what_its_row_says(name: str) -> None:
    claim = dict(support.flag_rows())[name]
    value = SAMPLES.get(name)
    words = [f"--{name}"] if value is None else [f"--{name}", value]
    if claim.embedded == support.SENTENCE:
        with pytest.raises(UnsupportedError):
            api.run(parse_options(["--policy", "filename=x"], environ={}))
        return
    more = ["-t", "a"] if name == "push" else []
    request = compile_request(parse_options([*words, *more, "."], environ={"PATH": ""}))
    embedded._check_supported(request)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name, _ in support.attribute_rows()])
def test_an_attribute_does_on_the_embedded_builder_what_its_row_says(kind: str, name: str, tmp_path: Path) -> None:
    claim = next(claim for one, other, claim in support.attribute_rows() if (one, other) == (kind, name))
    sink: Sink = DirSink(tmp_path) if kind == "local" else FileSink(tmp_path / "file")
    table = {attribute.name: attribute for attribute in exporters.get(kind).attributes}
    if claim.embedded == support.SENTENCE:
        with pytest.raises((UsageError, UnsupportedError), match=name):
            exporters.check(kind, {name: "true"}, sink)
        return
    attribute = table[name]
    text = attribute.choices[0] if attribute.choices else VALUES[attribute.kind]
    attrs = {name.replace("KEY", "a.b"): text}
    if kind in ("image", "registry"):
        attrs = {"name": "a/b", **attrs}
    exporters.check(kind, attrs, sink)
