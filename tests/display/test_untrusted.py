"""What a page says when its styles and scripts are taken away, as viewers do with notebooks that are not trusted."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic.display import fold

from .test_fold import trace

DOCKERFILE = "FROM scratch AS one\nCOPY src /src\nFROM scratch\nCOPY --from=one /src /app\nCOPY src/main.py /x.py\n"
CONTEXT = {"src/main.py": "print()", "src/data/a.csv": "1,2\n" * 400}


class Text(HTMLParser):
    """The text of a page without its styles; blocks and cells are lines, as a browser has them."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_style = tag == "style"
        self.text += "\n" if tag in ("div", "li", "p", "tr", "td", "th", "summary", "pre", "details") else ""

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self.in_style else data


def text_of(page: str) -> list[str]:
    reader = Text()
    reader.feed(page)
    return [line.strip() for line in reader.text.splitlines() if line.strip()]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    result = pybuild_magic.build(DOCKERFILE, CONTEXT, outputs=f"type=oci,dest={tmp_path}/o.tar", progress="none")
    return result._repr_mimebundle_()["text/html"]


def test_the_columns_of_steps_stay_apart() -> None:
    lines = text_of(str(fold.render(trace(cached=True), None)))
    assert "✓ 1/1 RUN two · CACHED" in lines


def test_shares_are_seen_and_titles_stand_over_their_columns(page: str) -> None:
    assert any(re.fullmatch(r"█+░*", line) for line in text_of(page))
    assert not re.search(r"<th (?![^>]*align=\"left\")", page)
