"""The caches that a front end imports, its own and its user's: each step that BuildKit has from one is CACHED here."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

import pytest

from pybuild_magic.result import BuildResult
from tests.integration.lab import Home
from tests.services.buildkit import Engine
from tests.services.registry import Registry

from .conftest import Front
from .test_frontends import BASE, OUTPUT, context_of, image_of
from .test_outputs import UNATTESTED

pytestmark = pytest.mark.xdist_group("frontends")

STEPS = ("RUN ", "copy ", "[2/", "[3/", "[4/")


def buildkits(engine: Engine, text: str, context: str, tmp_path: Path, *flags: str) -> dict[str, bool]:
    """Build with BuildKit, and return whether each step was CACHED."""
    (tmp_path / "words").write_text(text)
    command = ("buildx", "build", "--progress=rawjson", *UNATTESTED, *flags, f"--file={tmp_path / 'words'}", context)
    said = [json.loads(line) for line in engine.docker(*command).stderr.splitlines() if line[:1] == "{"]
    vertexes = [vertex for message in said for vertex in message.get("vertexes", ())]
    return steps((vertex["name"], bool(vertex.get("cached"))) for vertex in vertexes if vertex.get("completed"))


def ours(result: BuildResult) -> dict[str, bool]:
    """Return whether each step of a build was CACHED."""
    return steps((step.name, step.cached) for step in result.vertexes)


def steps(named: Iterable[tuple[str, bool]]) -> dict[str, bool]:
    """Return the steps that make layers."""
    return {name: cached for name, cached in named if name.startswith(STEPS)}


KINDS = {
    "of its own graph": "{base}copy / /src/\nrun echo {token} > /said\nrun cat /said > /again\n",
    "of a Dockerfile that it passes on": "forward inner\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_that_a_front_end_names_is_read(
    kind: str, front: Front, home: Home, engine: Engine, registry: Registry, tmp_path: Path
) -> None:
    token = secrets.token_hex(8)
    context = context_of(tmp_path)
    (tmp_path / "inner").write_text(f"FROM busybox\nCOPY a.txt /\nRUN echo {token} > /said\nRUN cat /said > /again\n")
    ref = f"{registry.host}/cache:{token}"
    text = f"# syntax={front.ref}\nimport registry ref={ref}\n{KINDS[kind].format(base=BASE, token=token)}"
    made = buildkits(engine, text, context, tmp_path, f"--cache-to=type=registry,ref={ref},mode=max")
    assert not any(cached for name, cached in made.items() if "RUN" in name)
    home.builder.prune(all=True)
    cached = ours(home.build(None, context, file=str(tmp_path / "words"), outputs=["type=cacheonly"], provenance=False))
    assert cached.keys() == made.keys()
    assert all(cached.values()), cached


def test_buildkit_reads_the_same_cache(
    front: Front, home: Home, engine: Engine, registry: Registry, tmp_path: Path
) -> None:
    token = secrets.token_hex(8)  # what no builder has run
    context = context_of(tmp_path)
    ref = f"{registry.host}/cache:{token}"
    text = f"# syntax={front.ref}\nimport registry ref={ref}\n{BASE}copy / /src/\nrun echo {token} > /said\n"
    made = ours(home.build(text, context, cache_to=[f"type=registry,ref={ref},mode=max"], outputs=["type=cacheonly"]))
    assert not made[f"RUN echo {token} > /said"]
    assert buildkits(engine, text, context, tmp_path) == dict.fromkeys(made, True)


def test_the_user_s_caches_are_passed_on(front: Front, home: Home, engine: Engine, tmp_path: Path) -> None:
    text = f"# syntax={front.ref}\noptions cache-imports\n"
    flag = "type=registry,ref=127.0.0.1:1/none"
    context = context_of(tmp_path)
    theirs = engine.build_oci(context, tmp_path / "theirs.tar", f"--cache-from={flag}", dockerfile=text)
    home.build(
        text,
        context,
        cache_from=[flag],
        build_args={"SOURCE_DATE_EPOCH": "0"},
        outputs=[f"{OUTPUT},dest={tmp_path / 'ours.tar'}"],
    )
    assert image_of(tmp_path / "ours.tar") == image_of(theirs)


def test_the_path_of_a_local_cache_is_not_told(front: Front, home: Home, tmp_path: Path) -> None:
    text = f"# syntax={front.ref}\noptions cache-imports\n"
    source = tmp_path / "secret-place"
    home.build(text, cache_from=[f"type=local,src={source}"], outputs=[str(tmp_path / "out")])
    told = (tmp_path / "out/options").read_text()
    assert '"Type":"local"' in told
    assert "secret-place" not in told


UNAVAILABLE = {
    "local src=/etc": "A front end imports only those local caches that --cache-from names.",
    "gha scope=x": "The embedded builder does not support caches of type=gha",
    "nonsense": 'does not know type "nonsense"',
    "registry ref=127.0.0.1:1/none": "127.0.0.1:1",
}


@pytest.mark.parametrize("words", UNAVAILABLE)
def test_a_build_goes_on_without_a_cache_that_cannot_be_read(
    words: str, front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    text = f"# syntax={front.ref}\nimport {words}\n{BASE}run echo hi > /hi\n"
    assert buildkits(engine, text, context_of(tmp_path), tmp_path).keys() == {"RUN echo hi > /hi"}
    result = home.build(text, outputs=["type=cacheonly"])
    [warning] = [warning for warning in result.warnings if "continues without the cache" in warning.short]
    assert UNAVAILABLE[words] in warning.short
