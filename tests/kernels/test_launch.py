"""The process of a kernelspec, which starts quickly since it imports only what finds an image and runs a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.images.load import load_image
from pybuild_magic.kernels.launch import OURS
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


def test_the_start_of_a_kernel_imports_nothing_that_only_a_build_needs(
    busybox_layout: BaseImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    files = {"usr/share/jupyter/kernels/shell/kernel.json": json.dumps(SHELL)}
    build("FROM busybox\nCOPY . /\n", files, tags=["shell"], progress="quiet")
    builders.close()
    request = {"image": "shell", "kernel": "shell"}
    (tmp_path / "kernel.json").write_text(json.dumps({**SHELL, "metadata": {OURS: request}}))
    (tmp_path / "connection.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(tmp_path / "connection.json")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "JPY_PARENT_PID": str(os.getpid())},
        cwd=tmp_path,
    )
    code, *imported = done.stdout.split()
    assert code == "7", done.stderr
    assert [name for name in imported if any(f"{name}.".startswith(f"{heavy}.") for heavy in HEAVY)] == []
