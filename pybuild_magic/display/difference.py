"""Two images compared, as text and as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest

import msgspec

from ..results.difference import Difference
from ..results.growth import growth_of
from .markup import Markup, join, tag
from .parts import ROOT, section, style, table
from .terminal import visible
from .tree import DIR
from .words import human_bytes, plural

_SHOWN = 300
"""The number of rows of files in a comparison, those whose size changed the most; others are counted."""
_FEW = 30
"""Up to so many files, each has a row, the list is open, and it tells as much as the places do."""
_PLACES = 20
"""The number of places whose growth is shown."""
_KINDS = {"A": "added", "M": "changed", "D": "removed"}


class _Row(msgspec.Struct, frozen=True):
    """A path that differs, or a directory with all that is in it, which ends in a slash."""

    kind: str
    size: int
    """Bytes by which it grew."""
    path: str
    paths: int = 1
    """How many paths it stands for."""


class ShownDifference(Difference, frozen=True, kw_only=True):
    """A difference that displays itself, in a terminal and in a notebook."""

    def __repr__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return str(render(self))


def shown(difference: Difference) -> ShownDifference:
    """Return the difference as one that displays itself."""
    return ShownDifference(**{name: getattr(difference, name) for name in difference.__struct_fields__})


def text(difference: Difference) -> str:
    """Return a line for each difference, and the totals."""
    return "\n".join(visible(line) for line in _lines(difference))


def _lines(difference: Difference) -> Iterator[str]:
    yield summary_line(difference)
    for change in difference.config:
        yield f"  {change.key}: {_cell(change.before)} → {_cell(change.after)}"
    rows = _rows(difference)
    for row in _shown_rows(rows):
        rest = f" ({plural(row.paths, 'path')})" if row.paths > 1 else ""
        yield f"  {row.kind} {signed(row.size):>10}  {row.path}{rest}"
    if len(rows) > _SHOWN:
        yield f"  … {len(rows) - _SHOWN:,} more"
    if len(difference.files) > _FEW:
        yield "By size:"
        for place in growth_of(difference.files)[:_PLACES]:
            yield f"  {signed(place.size):>12}  {place.place} ({plural(place.files, 'path')})"


def summary_line(difference: Difference) -> str:
    """Return the sum: `Files: 3 added, 1 changed, 0 removed; 2 of 5 layers shared; 1.20 MB → 900 kB`."""
    counts = {kind: sum(change.kind == kind for change in difference.files) for kind in _KINDS}
    files = ", ".join(f"{count:,} {_KINDS[kind]}" for kind, count in counts.items())
    shared = f"{difference.shared_layers} of {plural(difference.layers_after, 'layer')} shared"
    return f"Files: {files}; {shared}; {human_bytes(difference.size_before)} → {human_bytes(difference.size_after)}"


def render(difference: Difference) -> Markup:
    """Return a page with the totals, the config and the files, as tables."""
    head = tag.p(tag.strong(summary_line(difference)), cls="pb-head")
    parts: list[Markup] = []
    if difference.config:
        rows = (
            tag.tr(
                tag.th(change.key, scope="row", align="left", cls="pb-text"),
                tag.td(tag.code(_cell(change.before)), cls="pb-text"),
                tag.td(tag.code(_cell(change.after)), cls="pb-text"),
            )
            for change in difference.config[:_SHOWN]
        )
        body = table("Config", ("Value", "Before", "After"), list(rows))
        parts.append(section("Config", plural(len(difference.config), "difference"), body, is_open=True))
    if difference.files:
        found = _rows(difference)
        rows = (
            tag.tr(
                tag.td(_KINDS[row.kind], cls=f"pb-{_KINDS[row.kind]}"),
                tag.td(signed(row.size), cls="pb-num"),
                tag.td(
                    tag.code(row.path),
                    tag.span(f" {plural(row.paths, 'path')}", cls="pb-note") if row.paths > 1 else None,
                    cls="pb-text",
                ),
            )
            for row in _shown_rows(found)
        )
        note = plural(len(difference.files), "path")
        if len(difference.files) > _FEW:
            parts.append(_growth(difference))
        if len(found) > _SHOWN:
            note += f", the {_SHOWN} shown are those whose size changed the most"
        body = table("Files", ("Change", "Bytes", "Path"), list(rows))
        parts.append(section("Files", note, body, is_open=len(found) <= _FEW))
    if not parts:
        parts.append(tag.p("The images have the same files and the same config."))
    return join(style(), tag.div(head, *parts, cls=ROOT))


def _growth(difference: Difference) -> Markup:
    places = growth_of(difference.files)
    rows = [
        tag.tr(
            tag.td(signed(place.size), cls="pb-num"),
            tag.td(tag.code(place.place), " ", tag.span(plural(place.files, "path"), cls="pb-note"), cls="pb-text"),
        )
        for place in places[:_PLACES]
    ]
    note = plural(len(places), "place")
    if len(places) > _PLACES:
        note += f", the {_PLACES} that changed the most shown"
    return section("Size", note, table("Size by package or directory", ("Bytes", "Place"), rows), is_open=True)


def _rows(difference: Difference) -> list[_Row]:
    """Return a row for each path; where these are many, one for all of a directory that was added or removed."""
    rows: list[_Row] = []
    for change in difference.files:
        before, after = change.sizes
        size, path = after - before, f"/{change.file.path}"
        last = rows[-1] if rows else None
        if last is not None and last.path.endswith("/") and path.startswith(last.path) and change.kind == last.kind:
            rows[-1] = _Row(last.kind, last.size + size, last.path, last.paths + 1)
            continue
        is_whole = len(difference.files) > _FEW and change.file.type == DIR and change.kind != "M"
        rows.append(_Row(change.kind, size, f"{path}/" if is_whole else path))
    return rows


def _shown_rows(rows: list[_Row]) -> list[_Row]:
    """Return the rows to show: all in the order of their paths, or of many those whose size changed the most."""
    return rows if len(rows) <= _SHOWN else nsmallest(_SHOWN, rows, key=lambda row: (-abs(row.size), row.path))


def _cell(value: str | None) -> str:
    return "(none)" if value is None else value[:500] or '""'


def signed(growth: int) -> str:
    """Return bytes with a sign; "" for none."""
    return f"{'−' if growth < 0 else '+'}{human_bytes(abs(growth))}" if growth else ""
