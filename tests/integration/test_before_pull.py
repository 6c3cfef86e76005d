"""What a process cannot have on this machine is refused before the image is fetched on which it would run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.builders.embedded.sandbox import cdi, tracer
from pybuild_magic.errors import BuildError
from pybuild_magic.run import run, start
from tests.sandbox.test_unprivileged import ROOT
from tests.services import require, tool
from tests.services.common import need_root
from tests.services.registry import Registry

from .lab import Home, fetched

pytestmark = pytest.mark.xdist_group("before-pull")

ON_ALL = {
    "a limit": ("RUN true", {"resources": ["cpuset-cpus=4096"]}, ("Linux refuses it for cpuset.cpus", "Limits need")),
    "a secret": ("RUN --mount=type=secret,id=z,required=true true", {}, ("secret z: not found",)),
    "a variable": ("RUN --mount=type=secret,id=z,env=Z,required=true true", {}, ("secret z: not found",)),
    "an agent": ("RUN --mount=type=ssh,required=true true", {}, ("unset ssh forward key default",)),
    "a device": (
        "RUN --device=tests.example/no=0,required true",
        {"allow": ["device"]},
        ("There is no device tests.example/no",),
    ),
    "a hook": ("RUN --device=tests.example/odd=late true", {"allow": ["device"]}, ("has a hook that is not run here",)),
}
TRACED = {
    "a hook": ("RUN --device=tests.example/odd=early true", {"allow": ["device"]}, ("A requested device has a hook",)),
}
BY_PROOT = {
    "no network": ("RUN --network=none true", {}, ("RUN uses proot here, which cannot do --network=none",)),
    "a cache": (
        "RUN --mount=type=cache,target=/c,ro true",
        {},
        ("proot here, which cannot do a read-only mount at /c",),
    ),
    "a device": (
        "RUN --device=tests.example/odd=shown true",
        {"allow": ["device"]},
        ("proot here, which cannot do a read-only mount at /shown",),
    ),
}
Case = tuple[str, dict[str, Any], tuple[str, ...]]


@pytest.fixture(autouse=True)
def _devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = {"late": "poststart", "early": "createContainer"}
    devices: list[dict[str, Any]] = [
        {"name": name, "containerEdits": {"hooks": [{"hookName": point, "path": "/bin/true"}]}}
        for name, point in hooks.items()
    ]
    devices += [{"name": "shown", "containerEdits": {"mounts": [{"hostPath": "/etc", "containerPath": "/shown"}]}}]
    (tmp_path / "cdi").mkdir()
    spec = {"cdiVersion": "0.6.0", "kind": "tests.example/odd", "devices": devices}
    (tmp_path / "cdi/odd.json").write_text(json.dumps(spec))
    monkeypatch.setattr(cdi, "DIRECTORIES", (str(tmp_path / "cdi"),))


@pytest.fixture
def _traced(monkeypatch: pytest.MonkeyPatch) -> None:
    require(lambda: need_root("every rung holds for root alone"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    monkeypatch.setenv("PYBUILD_RUNG", "4")


@pytest.fixture
def _by_proot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require(lambda: tool("proot"))
    monkeypatch.setattr(tracer, "_BIN", tmp_path / "no-program")
    monkeypatch.setenv("PYBUILD_RUNG", "5")


@contextmanager
def nothing_fetched(registry: Registry, layers: list[str]) -> Iterator[None]:
    before = len(registry.requests())
    yield
    assert not [path for path in fetched(registry, before) if path.endswith(tuple(layers))]


def refused(home: Home, registry: Registry, base: tuple[str, list[str]], case: Case) -> None:
    """Build a RUN that cannot be; of its stage and of one before it, nothing is fetched."""
    instruction, options, words = case
    ref, layers = base
    text = f"FROM {ref} AS one\nCOPY <<E /f\nE\nFROM {ref}\n{instruction}\nCOPY --from=one /f /g\n"
    with nothing_fetched(registry, layers):
        error = home.fails(text, **options)
    assert any(word in error.message for word in words), error
    assert error.location is not None
    assert (error.location.start, error.location.end) == (5, 5)
    [record] = home.builder.history(1)
    vertexes = [vertex for status in home.builder.replay(record) for vertex in status.vertexes]
    failed = [vertex for vertex in vertexes if vertex.error not in ("", "context canceled")]
    assert {vertex.name.partition("] ")[2] for vertex in failed} == {instruction}


@pytest.mark.parametrize("case", ON_ALL.values(), ids=ON_ALL)
def test_by_a_build(home: Home, registry: Registry, base: tuple[str, list[str]], case: Case) -> None:
    refused(home, registry, base, case)


@pytest.mark.usefixtures("_traced")
@pytest.mark.parametrize("case", TRACED.values(), ids=TRACED)
def test_by_a_build_with_a_tracer(home: Home, registry: Registry, base: tuple[str, list[str]], case: Case) -> None:
    refused(home, registry, base, case)


@pytest.mark.usefixtures("_by_proot")
@pytest.mark.parametrize("case", BY_PROOT.values(), ids=BY_PROOT)
def test_by_a_build_with_proot(home: Home, registry: Registry, base: tuple[str, list[str]], case: Case) -> None:
    refused(home, registry, base, case)


def test_a_device_that_nobody_could_allow_has_its_place(home: Home) -> None:
    error = home.fails("FROM busybox\nRUN --device=tests.example/no=0,required true\n")
    assert str(error).startswith("Dockerfile:2: There is no device tests.example/no=0.")


@pytest.mark.parametrize(("text", "line"), [("FROM {}\nRUN true\n", 2), ("# syntax={}\nFROM busybox\n", 1)])
def test_where_nothing_can_be_run(
    home: Home,
    registry: Registry,
    base: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: str,
    line: int,
) -> None:
    monkeypatch.setattr(tracer, "_BIN", tmp_path / "no-program")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("PYBUILD_RUNG", "5")
    ref, layers = base
    with nothing_fetched(registry, layers):
        error = home.fails(text.format(ref))
    assert "which does not work here" in error.message
    assert error.location is not None
    assert error.location.start == line


def test_what_is_remembered_asks_for_nothing(home: Home, registry: Registry, base: tuple[str, list[str]]) -> None:
    ref, layers = base
    stage = "FROM busybox AS one\nRUN --mount=type=secret,id=s,required=true cat /run/secrets/s >/f\n"
    (home.root / "s").write_text("told")
    home.build(stage, secrets=[f"id=s,src={home.root / 's'}"])
    before = len(registry.requests())
    built = home.build(
        f'{stage}FROM {ref}\nRUN --mount=from=busybox,target=/b ["/b/bin/busybox", "true"]\nCOPY --from=one /f /g\n',
        tags="x",
    )
    assert built.image is not None
    assert built.image.files.read("g") == b"told"
    assert {path[-71:] for path in fetched(registry, before)} >= set(layers)


def test_what_an_imported_cache_may_have_asks_for_nothing(
    home: Home, registry: Registry, base: tuple[str, list[str]], store_template: Path, tmp_path: Path
) -> None:
    ref, _ = base
    text = (
        "FROM busybox AS made\nARG N\nRUN echo $N && echo same >/x\n"
        "FROM busybox AS read\nCOPY --from=made /x /\n"
        "RUN --mount=type=secret,id=s,required=true cat /run/secrets/s >/f\n"
        f"FROM {ref}\nCOPY --from=read /f /g\n"
    )
    (tmp_path / "s").write_text("told")
    cache = f"type=local,dest={tmp_path / 'cache'},mode=max"
    home.build(text, build_args={"N": "1"}, secrets=[f"id=s,src={tmp_path / 's'}"], cache_to=cache)
    home.close()
    shutil.rmtree(home.root)
    shutil.copytree(store_template, home.root)
    again = home.build(text, build_args={"N": "2"}, cache_from=f"type=local,src={tmp_path / 'cache'}", tags="x")
    assert again.image is not None
    assert again.image.files.read("g") == b"told"


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cpuset_cpus": "4096"}, ("Linux refuses it for cpuset.cpus", "Limits need")),
        ({"devices": ["tests.example/no=0"]}, ("There is no device tests.example/no=0",)),
        ({"cap_add": ["NO"]}, ("There is no capability",)),
        ({"devices": ["tests.example/odd=early"]}, ("A requested device has a hook",)),
    ],
)
@pytest.mark.usefixtures("_traced", "home")
def test_by_a_run(
    registry: Registry, base: tuple[str, list[str]], options: dict[str, Any], words: tuple[str, ...], detach: bool
) -> None:
    ref, layers = base
    with nothing_fetched(registry, layers), pytest.raises(BuildError) as caught:
        (start if detach else run)(ref, "true", **options)
    assert any(word in caught.value.message for word in words), caught.value


@pytest.mark.usefixtures("_by_proot", "home")
@pytest.mark.parametrize(
    "options",
    [{"network": "none"}, {"read_only": True}, {"volumes": ["/etc:/shown:ro"]}],
    ids=lambda options: next(iter(options)),
)
def test_by_a_run_with_proot(registry: Registry, base: tuple[str, list[str]], options: dict[str, Any]) -> None:
    ref, layers = base
    with nothing_fetched(registry, layers), pytest.raises(BuildError, match="RUN uses proot here, which cannot do"):
        run(ref, "true", **options)
