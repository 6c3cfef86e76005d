"""An image with a Python environment and ipykernel in it, made by `%build kernel --add-ipykernel` itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.images.load import load_image
from pybuild_magic.notebook.kernel_commands import kernel
from tests.places.image import debian_base
from tests.services import require

IMAGE, WITH_KERNEL, NAME = "env:1", "env:1-kernel", "in-env"
DOCKERFILE = """
FROM debian-python
RUN useradd --create-home --uid 1000 jovyan && python3 -m venv /opt/env
ENV PATH=/opt/env/bin:$PATH WHERE=image
USER jovyan
"""


@pytest.fixture(scope="session")
def kernel_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def place(kernel_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A store with the image, and where Jupyter keeps the kernelspec NAME of it; the directory is a notebook's."""
    monkeypatch.setenv("PYBUILD_HOME", str(kernel_home / "store"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(kernel_home / "data"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(kernel_home / "runtime"))
    # Jupyter's notebooks are in a directory that the image has not.
    monkeypatch.chdir(kernel_home)
    store = embedded_builder().store
    if not store.images.get(f"docker.io/library/{WITH_KERNEL}"):
        load_image(store, require(debian_base).path, "debian-python")
        build(DOCKERFILE, "-", tags=[IMAGE], progress="quiet")
        kernel(["--add-ipykernel", "--name", NAME, "-e", "GIVEN=yes", IMAGE])
    yield kernel_home
    embedded_builder().close()
    builders._embedded = None


class Kernel:
    """A running kernel, and what a notebook does with it."""

    def __init__(self, manager: KernelManager, client: Any) -> None:
        self.manager, self.client = manager, client

    def run(self, code: str, **more: Any) -> str:
        """Run code and return what it printed, and the name of its error."""
        written: list[str] = []
        reply = self.client.execute_interactive(
            code, timeout=120, output_hook=lambda message: _take(message, written), **more
        )
        content = reply["content"]
        return "".join(written) + ("" if content["status"] == "ok" else content["ename"])

    @property
    def pid(self) -> int:
        """The process that Jupyter has started."""
        provisioner = self.manager.provisioner
        assert isinstance(provisioner, LocalProvisioner)
        assert provisioner.pid
        return provisioner.pid


def _take(message: dict[str, Any], written: list[str]) -> None:
    if message["msg_type"] == "stream":
        written.append(message["content"]["text"])


@contextmanager
def running(name: str = NAME, **more: Any) -> Iterator[Kernel]:
    """A kernel, until the end of the block."""
    manager = KernelManager(kernel_name=name)
    manager.start_kernel(**more)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        if manager.is_alive():
            manager.shutdown_kernel()
        manager.cleanup_resources()


def left_behind(home: Path) -> list[str]:
    """Processes, mounts and working directories of kernels that are there still."""
    left = [f"process {path.name}" for path in Path("/proc").iterdir() if path.name.isdigit() and _is_kernel(path)]
    left += [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(home) in line]
    for owner in (home / "store/work").iterdir():
        if owner.is_dir() and not owner.name.startswith(f"{os.getpid()}-"):
            left += [str(path) for path in owner.iterdir()]
    return left


def _is_kernel(process: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"pybuild_magic.kernels" in words or b"/run/pybuild/connection.json" in words
