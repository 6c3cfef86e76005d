"""`%%build --background`: the notebook goes on, and the handle tells of the build."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pybuild_magic import BuildResult
from pybuild_magic.api.background import BuildHandle
from pybuild_magic.builders import embedded_builder
from pybuild_magic.errors import Interrupted, RunError
from pybuild_magic.images.load import load_image
from tests.services.baseimages import BaseImage

from .conftest import Shell


@pytest.fixture
def busybox(shell: Shell, busybox_layout: BaseImage) -> None:
    load_image(embedded_builder().store, busybox_layout.path, "busybox")


def test_it_returns_at_once_and_its_result_comes_later(shell: Shell, busybox: None, tmp_path: Path) -> None:
    handle = shell.run(
        "%%build --background --into handle -t later -o type=tar,dest=later.tar -\n"
        "FROM busybox\nRUN sleep 4; echo done > /done\n"
    )
    assert isinstance(handle, BuildHandle)
    assert shell.names["handle"] is handle
    assert not handle.done
    assert handle.result is None
    assert handle.state == "running"
    assert "Building later in the background" in repr(handle)
    with pytest.raises(TimeoutError, match="goes on"):
        handle.wait(0.01)
    result = handle.wait(60)
    assert isinstance(result, BuildResult)
    assert handle.result is result
    assert handle.state == "done"
    assert (tmp_path / "later.tar").exists()
    assert repr(handle) == repr(result)


def test_it_is_cancelled(shell: Shell, busybox: None) -> None:
    handle = shell.run("%%build --background -t never -\nFROM busybox\nRUN sleep 100\n")
    deadline = time.monotonic() + 30
    while "sleep" not in repr(handle) and time.monotonic() < deadline:
        time.sleep(0.05)
    handle.cancel()
    with pytest.raises(Interrupted):
        handle.wait(20)
    assert handle.state == "canceled"
    assert "interrupted" in repr(handle)


def test_an_error_is_raised_to_who_waits(shell: Shell, busybox: None) -> None:
    handle = shell.run("%%build --background -\nFROM busybox\nRUN exit 7\n")
    with pytest.raises(RunError):
        handle.wait(60)
    assert handle.state == "error"
    assert "exit code: 7" in repr(handle)
    with pytest.raises(RunError):
        _ = handle.result
