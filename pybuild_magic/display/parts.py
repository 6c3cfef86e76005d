"""The parts of every static page: its style, foldable sections, scrolling tables, digests."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from .markup import Markup, tag
from .words import short_digest

ROOT = "pybuild mathjax_ignore tex2jax_ignore"
"""The class of every element, which keeps Jupyter from typesetting `$x$` in a shell command as a formula."""
ICONS = {"done": "✓", "cached": "✓", "error": "✕", "canceled": "■", "waiting": "–"}
"""The sign for each final state of a step; one still waiting at the end did not run."""
ENDINGS = {"cached": "CACHED", "error": "ERROR", "canceled": "CANCELED", "waiting": "not run"}
"""The words that replace a step's duration."""


@cache
def style() -> Markup:
    """Return the style sheet, as an element to precede what it styles."""
    css = files(__package__ or "").joinpath("html.css").read_text("utf-8")
    lines = (line.strip() for line in css.partition("*/")[2].splitlines())
    return Markup(f"<style>{''.join(lines)}</style>")


def short(digest: str) -> Markup:
    """Return a digest in the twelve digits that people read, with all of it on hover."""
    return tag.code(short_digest(digest), title=digest)


def section(title: str, note: str, *body: Markup | None, is_open: bool = False) -> Markup:
    """Return a foldable section with a title and a short note."""
    head = tag.summary(tag.strong(title), " ", tag.span(note, cls="pb-note"))
    return tag.details(head, *body, open=is_open)


def scrolled(table: Markup, label: str) -> Markup:
    """Return a table that scrolls on narrow pages, by keyboard too."""
    return tag.div(table, cls="pb-scroll", tabindex="0", role="group", aria_label=label)


def table(label: str, titles: tuple[str, ...], rows: list[Markup]) -> Markup:
    """Return rows under titles; without titles, the first cell of each row is a heading."""
    head = tag.thead(tag.tr(*(tag.th(title, scope="col", align="left") for title in titles))) if titles else None
    return scrolled(tag.table(head, tag.tbody(*rows), aria_label=label), label)


def bar(left: float, width: float) -> Markup:
    """Return a bar that begins at `left`, both in percent: drawn by the style sheet, or of block characters without
    one.
    """
    first = min(_BLOCKS - 1, int(left * _BLOCKS / 100))
    count = max(1, round(width * _BLOCKS / 100)) if width else 0
    letters = "░" * first + "█" * count
    block = tag.div(style=f"margin-left:{left:.1f}%;width:{width:.1f}%")
    return tag.div(tag.span(f"{letters:░<{_BLOCKS}}"[:_BLOCKS], cls="pb-apart"), block, aria_hidden="true")


_BLOCKS = 10


def text_block(content: str, label: str) -> Markup:
    """Return preformatted text, which scrolls when it is long."""
    return tag.pre(content, tabindex="0", role="group", aria_label=label)
