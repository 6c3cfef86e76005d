"""HTML is made of escaped text alone, whatever a build puts into any field."""

from __future__ import annotations

import types
import typing
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from pybuild_magic.display import fold, html, mime_bundle, text
from pybuild_magic.display.markup import Markup, join, tag
from pybuild_magic.display.table import Document, Table
from pybuild_magic.errors import RunError, SourceRange
from pybuild_magic.results.bounds import bound
from pybuild_magic.status.messages import SolveStatus, Vertex, VertexLog, now
from pybuild_magic.status.trace import Trace
from pybuild_magic.summary import Summary

HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script></style></pre>&lt;\x1b[31m\x00\u202egnp.exe"

TAGS = {
    *("style", "div", "p", "span", "strong", "code", "pre", "mark", "details", "summary", "a"),
    *("table", "thead", "tbody", "tr", "th", "td", "ul", "li", "i"),
}


class Page(HTMLParser):
    """The elements, attributes and text of a page, as a browser's parser finds them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(name)
        self.open.append(name)
        for key, value in attrs:
            self.attributes.add(key)
            if key in ("href", "src"):
                self.links.add(value or "")

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def poison(kind: Any) -> Any:
    """A value of the type in which every text is hostile."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is str or kind is Any:
        return HOSTILE
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: poison(hints[field.name]) for field in msgspec.structs.fields(kind)})
    if origin is tuple:
        return (poison(arguments[0]),)
    if origin is dict:
        return {HOSTILE: poison(arguments[1])}
    if origin in (typing.Union, types.UnionType):
        return poison(arguments[0])
    return {int: 7, float: 1.5, bool: True}[kind] if kind in (int, float, bool) else now()


def poisoned_summary() -> Summary:
    summary = poison(Summary)
    config = {
        "config": {
            "Env": [HOSTILE],
            "Entrypoint": [HOSTILE],
            "Cmd": [HOSTILE],
            "Labels": {HOSTILE: HOSTILE},
            "Volumes": {HOSTILE: {}},
            "User": HOSTILE,
        },
        "created": HOSTILE,
    }
    manifest = msgspec.structs.replace(summary.image.manifests[0], config=config)
    image = msgspec.structs.replace(summary.image, manifests=(manifest,), names=(f"example.com/{HOSTILE}",))
    outputs = tuple(
        msgspec.structs.replace(output, names=(HOSTILE,), dest=dest)
        for output in summary.outputs
        for dest in (HOSTILE, "")
    )
    return msgspec.structs.replace(summary, image=image, outputs=outputs)


def poisoned_trace() -> Trace:
    trace = Trace()
    started = now()
    failed = Vertex("sha256:1", HOSTILE, started=started, completed=started, error=HOSTILE)
    trace.update(SolveStatus(vertexes=(failed,), logs=(VertexLog("sha256:1", 1, HOSTILE.encode() + b"\n"),)))
    trace.flush()
    return trace


def pages() -> dict[str, str]:
    error = RunError(HOSTILE, 1, location=SourceRange(HOSTILE, 1, 1, HOSTILE), hint=HOSTILE, logs=[HOSTILE])
    summary = poisoned_summary()
    return {
        "result": str(html.render(summary, {0: HOSTILE})),
        "image": str(html.render_image(summary.image)),
        "fold": str(fold.render(poisoned_trace(), error)),
        "table": Table((HOSTILE,), ((HOSTILE,),), HOSTILE)._repr_html_(),
        "document": Document(((HOSTILE, HOSTILE),))._repr_html_(),
    }


@pytest.mark.parametrize("name", ["result", "image", "fold", "table", "document"])
def test_hostile_strings_in_every_field_stay_text(name: str) -> None:
    page = Page(pages()[name])
    assert page.tags <= TAGS
    assert page.attributes <= {
        *("class", "title", "scope", "open", "style", "tabindex", "href", "target", "rel"),
        *("aria-label", "aria-hidden", "role", "data-pybuild-download", "align", "data-lm-suppress-shortcuts"),
    }
    assert page.links <= {""}, "a link of a build's own must not be followed"
    assert page.open == []
    assert "<script>alert(2)</script>" in page.text
    assert not set(page.text) & set("\x00\x1b\u202e"), "nothing may mislead the eye or a terminal"


def test_the_page_says_every_text_that_the_summary_has() -> None:
    """What the test above looks for is really there: each hostile field shows up in the page."""
    assert pages()["result"].count("&lt;script&gt;") > 30


def test_text_is_free_of_control_characters() -> None:
    shown = text.render(poisoned_summary()) + repr(Table((HOSTILE,), ((HOSTILE,),)))
    assert "\x1b" not in text.render(poisoned_summary())
    assert "alert(2)" in shown


def test_a_warnings_link_is_one_to_the_web_or_none() -> None:
    summary = poisoned_summary()
    for url, links in (
        ("javascript:alert(1)", set()),
        ("https://docs.example/x?a=1&b", {"https://docs.example/x?a=1&b"}),
    ):
        warning = msgspec.structs.replace(summary.warnings[0], url=url)
        page = Page(str(html.render(msgspec.structs.replace(summary, warnings=(warning,)))))
        assert page.links == links


def test_commands_with_dollars_are_no_formulas() -> None:
    """JupyterLab typesets `$…$` in HTML, but not within an element of this class."""
    for page in pages().values():
        assert "mathjax_ignore" in page


def test_markup_is_escaped_once() -> None:
    inner = tag.b("<&>")
    assert inner == "<b>&lt;&amp;&gt;</b>"
    assert tag.p(inner, "<") == "<p><b>&lt;&amp;&gt;</b>&lt;</p>"
    assert join("<", Markup("<br>"), None, separator=",") == "&lt;,<br>"
    assert tag.td("x", title='"', hidden=False, open=True) == '<td title="&quot;" open>x</td>'


def test_readable_characters_beyond_ascii_are_kept() -> None:
    kept = "naïve 日本語 \N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}👩\u200d💻\t\n"
    assert join(kept) == kept


def test_the_bundle_has_data_html_and_text() -> None:
    summary = poisoned_summary()
    bundle = mime_bundle(summary)
    assert sorted(bundle) == ["application/vnd.pybuild.result.v1+json", "text/html", "text/plain"]
    data = bundle["application/vnd.pybuild.result.v1+json"]
    assert msgspec.convert(data, Summary) == bound(summary)
