"""RUN --device: which devices a name stands for, and which of them a build may have, as BuildKit decides it.

The front end that is built into the tests' engine does not know the flag, so one of our own sends the graph to both.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.builders.embedded.sandbox import cdi
from tests.integration.lab import Home
from tests.services import daemon
from tests.services.buildkit import Engine
from tests.services.common import ServiceError

from .conftest import Front
from .test_frontends import BASE, OUTPUT, context_of, image_of

pytestmark = pytest.mark.xdist_group("frontends")

CLASS, ALLOWED = "org.mobyproject.buildkit.device.class", "org.mobyproject.buildkit.device.autoallow"
KIND = "tests.example/gpu"


def _device(name: str, *env: str, **annotations: str) -> dict[str, Any]:
    node = {"path": f"/dev/tests/zero{name}", "hostPath": "/dev/zero"}
    edits = {"env": [f"D{name}=1", *env], "deviceNodes": [node]}
    named = {{"class": CLASS, "allowed": ALLOWED}[key]: value for key, value in annotations.items()}
    return {"name": name, "containerEdits": edits, **({"annotations": named} if named else {})}


def _spec(kind: str, *devices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"cdiVersion": "0.6.0", "kind": kind, "devices": devices, **more}


SPECIFICATIONS = {
    "gpu.json": _spec(
        KIND,
        _device("2", "DRIVER=two", **{"class": "fast"}),
        _device("0", **{"class": "fast"}),
        _device("10", **{"class": "tests.example/other=named"}),
        _device("9", allowed="no"),
        annotations={ALLOWED: "true"},
        containerEdits={"env": ["DRIVER=ours"]},
    ),
    "one.json": _spec("tests.example/twice", _device("a", allowed="1"), _device("b", allowed="1")),
    "two.json": _spec("tests.example/twice", _device("b", allowed="1"), _device("c")),
    "bad.json": {"kind": 3},
}

GIVEN = [
    KIND,
    f"{KIND}=",
    f"{KIND}=2",
    "fast",
    f"{KIND}=2 fast {KIND}",
    "fast 2?",
    "tests.example/other=named",
    f"{KIND}=fast? {KIND}=2",
    "tests.example/none? tests.example/none=*? nonsense? /? =*?",
    "tests.example/twice",
    "tests.example/twice=b?",
]
"""Names of devices, which both builders give to a process or leave out."""

REFUSED = [
    f"{KIND}=*",
    f"{KIND}=9",
    f"fast {KIND}=9",
    "tests.example/twice=* tests.example/gpu=9",
    f"{KIND}=*?",
    f"{KIND}=fast",
    "tests.example/twice=b",
    "tests.example/none",
    "tests.example/none=*",
    "nonsense",
]


@pytest.fixture(scope="module")
def machine(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The specifications, on the machine of the engine and for us."""
    ours = tmp_path_factory.mktemp("cdi")
    theirs = daemon.place_of(engine.daemon, "/run/cdi")
    theirs.mkdir()
    try:
        for name, spec in SPECIFICATIONS.items():
            for directory in (ours, theirs):
                (directory / name).write_text(json.dumps(spec))
        deadline = time.monotonic() + 10
        while not all(name in engine.docker("buildx", "inspect").stdout for name in (f"{KIND}=9", "twice=c")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield ours
    finally:
        shutil.rmtree(theirs)


@pytest.fixture
def devices(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cdi, "DIRECTORIES", (str(machine),))


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("names", GIVEN)
def test_a_process_gets_the_devices_that_buildkit_gives_it(
    names: str, front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    script = (
        "env | grep ^D | sort > /env; ls /dev/tests > /nodes 2>/dev/null; head -c 1 /dev/tests/* > /read 2>&1; true"
    )
    text = f"# syntax={front.ref}\n{BASE}device {names}: {script}\n"
    theirs = engine.build_oci(context_of(tmp_path), tmp_path / "theirs.tar", dockerfile=text)
    output = f"{OUTPUT},dest={tmp_path / 'ours.tar'}"
    home.build(text, build_args={"SOURCE_DATE_EPOCH": "0"}, outputs=[output], no_cache=True)
    assert image_of(tmp_path / "ours.tar", skip=True) == image_of(theirs, skip=True)


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("names", REFUSED)
def test_a_device_that_buildkit_refuses_is_refused(
    names: str, front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    text = f"# syntax={front.ref}\n{BASE}device {names}: true\n"
    with pytest.raises(ServiceError) as caught:
        engine.build_oci(context_of(tmp_path), tmp_path / "theirs.tar", dockerfile=text)
    message = home.fails(text).message
    assert message in str(caught.value) or (
        message.startswith("There is no device") and "is not registered" in str(caught.value)
    )


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize("allow", ["device", f"device={KIND}=9", f"device={KIND}=*", f"device={KIND}"])
def test_a_device_is_granted_by_its_name(allow: str, front: Front, home: Home) -> None:
    text = f"# syntax={front.ref}\n{BASE}device {KIND}=9: test $D9\n"
    if allow == f"device={KIND}":  # the first, which it is not
        assert "not allowed" in home.fails(text, allow=[allow]).message
    else:
        home.build(text, allow=[allow])


@pytest.mark.usefixtures("devices")
def test_a_device_gets_no_other_name(front: Front, home: Home) -> None:
    """The engine's own BuildKit grants no devices ("not allowed by build daemon configuration"): none to compare."""
    allow = f"device={KIND}=9,alias=mine"
    error = home.fails(f"# syntax={front.ref}\n{BASE}device mine: true\n", allow=[allow])
    assert error.message == f"--allow {allow}: a device cannot be given another name here."
    assert "Name the device itself in RUN --device" in error.hint
