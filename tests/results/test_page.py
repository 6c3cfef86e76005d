"""The page that needs no script: in a real browser, light, dark and narrow, and after sanitizers have been at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import bleach
import pytest

from pybuild_magic.display import html
from pybuild_magic.result import BuildResult

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
SECTIONS = ("Image", "Layers", "Files", "Config", "Graph", "Timeline", "Request")


def page_of(built: BuildResult) -> str:
    return str(html.render(built.summary, {1: "token"}))


@pytest.mark.xdist_group("chromium")
def test_it_reads_well_in_light_dark_and_narrow_pages(built: BuildResult, browser: Browser) -> None:
    body = page_of(built) + built.diff(built)._repr_html_() + built.image.layers._repr_html_()  # type: ignore[union-attr]
    for width, scheme, back in ((1000, "light", "#fff"), (1000, "dark", "#0d1117"), (320, "light", "#fff")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.set_content(
            f"<!doctype html><html lang=en><title>x</title><body style='background:{back}'><main><h1>x</h1>{body}"
        )
        first = page.inner_text("main")
        assert all(word in first for word in ("looked-at:latest", "MB", "linux/", "image.tar")), "without a click"
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(AXE.read_text())
        found: list[dict[str, Any]] = page.evaluate("axe.run().then((result) => result.violations)")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        context.close()


def test_a_sanitizer_leaves_all_that_is_said(built: BuildResult) -> None:
    """As GitHub's and nbconvert's: neither styles, classes nor scripts, and yet each section opens and tells."""
    kept = ["details", "summary", "table", "thead", "tbody", "tr", "th", "td", "p", "ul", "li", "pre", "code", "strong"]
    page = page_of(built)
    body = page.partition("</style>")[2]
    clean = bleach.clean(body, tags=[*kept, "div", "span"], attributes={}, strip=True)
    for title in SECTIONS:
        assert f"<summary><strong>{title}</strong>" in clean
    for text in (
        "looked-at:latest",
        "RUN cat a.txt",
        "+4",
        "CACHED" if "CACHED" in page else "ms",
        "hi there",
        "busybox",
    ):
        assert text in clean
    assert "script" not in body
    assert "<svg" not in body
