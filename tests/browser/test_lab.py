"""Dockerfiles edited in notebooks, images in the file browser and beside the page: in real JupyterLab and Notebook."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .component import AXE
from .lab import START, Lab, Notebook, lab, open_notebook, until
from .test_build import LOAD, SLEEPING, watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("browser")

BUILD = """%%build --no-cache -t explored -o type=oci,dest=explored.tar -o type=image $site
FROM busybox AS work
COPY . /site
"""

TYPED = """%%build
FROM busybox AS base
RUN <<EOF
if true; then echo "$HOME"; fi
EOF
# said
COPY --from=base /a /b"""

STYLED = """(cell) => Object.fromEntries([...cell.querySelectorAll(".cm-line span")].map((span) => {
  const { color, fontWeight } = getComputedStyle(span);
  return [span.textContent, [color, fontWeight]];
}))"""
"""The colour and weight of each coloured word of a cell."""


def type_into(notebook: Notebook, number: int, text: str) -> None:
    """Type as a person does, but for the indentation and the brackets that the editor adds by itself."""
    notebook.cell(number).locator(".cm-content").click()
    for line in text.split("\n"):
        notebook.page.keyboard.insert_text(line)
        notebook.page.keyboard.press("Enter")


def styles(notebook: Notebook, number: int) -> dict[str, list[str]]:
    notebook.cell(number).locator(".cm-line span").first.wait_for()  # Python's colours are loaded when needed
    return notebook.cell(number).locator(".cm-content").evaluate(STYLED)


def test_a_cell_is_coloured_checked_and_explained_while_it_is_typed(server: Lab, browser: Browser) -> None:
    server.write("typed.ipynb", LOAD, "", "if True: x = 1  # said")
    with open_notebook(server, browser, "typed.ipynb") as notebook:
        said = watch(notebook.page)
        type_into(notebook, 1, TYPED)
        words, python = styles(notebook, 1), styles(notebook, 2)
        keyword, comment = python["if"], python["# said"]
        for word in ("FROM", "AS", "RUN", "COPY", "if", "then", "fi"):
            assert words[word] == keyword, f"{word} is a keyword"
        assert words["# said"] == comment
        assert words["busybox"] == python.get("'", words['"']), "an image is a name, and no keyword"
        assert words["--from"] != keyword
        assert words["%%build"] not in (keyword, comment)
        assert notebook.cell(2).locator(".pb-build-cell").count() == 0, "the rest of the notebook is Python"

        notebook.page.wait_for_timeout(600)  # after which cells are checked
        assert "No such comm target" not in (server.home.parent / "lab.log").read_text(), "the kernel is left alone"
        notebook.run(0)
        notebook.cell(1).locator(".cm-content").click()
        notebook.page.keyboard.press("Control+End")
        notebook.page.keyboard.insert_text("WORKDIR relative\nFRM x")
        wrong = notebook.cell(1).locator(".cm-lintRange-error")
        wrong.wait_for()
        assert "FRM" in wrong.inner_text()
        wrong.first.hover()
        notebook.page.locator(".pb-lint", has_text="unknown instruction").wait_for()

        notebook.page.mouse.move(0, 0)
        notebook.cell(1).locator(".cm-line span", has_text="COPY").first.hover()
        help_text = notebook.page.locator(".pb-help")
        help_text.wait_for()
        assert "COPY [flags] SOURCE" in help_text.inner_text()
        notebook.page.keyboard.press("Control+Home")
        notebook.page.keyboard.press("Delete")
        assert notebook.cell(1).locator(".pb-build-cell").count() == 0, "without the magic it is Python again"
        assert said == []


def _complete(notebook: Notebook, number: int, typed: str, choice: str) -> list[str]:
    """Type at a cell's end, accept a completion by keyboard, and tell what else was offered."""
    page = notebook.page
    notebook.cell(number).locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(typed)
    page.keyboard.press("Tab")
    offered = page.locator(".jp-Completer:visible .jp-Completer-item")
    offered.first.wait_for()
    words = [word.strip() for word in offered.locator(".jp-Completer-match").all_inner_texts()]
    for _ in range(words.index(choice)):
        page.keyboard.press("ArrowDown")
    page.locator(".jp-Completer-item.jp-mod-active", has_text=choice).wait_for()
    page.keyboard.press("Enter")
    page.locator(".jp-Completer:visible").wait_for(state="detached")
    return words


