"""Terminals of a real JupyterLab: where a step failed, from the error in the notebook, and in an image of the panel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.browser.lab import lab, open_notebook, type_in_terminal
from tests.services.baseimages import BaseImage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.xdist_group("browser")

FAILING = "%%build -t never\nFROM busybox\nRUN echo half > /done; exit 3"


def test_terminals_open_where_a_step_failed_and_in_an_image(
    busybox_layout: BaseImage, tmp_path: Path, browser: Browser
) -> None:
    with Store(tmp_path / "home/store") as store:
        load_image(store, busybox_layout.path, "busybox")
    with lab(tmp_path, tmp_path / "home") as server:
        server.write("work.ipynb", "%load_ext pybuild_magic", FAILING)
        with open_notebook(server, browser, "work.ipynb") as notebook:
            page = notebook.page
            notebook.run(0)
            error = notebook.run(1)
            error.get_by_role("button", name="Files here").click()
            page.locator(".jp-Dialog .pbr-title", has_text="Where the step failed").wait_for()
            page.locator(".jp-Dialog .pb-explorer").get_by_text("done", exact=True).first.wait_for()
            page.locator(".jp-Dialog .jp-mod-accept").click()
            error.get_by_role("button", name="Terminal here").click()
            type_in_terminal(page, "test -e /done && sleep 87653", "sleep 87653")
            page.locator(".jp-SideBar [data-id='pybuild-images']").click()
            page.get_by_role("button", name="Open a terminal in busybox:latest").click()
            page.locator(".jp-Terminal").nth(1).wait_for()
            type_in_terminal(page, "test -e /done || sleep 87654", "sleep 87654")


def test_a_card_says_at_once_that_a_later_build_removed_the_state_of_its_step(
    busybox_layout: BaseImage, tmp_path: Path, browser: Browser
) -> None:
    with Store(tmp_path / "home/store") as store:
        load_image(store, busybox_layout.path, "busybox")
    with lab(tmp_path, tmp_path / "home") as server:
        server.write("gone.ipynb", "%load_ext pybuild_magic", FAILING, "%build du", "%%build\nFROM busybox\nRUN true")
        with open_notebook(server, browser, "gone.ipynb") as notebook:
            page = notebook.page
            notebook.run(0)
            error = notebook.run(1)
            error.get_by_role("button", name="Files here").wait_for()
            assert error.get_by_role("button", name="Terminal here").count() == 1

            du = notebook.run(2)
            du.locator("summary", has_text="State of failed steps").click()
            du.get_by_role("button", name=re.compile("^[0-9a-f]{12}$")).first.click()
            opened = page.locator(".jp-Dialog .pb-explorer")
            opened.locator(".pbr-title", has_text="Layer ").wait_for()
            opened.get_by_text("done", exact=True).first.wait_for()
            page.locator(".jp-Dialog .jp-mod-accept").click()

            notebook.run(3)
            error.get_by_text("The state of the failed step is gone. To look into it, run the cell again.").wait_for()
            assert error.get_by_role("button", name="Files here").count() == 0
