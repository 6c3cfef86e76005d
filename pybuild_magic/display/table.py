"""A table that displays itself in a notebook and in a terminal: the answer of most commands of `%build`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from .console import terminal_width
from .markup import Markup, join, tag
from .parts import ROOT, scrolled, section, style
from .terminal import visible, visible_lines

_LONG = 24
"""The number of characters from which a cell is wrapped instead of widening the table."""
_NARROW = 12
"""The width to which a terminal's column is cut at most, so that its cells can still be told apart."""


class Table(msgspec.Struct, frozen=True):
    """Rows of text under column titles; `note` is one line below them, or stands alone where there are no rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    numbers: frozenset[str] = frozenset()
    """The right-aligned columns."""
    opens: tuple[str, ...] = ()
    """For each row what a page with a kernel opens for it, such as `image NAME` or `build REF`; "" for nothing."""
    whole: tuple[str, ...] = ()
    """For each row all that is known of it, to which its last cell unfolds."""

    def __repr__(self) -> str:
        return self.text()

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(self.text(terminal_width()))

    def text(self, room: int = 0) -> str:
        """Return the table as text, at most `room` characters wide unless that is 0."""
        if not self.rows and self.note:
            return visible_lines(self.note)
        rows = [self.columns, *(tuple(visible(cell) for cell in row) for row in self.rows)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        fits = self._narrow(widths, room) if room else True
        lines = [self._line(row, widths) for row in rows] if fits else [*self._stacked(rows, room)]
        return "\n".join([*lines, visible_lines(self.note)] if self.note else lines)

    def _narrow(self, widths: list[int], room: int) -> bool:
        """Make the widest columns of text narrower; return whether the table then fits."""
        text = [i for i, title in enumerate(self.columns) if title not in self.numbers]
        while (over := sum(widths) + 2 * (len(widths) - 1) - room) > 0:
            widest = max(text, key=lambda i: widths[i], default=0)
            if not text or widths[widest] <= _NARROW:
                return False
            widths[widest] = max(_NARROW, widths[widest] - over)
        return True

    def _stacked(self, rows: Sequence[Sequence[str]], room: int) -> Iterator[str]:
        """Yield the cells of each row below one another."""
        titles = max(map(len, self.columns))
        for row in rows[1:]:
            yield _cut(row[0], room)
            for title, cell in [*zip(self.columns, row, strict=True)][1:]:
                if cell:
                    yield _cut(f"  {title:<{titles}}  {cell}", room)

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        cells = (
            cell.rjust(width) if title in self.numbers else _cut(cell, width).ljust(width)
            for cell, width, title in zip(row, widths, self.columns, strict=True)
        )
        return "  ".join(cells).rstrip()

    def table(self) -> Markup:
        """Return the table alone, as part of a page."""
        head = tag.tr(*(self._cell(title, title, "th") for title in self.columns))
        rows = (tag.tr(*self._cells(number)) for number in range(len(self.rows)))
        return scrolled(tag.table(tag.thead(head), tag.tbody(*rows)), "Table")

    def _cells(self, number: int) -> list[Markup]:
        """Return the cells of a row, of which the first names it."""
        row = self.rows[number]
        cells = [self._cell(cell, title, "td") for cell, title in zip(row, self.columns, strict=True)]
        if target := self.opens[number] if self.opens else "":
            # JupyterLab's extension turns it into a button; elsewhere it is text.
            cells[0] = tag.td(tag.span(row[0], data_pybuild_open=target), cls="pb-text")
        if self.whole:
            more = tag.details(tag.summary(row[-1] or "More"), tag.div(self.whole[number], cls="pb-note"))
            cells[-1] = tag.td(more, cls="pb-text")
        return cells

    def html(self) -> str:
        """Return a page with just the table."""
        table = self.table() if self.rows or not self.note else None
        return str(join(style(), tag.div(table, tag.p(self.note, cls="pb-note") if self.note else None, cls=ROOT)))

    def _repr_html_(self) -> str:
        return self.html()

    def _cell(self, cell: str, title: str, name: str) -> Markup:
        kind = "pb-num" if title in self.numbers else "pb-text pb-long" if len(cell) > _LONG else None
        return tag.th(cell, cls=kind, scope="col") if name == "th" else tag.td(cell, cls=kind)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


class Groups(msgspec.Struct, frozen=True):
    """Tables in foldable sections, with a line above all of them; in a terminal they are printed one below another."""

    head: str
    groups: tuple[tuple[str, Table], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles of the columns, which all tables share."""
        return self.groups[0][1].columns if self.groups else ()

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The rows of all tables."""
        return tuple(row for _, table in self.groups for row in table.rows)

    def __repr__(self) -> str:
        return self.text()

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(self.text(terminal_width()))

    def text(self, room: int = 0) -> str:
        """Return the tables as text, at most `room` characters wide unless that is 0."""
        parts = [f"{visible_lines(title)}\n{table.text(room)}" for title, table in self.groups]
        return "\n\n".join([visible_lines(self.head), *parts])

    def _repr_html_(self) -> str:
        titles = (title.partition(": ") for title, _ in self.groups)
        tables = (table.table() for _, table in self.groups)
        parts = (section(name, note, body) for (name, _, note), body in zip(titles, tables, strict=True))
        head = tag.p(tag.strong(self.head), cls="pb-head")
        return str(join(style(), tag.div(head, *parts, cls=ROOT)))


class Document(msgspec.Struct, frozen=True):
    """Preformatted texts, such as JSON or a command line, each with its title ("" for none)."""

    parts: tuple[tuple[str, str], ...]
    exit_code: int = 0
    """Of a command that prints it."""
    verbatim: bool = False
    """Whether a program may want every byte, such as those of a manifest, which have a digest."""

    def __repr__(self) -> str:
        return visible_lines("\n\n".join(f"{title}\n{text}" if title else text for title, text in self.parts))

    def _repr_html_(self) -> str:
        parts = (
            join(tag.p(tag.strong(title)) if title else None, tag.pre(text, cls="pb-whole"))
            for title, text in self.parts
        )
        return str(join(style(), tag.div(*parts, cls=ROOT)))