def _look_at_completions(notebook: Notebook, empty: int, python: int) -> None:
    """In an empty cell, and in one that is Python with a word of its own."""
    text = notebook.cell(empty).locator(".cm-content")
    assert "tar" in _complete(notebook, empty, "%%build -t fromage --output type=", "oci")
    assert text.inner_text() == "%%build -t fromage --output type=oci"
    words = _complete(notebook, empty, ",dest=image.tar,com", "compression=")
    assert set(words) == {"compression=", "compression-level="}
    assert text.inner_text().endswith("dest=image.tar,compression=")
    notebook.page.keyboard.insert_text("zstd\nFROM busybox AS fromage_base\nFROM fr")
    # Not the word of the line above, and none of `from`, which the words of the cell would be.
    assert _complete(notebook, empty, "o", "fromage_base") == ["fromage_base"]
    assert text.inner_text().endswith("\nFROM fromage_base")
    assert _complete(notebook, empty, "\nCO", "COPY") == ["COPY"]
    assert "fromage_word" in _complete(notebook, python, "\nfroma", "fromage_word"), "Python has its own words"


def test_a_cell_and_its_magic_line_are_completed_in_lab(server: Lab, browser: Browser) -> None:
    server.write("completed.ipynb", LOAD, "", "fromage_word = fromage_other = 1")
    with open_notebook(server, browser, "completed.ipynb") as notebook:
        said = watch(notebook.page)
        notebook.run(0)
        _look_at_completions(notebook, 1, 2)
        assert said == []


def test_archives_dockerfiles_and_the_store_are_opened_in_lab(server: Lab, browser: Browser) -> None:
    server.write("files.ipynb", LOAD, BUILD)
    (server.root / "sub").mkdir(exist_ok=True)
    (server.root / "sub" / "Dockerfile").write_text("FROM busybox\nRUN echo from a file\n")
    (server.root / "none.tar").write_bytes(b"no archive")
    with open_notebook(server, browser, "files.ipynb") as notebook:
        notebook.run(0)
        result = notebook.run(1)
        result.locator(".pbr").get_by_role("tab", name="Layers").wait_for()
        page = notebook.page
        page.locator(".jp-SideBar [data-id='pybuild-images']").click()
        _look_at_the_store(page)
        notebook.cell(1).locator(".cm-content").click(button="right")
        page.locator("[data-command='pybuild-magic:save-cell-as-dockerfile']").click()
        page.locator(".jp-Dialog input").fill("saved.Dockerfile")
        page.keyboard.press("Enter")
        page.locator(".jp-Dialog").wait_for(state="detached")
        saved = server.root / "saved.Dockerfile"
        until(page, lambda: saved.exists() and saved.read_text())
        assert saved.read_text() == BUILD.partition("\n")[2]

        notebook.save()
        page.goto(f"{server.url}/lab/tree/none.tar?reset")
        said = watch(page)
        page.locator(".pb-explorer [role=alert]", has_text="none.tar").wait_for()
        page.locator(".jp-DirListing-item", has_text="explored.tar").dblclick()
        shown = page.locator(".pb-explorer .pbr", has_text="explored.tar")
        shown.wait_for()
        shown.get_by_role("tab", name="Files").click()
        shown.get_by_role("treeitem").first.wait_for()
        page.locator(".jp-DirListing-item", has_text="sub").dblclick()
        page.locator(".jp-DirListing-item", has_text="Dockerfile").click(button="right")
        page.locator("[data-command='pybuild-magic:open-as-notebook']").click()
        page.locator(".jp-Notebook .pb-build-cell", has_text="echo from a file").wait_for()
        assert page.locator(".jp-Notebook .pb-build-cell").inner_text().startswith("%%build -t sub .")

        page.locator(".jp-DirListing-item", has_text="Dockerfile").dblclick()
        # It has the colours of a cell: JupyterLab's own mode has none for the name of an image.
        page.locator(".jp-FileEditor .cm-line span", has_text=re.compile("^busybox$")).wait_for()
        assert said == []


