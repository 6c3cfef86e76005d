"""A log of 100,000 lines in a page, and the time that the page takes to open, search and scroll it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from .component import RECORDED

if TYPE_CHECKING:
    from .component import ResultPage

LINES = 100_000

_KERNEL = """(lines) => { window.askKernel = async ({ id, params }) => {
  const part = lines.slice(params.offset, params.offset + params.limit);
  const result = { lines: part, seconds: part.map(() => 0.1), total: lines.length };
  return { reply: { id, result }, buffers: [] };
}; }"""

_OPEN = """() => {
  const tab = [...document.querySelectorAll("[role=tab]")].find((one) => one.textContent.startsWith("Logs"));
  const begun = performance.now();
  tab.click();
  document.querySelector(".pbr-logbox").getBoundingClientRect();
  return performance.now() - begun;
}"""

_SEARCH = """(words) => {
  const input = document.querySelector("[aria-label='Search the log']");
  const begun = performance.now();
  input.value = words;
  input.dispatchEvent(new Event("input"));
  document.querySelector(".pbr-logbox").getBoundingClientRect();
  return performance.now() - begun;
}"""

_SCROLL = """async () => {
  const box = document.querySelector(".pbr-logbox");
  const times = [];
  for (let at = 0; at < 31; at += 1) {
    const begun = performance.now();
    box.scrollTop += 300;
    box.dispatchEvent(new Event("scroll"));
    box.getBoundingClientRect();
    times.push(performance.now() - begun);
    await new Promise(requestAnimationFrame);
  }
  return times.sort((a, b) => a - b)[15];
}"""


def failing() -> dict[str, Any]:
    """A build that failed in its last step, the only one that printed anything."""
    document = json.loads(RECORDED) | {"fetch": "", "error": "It failed."}
    for vertex in document["vertexes"]:
        vertex |= {"log_tail": "", "log_lines": 0}
    return document


def flood() -> tuple[dict[str, Any], list[str]]:
    """A build with a step that printed a great deal and failed, and everything that it printed."""
    lines = [f"line {number} of a log \x1b[3{number % 7 + 1}mthat is long\x1b[0m" for number in range(LINES)]
    document = failing()
    document["vertexes"][-1] |= {
        "error": "exit code: 1",
        "log_head": "\n".join(lines[:50]),
        "log_tail": "\n".join(lines[-200:]),
        "log_seconds": [0.1] * 50 + [9.5] * 200,
        "log_lines": LINES,
    }
    return document, lines


def draw_flood(page: ResultPage) -> None:
    """Draw the build, with a kernel that has all lines."""
    document, lines = flood()
    page.page.evaluate(_KERNEL, lines)
    page.draw(json.dumps(document | {"fetch": "token"}))


def open_log(page: ResultPage) -> float:
    """Open the tab and wait for all lines; returns the milliseconds until the first are there."""
    took = page.page.evaluate(_OPEN)
    page.page.locator(".pbr-found", has_text=re.compile(rf"^{LINES:,} lines$")).wait_for()
    return took


def search_log(page: ResultPage, words: str) -> float:
    """Search the log; returns the milliseconds until the matches are marked."""
    return page.page.evaluate(_SEARCH, words)


def scroll_log(page: ResultPage) -> float:
    """Scroll in the log; returns the median milliseconds of 31 frames."""
    return page.page.evaluate(_SCROLL)
