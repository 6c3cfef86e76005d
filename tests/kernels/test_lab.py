"""JupyterLab with kernels in images: a notebook changes to one by the side panel, or by the card of a build.

In the second, one notebook does all that people do with a kernel, and nothing is left when its server is killed.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.lab import lab, open_notebook, type_in_terminal
from tests.run.processes import processes

from .conftest import NAME, WITH_KERNEL
from .test_kernel import assert_nothing_left, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.xdist_group("browser")

BUILD = f"""%%build -t widgets:1
FROM {WITH_KERNEL}
USER root
RUN pip install --no-cache-dir --no-compile ipywidgets
USER jovyan
"""
BUTTON = """import ipywidgets
button = ipywidgets.Button(description="press")
button.on_click(lambda _: setattr(button, "description", "pressed in the image"))
button"""
WAIT = """import time
print("begun")
while True: time.sleep(0.05)"""
ASK = "print('got', input('who? '))"
KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


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


def test_the_card_opens_a_terminal_and_its_image_becomes_the_kernel(
    place: Path, tmp_path: Path, browser: Browser
) -> None:
    cells = ("%load_ext pybuild_magic", BUILD, BUTTON, WAIT, ASK, "print(button)", KILL)
    with lab(tmp_path, place) as server:
        server.write("work.ipynb", *cells)
        with open_notebook(server, browser, "work.ipynb", alone=False, width=1600) as notebook:
            page = notebook.page
            notebook.run(0)
            card = notebook.run(1, 180)
            card.get_by_role("button", name="Open terminal").click()
            type_in_terminal(page, "exec sleep 97531", "sleep 97531")
            page.locator(".lm-TabBar-tab", has_text="work.ipynb").click()
            card.get_by_role("button", name="Use as kernel").click()
            page.locator(".jp-Dialog button", has_text="This notebook").click()
            page.locator(".jp-KernelName", has_text="Python 3 in widgets:1").wait_for()

            button = notebook.run(2).locator("button")
            button.click()
            button.get_by_text("pressed in the image").wait_for()
            notebook.start(3)
            notebook.outputs(3).get_by_text("begun").wait_for()
            notebook.interrupt()
            notebook.wait(3)
            notebook.outputs(3).get_by_text("KeyboardInterrupt").first.wait_for()

            notebook.start(4)
            notebook.outputs(4).locator("input").fill("ada")
            notebook.outputs(4).locator("input").press("Enter")
            notebook.outputs(4).get_by_text("got ada").wait_for()

            page.locator('.jp-NotebookPanel-toolbar [data-command="notebook:restart-kernel"]').first.click()
            page.locator(".jp-Dialog .jp-mod-accept").click()
            notebook.run(5).get_by_text("NameError").first.wait_for()
            notebook.start(6)  # Jupyter starts it again
            page.locator(".jp-Dialog", has_text="restart").wait_for()
            page.locator(".jp-Dialog .jp-mod-accept").click()
            notebook.run(5).get_by_text("NameError").first.wait_for()
            os.kill(server.pid, signal.SIGKILL)
    assert_nothing_left(place)
    assert until(lambda: not any(processes("97531"))), "the terminal's process is left"
