"""Terminals of a real JupyterLab: where a step failed, from the error in the notebook, and in an image of the panel."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pybuild_magic.images.load import load_image
from pybuild_magic.store import Store
from tests.browser.lab import lab, open_notebook
from tests.services.baseimages import BaseImage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
            _type(page, "test -e /done && sleep 87653")
            page.locator(".jp-SideBar [data-id='pybuild-images']").click()
            page.get_by_role("button", name="Open a terminal in busybox:latest").click()
            page.locator(".jp-Terminal").nth(1).wait_for()
            _type(page, "test -e /done || sleep 87654")


def _type(page: Page, line: str) -> None:
    """Type a line into the terminal in front until the process that it starts is there."""
    wanted = line.rpartition("&& ")[2].rpartition("|| ")[2].replace(" ", "\0").encode() + b"\0"
    deadline = time.monotonic() + 90
    page.locator(".jp-Terminal .xterm-helper-textarea").last.wait_for(state="attached")
    while not any(wanted == _command(place) for place in Path("/proc").glob("[0-9]*")):
        assert time.monotonic() < deadline
        page.locator(".jp-Terminal:visible .xterm-helper-textarea").last.focus()
        page.keyboard.type(f"{line}\n")
        page.wait_for_timeout(3000)


def _command(place: Path) -> bytes:
    try:
        return (place / "cmdline").read_bytes()
    except OSError:
        return b""
