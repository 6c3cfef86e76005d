"""The time of the page in Chromium: drawing a result, opening and filtering trees, and reading a long log."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pybuild_magic.results.columns import columns_of
from pybuild_magic.store import DIR, Entry
from tests.browser.component import RECORDED, ResultPage, result_page
from tests.browser.flood import draw_flood, open_log, scroll_log, search_log
from tests.services.chromium import browser

from .peers import Kernel

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ENTRIES = 100_000
FILES = 20_000
_ANSWER = 25_000
"""How many entries the component asks the kernel for at once."""


@dataclass(frozen=True)
class Timing:
    """An action of the page; `target` is the most milliseconds of its main thread, including layout."""

    name: str
    title: str
    target: float


TIMINGS = (
    Timing("page-draw", "a result of 1,000 files drawn", 100),
    Timing("page-open", "a tree of 100,000 entries opened", 100),
    Timing("page-filter-first", "filtered for the first time", 100),
    Timing("page-filter-most", "filtered, and most of it matches", 100),
    Timing("page-files", "first paint of 20,000 files", 300),
    Timing("page-files-filter", "20,000 files filtered", 100),
    Timing("page-log", "a log of 100,000 lines opened", 100),
    Timing("page-log-search", "a log of 100,000 lines searched", 100),
    Timing("page-log-frame", "a frame of it, scrolled at 60/s", 1000 / 60),
)

_KERNEL = """(texts) => {
  window.askKernel = async ({ id, params }) =>
    ({ reply: { id, result: JSON.parse(texts[params.offset / %d]) }, buffers: [] });
}"""

_OPEN = """async (count) => {
  const begun = performance.now();
  for (const tab of document.querySelectorAll("[role=tab]")) if (tab.textContent.startsWith("Files")) tab.click();
  const opened = () => document.querySelector(".pbr-tree")?.getAttribute("aria-label").includes(count);
  const turn = new MessageChannel();
  const next = () => new Promise((resolve) => {
    turn.port1.onmessage = resolve;
    turn.port2.postMessage(0);
  });
  while (!opened() && performance.now() - begun < 30000) await next();
  document.querySelector(".pbr-tree").getBoundingClientRect();
  return performance.now() - begun;
}"""

_FILTER = """(text) => {
  const begun = performance.now();
  const input = document.querySelector("input[type=search]");
  input.value = text;
  input.dispatchEvent(new Event("input"));
  document.querySelector(".pbr-tree").getBoundingClientRect();
  return performance.now() - begun;
}"""


def measure(kernel: Kernel, scratch: Path, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each timing: the median over fresh pages, in which no script has been compiled yet."""
    drawn = _result(kernel, scratch)
    with browser() as chromium:
        taken = [_round(chromium, drawn) for _ in range(rounds)]
    rows: list[dict[str, Any]] = []
    for timing in TIMINGS:
        times = [one[timing.name] for one in taken]
        middle = statistics.median(times)
        digits = 0 if middle >= 10 else 1
        rows.append({"name": timing.name, "title": timing.title, "ms": middle, "target": timing.target, "times": times})
        print(f"{timing.title:34}{middle:>7.{digits}f}ms{'':17}{f'≤ {timing.target:.0f}':>8}", flush=True)
    return rows


def _round(chromium: Browser, drawn: str) -> dict[str, float]:
    with result_page(chromium) as page:
        times = {"page-draw": page.draw(drawn)}
    with result_page(chromium) as page:
        times["page-open"] = _open(page, ENTRIES)
        times["page-filter-first"] = _filter(page, "module99")
        times["page-filter-most"] = _filter(page, "e")
    with result_page(chromium) as page:
        times["page-files"] = _open(page, FILES)
        times["page-files-filter"] = max(_filter(page, text) for text in ("module99", "e"))
    with result_page(chromium) as page:
        draw_flood(page)
        times["page-log"] = open_log(page)
        times["page-log-search"] = max(search_log(page, words) for words in ("line 54321 ", "that is"))
        times["page-log-frame"] = scroll_log(page)
    return times


def _open(page: ResultPage, count: int) -> float:
    """Open the tree of a result with `count` entries, which come from the kernel."""
    page.page.evaluate(_KERNEL % _ANSWER, list(_answers(count)))
    page.draw(_tree(count))
    return page.page.evaluate(_OPEN, str(count)[:2])


def _filter(page: ResultPage, text: str) -> float:
    return page.page.evaluate(_FILTER, text)


def _result(kernel: Kernel, scratch: Path) -> str:
    """Return the document of a real build that exports 1,000 files."""
    context = scratch / "page"
    for number in range(1000):
        folder = context / f"folder{number // 50}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}.txt").write_text(f"{number}\n")
    return kernel.run(
        "import json, pybuild_magic\n"
        f"_ = pybuild_magic.build('FROM scratch\\nCOPY . /\\n', {str(context)!r}, progress='none', tags='page',\n"
        f"    outputs=['type=image', 'type=local,dest={context}-out'])\n"
        "print(json.dumps(_.explore().summary))"
    )


def _tree(count: int) -> str:
    """Return the document of a build that exported more files than a notebook keeps."""
    output = {"type": "local", "dest": "out", "files": [{"path": "usr", "type": "5", "mode": 0o755}]}
    counts = {"file_count": count, "file_bytes": count, "more_files": count}
    return json.dumps(json.loads(RECORDED) | {"fetch": "page", "outputs": [output | counts]})


def _answers(count: int) -> Iterator[str]:
    """Yield the kernel's answers about the entries."""
    for begin in range(0, count, _ANSWER):
        entries = [("A", _entry(number)) for number in range(begin, min(count, begin + _ANSWER))]
        yield json.dumps({"columns": columns_of(entries), "total": count})


def _entry(number: int) -> Entry:
    """Return an entry: every hundredth is a directory, and the entries after it are in it."""
    package = f"usr/lib/python3/site-packages/package{number // 100:03}"
    if number % 100 == 0:
        return Entry(package, DIR, 0o755)
    return Entry(f"{package}/module{number}.py", mode=0o644, size=number)
