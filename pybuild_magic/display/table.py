"""A table that displays itself in a notebook and in a terminal: what the commands of `%build` answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .html import style
from .markup import join, tag


class Table(msgspec.Struct, frozen=True):
    """Rows of text under column titles; `note` is one line below them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    numbers: frozenset[str] = frozenset()
    """Columns that are set flush right."""

    def __repr__(self) -> str:
        widths = [max(len(row[i]) for row in (self.columns, *self.rows)) for i in range(len(self.columns))]
        lines = [self._line(row, widths) for row in (self.columns, *self.rows)]
        return "\n".join([*lines, self.note] if self.note else lines)

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        cells = (
            cell.rjust(width) if title in self.numbers else cell.ljust(width)
            for cell, width, title in zip(row, widths, self.columns, strict=True)
        )
        return "  ".join(cells).rstrip()

    def _repr_html_(self) -> str:
        head = tag.tr(*(tag.th(title, scope="col") for title in self.columns))
        rows = (
            tag.tr(
                *(
                    tag.td(cell, cls="pb-num" if title in self.numbers else None)
                    for cell, title in zip(row, self.columns, strict=True)
                )
            )
            for row in self.rows
        )
        table = tag.div(tag.table(tag.thead(head), tag.tbody(*rows)), cls="pb-scroll")
        return str(join(style(), tag.div(table, tag.p(self.note, cls="pb-note") if self.note else None, cls="pybuild")))


class Document(msgspec.Struct, frozen=True):
    """Text in its own layout, such as JSON or a command line; `title` goes above it."""

    text: str
    title: str = ""

    def __repr__(self) -> str:
        return f"{self.title}\n{self.text}" if self.title else self.text

    def _repr_html_(self) -> str:
        title = tag.p(tag.strong(self.title)) if self.title else None
        return str(join(style(), tag.div(title, tag.pre(self.text), cls="pybuild")))
