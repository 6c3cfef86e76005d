"""The process of a kernelspec, which starts quickly since it imports only what finds an image and runs a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.images.load import load_image
from pybuild_magic.kernels.launch import OURS
from pybuild_magic.kernels.spec import install
from pybuild_magic.run import RunOptions
from tests.services.baseimages import BaseImage

SHELL = {"argv": ["/bin/sh", "-c", "exit 7", "{connection_file}"], "display_name": "A shell", "language": "sh"}
HEAVY = (
    *("IPython", "asyncio", "concurrent", "email.message", "http", "jupyter_client", "logging", "ssl", "yaml"),
    *(f"pybuild_magic.{name}" for name in ("api", "attest", "bake", "cache", "display", "docker", "dockerfile")),
    *(f"pybuild_magic.{name}" for name in ("environments", "exporters", "net", "notebook", "results", "session")),
    *("pybuild_magic.oci.remote", "pybuild_magic.request.options", "pybuild_magic.request.table"),
    *(f"pybuild_magic.builders.{name}" for name in ("buildkit", "proto", "settings")),
    *(f"pybuild_magic.builders.embedded.{name}" for name in ("building", "execspec", "files", "frontends", "solver")),
    *("pybuild_magic.builders.embedded.sources", "pybuild_magic.builders.embedded.sandbox.cdi"),
    *(f"pybuild_magic.store.{name}" for name in ("collector", "importer", "tarread", "usage", "writer")),
)
"""Modules and packages that would make the start of a kernel slower; it needs none of them."""
PROGRAM = """
import sys
from pybuild_magic.kernels.__main__ import _main
print(_main(), *sorted(sys.modules))
"""
OPENED = """
import sys
opened = []
sys.addaudithook(lambda event, about: opened.append(str(about[0])) if event == "open" else None)
from pybuild_magic.kernels.__main__ import _main
print(_main(), *opened)
"""


@pytest.fixture
def place(busybox_layout: BaseImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store with the image `shell`, whose kernel ends at once with 7, and a connection file."""
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    files = {"usr/share/jupyter/kernels/shell/kernel.json": json.dumps(SHELL)}
    build("FROM busybox\nCOPY . /\n", files, tags=["shell"], progress="quiet")
    (tmp_path / "connection.json").write_text("{}")
    yield tmp_path
    builders.close()


def started(program: str, place: Path, spec: str) -> list[str]:
    """Return the words after the exit code that a start of the kernelspec in a directory prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, spec, str(place / "connection.json")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "JPY_PARENT_PID": str(os.getpid())},
        cwd=place,
    )
    code, *words = done.stdout.split()
    assert code == "7", done.stderr
    return words


def tables(opened: list[str]) -> list[str]:
    """Return those of the opened files that are tables of contents of layers."""
    rows = embedded_builder().store.db.read("SELECT idx FROM layers")
    digests = {row[0].removeprefix("sha256:") for row in rows}
    return [path for path in opened if path.rpartition("/")[2] in digests]


def test_the_start_of_a_kernel_imports_nothing_that_only_a_build_needs(place: Path) -> None:
    (kernel,) = install("shell", RunOptions())
    imported = started(PROGRAM, place, kernel.path)
    assert [name for name in imported if any(f"{name}.".startswith(f"{heavy}.") for heavy in HEAVY)] == []


def test_the_start_of_a_kernel_reads_no_table_of_a_layer(place: Path) -> None:
    (kernel,) = install("shell", RunOptions())
    started(OPENED, place, kernel.path)  # the first one unpacks the layers
    assert tables(started(OPENED, place, kernel.path)) == []


def test_a_kernelspec_without_its_program_starts_too(place: Path) -> None:
    request = {"image": "shell", "kernel": "shell"}
    (place / "kernel.json").write_text(json.dumps({**SHELL, "metadata": {OURS: request}}))
    assert tables(started(OPENED, place, str(place)))  # it has to look for the kernel