def test_rows_open_what_they_name_and_a_large_context_is_made_smaller(server: Lab, browser: Browser) -> None:
    context = server.root / "large"
    (context / ".git").mkdir(parents=True)
    with (context / ".git" / "pack").open("wb") as pack:
        pack.truncate(110_000_000)
    (context / "app.py").write_text("print()\n")
    server.write(
        "rows.ipynb", LOAD, "%%build -t large large\nFROM scratch\nCOPY . /\n", "%build images", "%build history"
    )
    with open_notebook(server, browser, "rows.ipynb") as notebook:
        page = notebook.page
        page.set_viewport_size({"width": 400, "height": 900})  # where the kernel's name has no room
        notebook.run(0)
        card = notebook.run(1, 120).locator(".pbr")
        card.locator("summary", has_text="warning").click()
        card.get_by_role("button", name="Ignore .git").click()
        card.locator("[role=status]", has_text="1 pattern added").wait_for()
        assert (context / ".dockerignore").read_text().split() == [".git"]
        assert card.evaluate("(card) => card.scrollWidth <= card.clientWidth")

        notebook.run(2).get_by_role("button", name="large:latest").click()
        page.locator(".jp-Dialog .pbr", has_text="large:latest").wait_for()
        page.locator(".jp-Dialog .jp-mod-accept").click()
        row = notebook.run(3).locator(".pb-opens").first
        row.focus()
        page.keyboard.press("Enter")
        page.locator(".jp-Dialog .pb-log", has_text="COPY . /").wait_for()
        page.locator(".jp-Dialog .jp-mod-accept").click()

        # What is open stays open when a kernel goes and the result is drawn again, as when one answers.
        page.set_viewport_size({"width": 1280, "height": 900})
        notebook.shut_down()
        card.get_by_role("button", name="Ignore .git").wait_for(state="detached")
        assert card.locator(".pbr-warnings").evaluate("(details) => details.open")


def _look_at_the_store(page: Page) -> None:
    store = page.locator(".pb-store")
    store.locator(".pb-store-open", has_text="explored:latest").wait_for()
    page.add_script_tag(path=str(AXE))
    assert page.evaluate("axe.run('.pb-panel').then(({ violations }) => violations.map((one) => one.id))") == []
    assert store.locator("[data-status=completed]", has_text="explored").count() == 1
    store.locator(".pb-store-open", has_text="explored:latest").click()
    opened = page.locator(".jp-Dialog .pbr")
    opened.get_by_role("tab", name="Layers").wait_for()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    for name in ("busybox", "explored"):
        store.get_by_role("checkbox", name=name).check()
    store.get_by_role("button", name="Compare").click()
    page.locator(".jp-Dialog .pb-difference", has_text="index.html").wait_for()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    store.get_by_role("button", name="Prune build cache").click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    store.locator(".pb-store-said", has_text=re.compile("Freed|nothing to remove")).wait_for()


def test_notebook_7_colours_completes_builds_cancels_and_explores(
    server: Lab, browser: Browser, tmp_path: Path
) -> None:
    home = server.home.parent  # with the image busybox
    server.write("seven.ipynb", LOAD, BUILD.replace("explored", "seven"), "if True: fromage_word = 1", "", SLEEPING)
    (server.root / "seven.tar").unlink(missing_ok=True)
    with lab(server.root, home, app="notebook") as seven:
        with open_notebook(seven, browser, "seven.ipynb") as notebook:
            said = watch(notebook.page)
            assert styles(notebook, 1)["FROM"] == styles(notebook, 2)["if"]
            notebook.run(0)
            result = notebook.run(1)
            result.locator(".pbr").get_by_role("tab", name="Layers").click()
            result.get_by_role("treeitem", name="site").first.wait_for()
            _look_at_completions(notebook, 3, 2)
            notebook.start(4)
            notebook.outputs(4).locator('.pbp-step[data-state="running"]', has_text="sleep 12345").wait_for()
            notebook.outputs(4).locator(".pbp-cancel").click()
            notebook.outputs(4).locator(".pbr", has_text="Canceled after").wait_for()
            notebook.wait(4)
            assert said == []
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(START * 1000)
        page.goto(f"{seven.url}/edit/seven.tar?factory=Image%20explorer")
        page.locator(".pb-explorer .pbr", has_text="seven.tar").wait_for()
        context.close()
