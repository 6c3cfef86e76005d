"""The metadata file of a build: that of buildx, key by key, for either builder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.api.run import run
from pybuild_magic.notebook.bake_command import bake_line
from pybuild_magic.request.parse import parse_options
from tests.conformance.attested import comparable
from tests.integration.lab import Home
from tests.services.buildkit import Engine

TEXT = "FROM busybox\nARG X=1\nCOPY a /\nRUN echo hi > /hi\n"
TOLD = {"BUILDX_METADATA_WARNINGS": "1"}
NONE = "type=cacheonly"
CASES: dict[str, tuple[str, tuple[str, ...], Mapping[str, str]]] = {
    "min": (TEXT, ("--build-arg=X=2", "--label=a=b", "--provenance=false", "-o", NONE), {}),
    "max": (TEXT, ("--build-arg=X=2", "-o", NONE), {"BUILDX_METADATA_PROVENANCE": "max"}),
    "disabled": (TEXT, ("-o", NONE), {"BUILDX_METADATA_PROVENANCE": "disabled"}),
    "false": (TEXT, ("-o", NONE), {"BUILDX_METADATA_PROVENANCE": "0"}),
    "nonsense": (TEXT, ("-o", NONE), {"BUILDX_METADATA_PROVENANCE": "some"}),
    "a builder's id": (TEXT, ("--provenance=mode=max,builder-id=https://here", "-o", NONE), {}),
    "several platforms": ("FROM scratch\nCOPY a /\n", ("--platform=linux/amd64,linux/arm64", "-o", "out"), {}),
    "several platforms, max": (
        "FROM scratch\nCOPY a /\n",
        ("--platform=linux/amd64,linux/arm/v7", "-o", "out"),
        {"BUILDX_METADATA_PROVENANCE": "max"},
    ),
    "another platform": ("FROM scratch\nCOPY a /\n", ("--platform=linux/arm64", "-o", "out"), {}),
    "nothing": ("FROM scratch\n", ("-o", "out"), {}),
    "warnings": ("from busybox\nCOPY a /\nMAINTAINER me\n", ("-o", NONE), TOLD),
    "no warnings": (TEXT, ("-o", NONE), TOLD),
    "an archive": (TEXT, ("--provenance=false", "-o", "type=oci,dest=o.tar,rewrite-timestamp=true"), {}),
    "an archive of Docker": (TEXT, ("-t", "x/y", "-t", "z", "--provenance=false", "-o", "type=docker,dest=o.tar"), {}),
    "attested": (TEXT, ("--provenance=mode=max", "-o", "type=oci,dest=o.tar"), {}),
    "an outline": (f"{TEXT}RUN --mount=type=secret,id=s,required --mount=type=ssh true\n", ("--call=outline",), {}),
    "an outline of a stage": (
        "# a told stage\nFROM scratch AS told\n# one\nARG Y\nARG LONGER=2\n",
        ("--call=outline", "--target=told"),
        {},
    ),
    "targets": ("# first\nFROM scratch AS a\n# b second\nFROM a AS b\nFROM b\n", ("--call=targets",), {}),
    "checks": (TEXT, ("--check",), TOLD),
    "checks that fail": ("from scratch\nCOPY a /\nMAINTAINER me\n", ("--check",), TOLD),
}


def said(path: Path) -> dict[str, Any]:
    """Return a metadata file without ids, times, and digests of what is not reproducible."""
    found: dict[str, Any] = {}
    for key, value in json.loads(path.read_bytes()).items():
        if key == "buildx.build.ref":
            found[key] = value.count("/")
        elif key.startswith("buildx.build.provenance"):
            found[key] = _provenance(value)
        elif key == "buildx.build.warnings":
            found[key] = [{name: part for name, part in warning.items() if name != "vertex"} for warning in value]
        elif key == "containerimage.descriptor":
            assert value["digest"]
            shown = {**value, "digest": "", "size": 0, "annotations": sorted(value.get("annotations", ()))}
            shown.pop("mediaType")  # older engines have Docker's types in an archive of Docker
            found[key] = shown
        else:
            found[key] = "" if "digest" in key else value
    for source in found.get("result.json", {}).get("sources", ()):
        if isinstance(source, dict):
            source.pop("definition", None)  # LLB that reads the Dockerfile from a session that has ended
    return found


def _provenance(predicate: dict[str, Any]) -> dict[str, Any]:
    parameters = predicate["invocation"]["parameters"]
    keys = [parameters.get("args", {}).pop(name, "") for name in ("contextkey", "dockerfilekey")]  # of this build alone
    parameters["locals"] = [local for local in parameters.get("locals", ()) if local["name"] not in keys]
    parameters["args"] = {
        name: value for name, value in parameters.get("args", {}).items() if not name.startswith("local-sessionid:")
    }
    if "metadata" not in predicate:
        return predicate
    for step in predicate.get("buildConfig", {}).get("llbDefinition", ()):
        step["op"]["Op"].get("source", {}).get("attrs", {}).pop("image.resolvemode", None)
    own = predicate["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]
    own.pop("sysUsage", None)  # how busy the machine was
    found = comparable({"predicate": predicate})["predicate"]
    for config in (found["buildConfig"], *own.get("source", {}).get("infos", ())):
        config.pop("digestMapping")
    return found


@pytest.mark.parametrize("name", CASES)
def test_it_is_that_of_buildx(
    name: str, home: Home, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, flags, environ = CASES[name]
    context = tmp_path / "context"
    context.mkdir()
    (context / "a").write_text("a")
    (context / "Dockerfile").write_text(text)
    places = {who: tmp_path / who for who in ("buildx", "embedded", "docker")}
    for place in places.values():
        place.mkdir()
    command = ("buildx", "build", "--metadata-file=m.json", *flags, str(context))
    engine.docker(*command, env=environ, cwd=places["buildx"], check="--check" not in flags)  # 1 for warnings
    for variable in ("BUILDX_METADATA_PROVENANCE", "BUILDX_METADATA_WARNINGS"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    for who, builder in (("embedded", ""), ("docker", f"docker://{engine.socket}")):
        monkeypatch.chdir(places[who])
        words = ["--metadata-file=m.json", *flags, *([f"--builder={builder}"] if builder else ())]
        run(parse_options(words, context=str(context)))
    theirs = said(places["buildx"] / "m.json")
    assert said(places["embedded"] / "m.json") == theirs
    assert said(places["docker"] / "m.json") == theirs


BAKED = """
group "default" { targets = ["one", "two"] }
target "one" { dockerfile-inline = "from scratch\\nCOPY a /" }
target "two" {
  dockerfile-inline = "FROM scratch\\nMAINTAINER me\\nCOPY a /"
  platforms = ["linux/amd64", "linux/arm64"]
}
"""


@pytest.mark.parametrize("flag", ["", "--call=outline", "--print"])
def test_that_of_bake_is_that_of_buildx(
    flag: str, home: Home, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "docker-bake.hcl").write_text(BAKED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BUILDX_METADATA_WARNINGS", "true")
    words = ["--metadata-file=m.json", "--set=*.output=type=cacheonly", *([flag] if flag else [])]
    engine.docker("buildx", "bake", *words, cwd=tmp_path, env={"BUILDX_METADATA_WARNINGS": "true"})
    file = tmp_path / "m.json"
    theirs = _of_targets(file) if file.exists() else None
    for builder in ("embedded", f"docker://{engine.socket}"):
        file.unlink(missing_ok=True)
        bake_line([*words, f"--builder={builder}"])
        assert (_of_targets(file) if file.exists() else None) == theirs, builder


def _of_targets(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in json.loads(file.read_bytes()).items():
        file.write_text(json.dumps({name: part} if name == "buildx.build.warnings" else part))
        found[name] = said(file)
    for warnings in found.get("buildx.build.warnings", {}).values():
        warnings.sort(key=lambda warning: warning["short"])  # targets are built side by side
    return found
