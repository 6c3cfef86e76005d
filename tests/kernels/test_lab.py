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
        built = f"%%build -t card\nFROM {WITH_KERNEL}\nENV WHERE=card"
        server.write("work.ipynb", "%load_ext pybuild_magic", "import sys\nprint('runs in', sys.prefix)", built)
        with open_notebook(server, browser, "work.ipynb", alone=False) as notebook:
            notebook.run(0)
            page = notebook.page
            notebook.run(2).get_by_role("button", name="Use as kernel").click()
            page.locator(".jp-Dialog button", has_text="New notebook").click()
            started = page.locator(".jp-NotebookPanel:visible", has=page.locator(".jp-KernelName", has_text="in card"))
            started.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
            started.locator(".jp-Cell .jp-InputArea-editor").first.click()
            page.keyboard.type("import os; print('new notebook in', os.environ['WHERE'])")
            page.keyboard.press("Control+Enter")
            started.get_by_text("new notebook in card", exact=True).wait_for()
            page.locator(".lm-TabBar-tabLabel", has_text="work.ipynb").click()
            page.locator(".jp-SideBar [data-id='pybuild-images']").click()
            page.get_by_role("button", name=f"Use {WITH_KERNEL} as kernel").click()
            page.locator(".jp-Dialog button", has_text="This notebook").click()
            page.locator(".pb-store-said", has_text=f"work.ipynb runs in {WITH_KERNEL}.").wait_for()
            page.locator(".jp-KernelName", has_text=f"Python 3 in {WITH_KERNEL}").wait_for()
            notebook.run(1).get_by_text("runs in /opt/env").wait_for()
            notebook.save()
        assert server.read("work.ipynb").metadata["kernelspec"]["name"] == NAME
