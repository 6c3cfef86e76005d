"""The ways to a first build in a real JupyterLab: the launcher, the palette, and the button on a Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from pybuild_magic.editor.diagnostics import diagnostics

from .gate import Gate
from .lab import START, Lab, Notebook, until, wait_for_kernel
from .test_build import watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(START * 1000)
    said = watch(page)
    yield page
    context.close()
    assert said == []


def command(page: Page, label: str) -> None:
    """Run a command of the palette by keyboard. A page that is not quite there yet may overlook a key."""
    box = page.locator(".lm-CommandPalette-input")
    for _ in range(int(START)):
        page.keyboard.press("Control+Shift+c")
        page.wait_for_timeout(1000)
        if box.is_visible():
            break
    box.fill(label)
    page.locator(".lm-CommandPalette-item.lm-mod-active", has_text=label).wait_for()
    page.keyboard.press("Enter")


def choose(page: Page, snippet: int) -> None:
    """Insert a snippet by its number in the dialog, by keyboard."""
    command(page, "New Build Cell…")
    page.locator(".jp-Dialog select").focus()
    for _ in range(snippet):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator(".jp-Dialog").wait_for(state="detached")


def test_the_launcher_makes_a_notebook_that_builds(server: Lab, page: Page) -> None:
    (server.root / "begun").mkdir()
    page.goto(f"{server.url}/lab/tree/begun?reset")
    tile = page.locator(".jp-LauncherCard", has_text="Dockerfile notebook")
    tile.wait_for()
    assert tile.locator("img").evaluate("(icon) => icon.complete && icon.naturalWidth > 0"), "it has a picture"
    tile.focus()
    page.keyboard.press("Enter")
    cell = page.locator(".jp-Notebook .pb-build-cell")
    cell.wait_for()
    assert cell.inner_text() == "%%build -t site $files\nFROM scratch\nCOPY . /site"
    wait_for_kernel(page)
    page.locator(".lm-MenuBar-item", has_text="Run").click()
    page.locator('.lm-Menu [data-command="runmenu:run-all"]').click()
    page.locator(".jp-Notebook .pbr", has_text="site:latest").wait_for()

    command(page, "Prune Build Cache…")
    page.locator(".jp-Dialog", has_text="Images stay").locator(".jp-mod-accept").click()
    page.locator(".Toastify__toast", has_text=re.compile("Freed|nothing to remove")).wait_for()
    command(page, "Prune Build Cache…")
    page.locator(".jp-Dialog", has_text="Images stay").locator(".jp-mod-reject").click()
    command(page, "Show Images and Builds")
    page.locator(".pb-store-open", has_text="site:latest").first.wait_for()


def test_build_cells_are_inserted_and_can_be_typed_in(server: Lab, page: Page, gate: Gate) -> None:
    """Also while the kernel runs another cell."""
    server.write("inserted.ipynb", gate.code, "")
    page.goto(f"{server.url}/lab/tree/inserted.ipynb?reset")
    wait_for_kernel(page)
    Notebook(server, page, "inserted.ipynb").start(0)
    cells = page.locator(".jp-Notebook .jp-Cell")
    cells.nth(1).locator(".cm-content").click()
    choose(page, 0)
    built = page.locator(".jp-Notebook .pb-build-cell")
    built.first.wait_for()
    expect(cells.nth(1).locator(".cm-content")).to_have_text(
        "%load_ext pybuild_magic"
    )  # it took the empty cell's place
    page.locator(".cm-content:focus", has_text="COPY <<EOF").wait_for()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("\nCOPY <<EOF /typed\nEOF")
    page.keyboard.press("Control+Enter")
    gate.open()
    page.locator(".jp-Notebook .pbr", has_text="/typed").wait_for()  # the magic had been loaded

    page.keyboard.press("Escape")
    choose(page, 1)
    until(page, lambda: built.count() == 2)
    page.locator(".cm-content:focus", has_text="pip install").wait_for()
    choose(page, 2)
    until(page, lambda: built.count() == 3)
    page.locator(".cm-content:focus", has_text="go build").wait_for()
    assert cells.count() == 5
    page.locator('.jp-NotebookPanel-toolbar [data-command="docmanager:save"]').click()
    until(page, lambda: len(server.read("inserted.ipynb").cells) == 5)
    for cell in server.read("inserted.ipynb").cells[2:]:
        assert cell.source.startswith("%%build -t ")
        assert diagnostics(cell.source) == []


def test_an_open_dockerfile_is_saved_and_built_in_one_notebook(server: Lab, page: Page) -> None:
    folder = server.root / "button"
    folder.mkdir()
    file = folder / "web.Dockerfile"
    file.write_text("FROM busybox\nRUN echo from a file\n")
    page.goto(f"{server.url}/lab/tree/button/web.Dockerfile?reset")
    editor = page.locator(".jp-FileEditor .cm-content")
    editor.click()
    page.get_by_role("button", name="Build", exact=True).click()
    card = page.locator(".jp-Notebook .pbr", has_text="web:latest")
    card.wait_for()
    assert page.locator(".jp-Notebook .jp-Cell .cm-content").all_inner_texts() == [
        "%load_ext pybuild_magic",
        "%build -t web -f web.Dockerfile .",
    ]

    page.locator(".lm-TabBar-tab", has_text="web.Dockerfile").first.click()
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("RUN echo typed\n")
    command(page, "Build This Dockerfile")
    card.locator("text=echo typed").first.wait_for()
    assert file.read_text().endswith("RUN echo typed\n")
    assert len(list(folder.glob("*.ipynb"))) == 1
