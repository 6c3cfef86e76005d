"""A notebook in JupyterLab changes to a kernel in an image, by the side panel's button."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.lab import lab, open_notebook

from .conftest import NAME, WITH_KERNEL

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.xdist_group("browser")


def test_a_notebook_uses_an_image_as_its_kernel(place: Path, tmp_path: Path, browser: Browser) -> None:
    with lab(tmp_path, place) as server:
        server.write("work.ipynb", "%load_ext pybuild_magic", "import sys\nprint('runs in', sys.prefix)")
        with open_notebook(server, browser, "work.ipynb") as notebook:
            notebook.run(0)
            page = notebook.page
            page.locator(".jp-SideBar [data-id='pybuild-images']").click()
            page.get_by_role("button", name=f"Use {WITH_KERNEL} as kernel").click()
            page.locator(".jp-Dialog button", has_text="This notebook").click()
            page.locator(".pb-store-said", has_text=f"work.ipynb runs in {WITH_KERNEL}.").wait_for()
            page.locator(".jp-KernelName", has_text=f"Python 3 in {WITH_KERNEL}").wait_for()
            notebook.run(1).get_by_text("runs in /opt/env").wait_for()
            notebook.save()
        assert server.read("work.ipynb").metadata["kernelspec"]["name"] == NAME
