"""What a wheel has in it: the tracer of its machine, of no other, and a pure one none."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.services import require, tool
from tests.services.common import run

ROOT = Path(__file__).parents[2]
BIN = "pybuild_magic/builders/embedded/sandbox/bin/"
MACHINES = {"x86_64": 62, "aarch64": 183}
"""Of ELF, `e_machine`."""

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="wheels are made on Linux"),
    pytest.mark.xdist_group("wheel"),
]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what builds wheels, of which the development environment has the larger part."""
    place = tmp_path_factory.mktemp("backend")
    run([sys.executable, "-m", "pip", "install", "--quiet", "--target", place, "hatchling", "hatch-jupyter-builder"])
    return place


def wheel(machine: str, backend: Path, place: Path) -> zipfile.ZipFile:
    """The wheel for a machine, made of this work tree."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    environment = os.environ | {"PYBUILD_TRACER": machine, "PYTHONPATH": str(backend)}
    run([*command, "--wheel-dir", place, ROOT], env=environment, timeout=600)
    return zipfile.ZipFile(next(place.glob("*.whl")))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_wheel_has_the_programs_of_its_machine(machine: str, backend: Path, tmp_path: Path) -> None:
    with wheel(machine, backend, tmp_path) as made:
        programs = {name.removeprefix(BIN) for name in made.namelist() if name.startswith(BIN)}
        assert programs - {f"{machine}/.built"} == {f"{machine}/tracer", f"{machine}/loader"}
        for name in ("tracer", "loader"):
            info = made.getinfo(f"{BIN}{machine}/{name}")
            assert info.external_attr >> 16 & 0o111, "it can be executed once it is installed"
            head = made.read(info)[:20]
            assert head[:4] == b"\x7fELF"
            assert struct.unpack_from("<H", head, 18) == (MACHINES[machine],)
        made.extractall(tmp_path / "installed")
        text = made.read(next(name for name in made.namelist() if name.endswith("/WHEEL"))).decode()
    assert "Root-Is-Purelib: false" in text
    assert f"Tag: py3-none-manylinux_2_17_{machine}" in text
    assert f"Tag: py3-none-musllinux_1_1_{machine}" in text
    tracer = tmp_path / "installed" / BIN / machine / "tracer"
    tracer.chmod(0o755)
    emulator = [] if machine == platform.machine() else [require(lambda: tool(f"qemu-{machine}-static"))]
    said = subprocess.run([*emulator, tracer, "--help"], capture_output=True, text=True, check=False).stdout
    assert said.startswith("usage: tracer")
    if emulator:  # qemu-user emulates no ptrace; tests/tracer/test_aarch64.py goes further
        probed = subprocess.run([*emulator, tracer, "--probe"], capture_output=True, text=True, check=False)
        assert (probed.returncode, probed.stdout + probed.stderr) == (1, "ptrace: Function not implemented\n")


def test_a_pure_wheel_has_no_program(backend: Path, tmp_path: Path) -> None:
    with wheel("none", backend, tmp_path) as made:
        assert Path(made.filename or "").name.endswith("-py3-none-any.whl")
        names = made.namelist()
    assert not [name for name in names if name.startswith(BIN)]
    assert "pybuild_magic/display/static/progress.js" in names
    assert any(name.endswith("share/jupyter/labextensions/pybuild_magic/package.json") for name in names)
