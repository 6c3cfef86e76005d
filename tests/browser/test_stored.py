"""The repository's notebooks as a stranger opens them: without trust, without a kernel, dark, narrow and sanitised."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bleach
import nbformat
import pytest

from pybuild_magic.summary import MIME_TYPE

from .component import AXE
from .lab import lab, open_notebook
from .legible import FAULTS, faults, open_all
from .test_build import watch

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.xdist_group("browser")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))

KEPT = set(
    re.findall(
        r"\w+",
        "h1 h2 h3 h4 h5 h6 br b i strong em a pre code div ins del sub sup p ol ul li table thead tbody tfoot tr th td "
        "blockquote dl dt dd kbd samp var hr s summary details caption abbr mark small span",
    )
)
"""Elements that GitHub leaves in a notebook's HTML. It takes styles, classes and scripts away."""
ATTRIBUTES = {"*": ["align", "title", "open", "scope", "colspan", "rowspan"], "a": ["href"]}

VIEWER = "<style>pre, table { display: block; overflow: auto }</style>"
"""The style that code-hosting pages and nbviewer have for wide elements."""

LOOK = """async ([faults, everyTab]) => {
  const find = (0, eval)(faults);
  const cells = [...document.querySelectorAll(".jp-Notebook .jp-Cell")];
  const cards = [...document.querySelectorAll(".jp-OutputArea-output :is(.pbr, .pybuild)")];
  const tabs = (card) => (everyTab ? [...card.querySelectorAll("[role=tab]")] : []);
  for (const tab of cards.flatMap(tabs)) tab.click();
  await new Promise(requestAnimationFrame); // for what is unpacked when it is first shown
  return cards.flatMap((card) => {
    const told = [];
    card.querySelectorAll("details").forEach((one) => (one.open = true));
    if (getComputedStyle(card).color === "rgb(0, 0, 0)") told.push("it has no style");
    for (const tab of [...tabs(card), null]) {
      tab?.click();
      told.push(...find(card).map((fault) => `${tab?.innerText ?? "as it opens"}: ${fault}`));
    }
    return told.map((fault) => [cells.indexOf(card.closest(".jp-Cell")), fault]);
  });
}"""
"""Returns the faults in cards and answers, with the number of the cell; with `everyTab`, those of every tab."""

CONTRAST = "axe.run('.jp-OutputArea-output :is(.pbr, .pybuild)', { runOnly: ['color-contrast'] })"


def _stored() -> tuple[Any, list[str]]:
    """Return all cells with output as one notebook, and the name of the notebook that each is from."""
    whole = nbformat.v4.new_notebook()
    whole.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    names: list[str] = []
    for path in NOTEBOOKS:
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.get("outputs")]
        assert cells
        for cell in cells:
            cell["id"] = f"cell{len(whole.cells)}"
            whole.cells.append(cell)
            names.append(f"{path.stem} [{cell.execution_count}]")
    return whole, names


def test_stored_notebooks_are_read_without_trust_in_the_dark_and_on_a_narrow_page(
    tmp_path: Path, browser: Browser
) -> None:
    root, home = tmp_path / "root", tmp_path / "home"
    root.mkdir()
    home.mkdir()
    whole, names = _stored()
    nbformat.write(whole, root / "stored.ipynb")
    results = sum(MIME_TYPE in output.get("data", {}) for cell in whole.cells for output in cell.outputs)
    wrong: list[tuple[str, Any]] = []
    with (
        lab(root, home, kernels=False, theme="JupyterLab Dark", windowing="none") as server,
        open_notebook(server, browser, "stored.ipynb", kernel=False, width=1280) as notebook,
    ):
        page = notebook.page
        said = watch(page)
        page.locator(".pbr .pbr-title").nth(results - 1).wait_for(state="attached")
        for width in (1280, 400):
            page.set_viewport_size({"width": width, "height": 900})
            told = page.evaluate(LOOK, [FAULTS, width == 400])
            wrong += [(f"{names[cell]} at {width}", fault) for cell, fault in told]
        page.add_script_tag(path=AXE)
        for violation in page.evaluate(CONTRAST)["violations"]:
            wrong += [("contrast", node["html"][:200]) for node in violation["nodes"]]
        assert said == []
    assert wrong == []


def test_what_a_sanitizer_leaves_of_the_notebooks_is_easy_to_read(browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 900, "height": 900})
    page = context.new_page()
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        pages = [
            output.data["text/html"]
            for cell in notebook.cells
            for output in cell.get("outputs", ())
            if "text/html" in output.get("data", {})
        ]
        assert pages
        plain = [re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL) for text in pages]
        body = "".join(
            f"<div>{bleach.clean(text, tags=KEPT, attributes=ATTRIBUTES, strip=True)}</div>" for text in plain
        )
        page.set_content(f"<!doctype html>{VIEWER}<main>{body}</main>")
        closed = page.locator("main").inner_text()
        open_all(page)
        assert faults(page.locator("main")) == [], path.name
        assert len(page.locator("main").inner_text()) > len(closed), "what is closed opens"
    context.close()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("<span>✓</span><span>1/3</span>", "glued: ✓|1/3"),
        ("<p style='width:8px;overflow-wrap:anywhere'>unreadable</p>", "a column too narrow: unreadable"),
        ("<p style='width:150px;white-space:nowrap'>a line that is longer than its box is wide</p>", "outside: a line"),
        ("<table><thead><tr><th>Share<tbody><tr><td><div style='width:0'></div></table>", "a column of nothing: Share"),
    ],
)
def test_what_is_hard_to_read_is_seen(browser: Browser, wrong: str, words: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.set_content(f"<!doctype html><main style='width:200px'><p>a text</p>{wrong}</main>")
    assert [fault for fault in faults(page.locator("main")) if words in fault]
    page.set_content("<!doctype html><main style='width:200px'><p>a text</p><span>✓</span> <span>1/3</span></main>")
    assert faults(page.locator("main")) == []
    context.close()
