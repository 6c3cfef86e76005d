"""Two images compared, as text and as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nsmallest

from ..results.difference import Difference, FileChange
from ..results.growth import growth_of
from .markup import Markup, join, tag
from .parts import ROOT, section, style, table
from .terminal import visible
from .words import human_bytes, plural

_SHOWN = 300
"""The number of files in a comparison that are shown, those whose size changed the most; others are counted."""
_FEW = 30
"""Up to so many files, the list is open, and tells as much as the places do."""
_PLACES = 20
"""The number of places whose growth is shown."""
_KINDS = {"A": "added", "M": "changed", "D": "removed"}


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
        yield f"  {change.key}: {change.before or '(none)'} → {change.after or '(none)'}"
    for change in _shown_files(difference):
        yield f"  {change.kind} {_size(change):>10}  /{change.file.path}"
    if len(difference.files) > _SHOWN:
        yield f"  … {len(difference.files) - _SHOWN:,} more"
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
        rows = (
            tag.tr(
                tag.td(_KINDS[change.kind], cls=f"pb-{_KINDS[change.kind]}"),
                tag.td(_size(change), cls="pb-num"),
                tag.td(tag.code(f"/{change.file.path}"), cls="pb-text"),
            )
            for change in _shown_files(difference)
        )
        note = plural(len(difference.files), "path")
        if len(difference.files) > _FEW:
            parts.append(_growth(difference))
        if len(difference.files) > _SHOWN:
            note += f", the {_SHOWN} shown are those whose size changed the most"
        body = table("Files", ("Change", "Bytes", "Path"), list(rows))
        parts.append(section("Files", note, body, is_open=len(difference.files) <= _FEW))
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


def _shown_files(difference: Difference) -> list[FileChange]:
    """Return the files to show: all in the order of their paths, or of many those whose size changed the most."""
    if len(difference.files) <= _SHOWN:
        return list(difference.files)
    return nsmallest(_SHOWN, difference.files, key=lambda change: (-abs(_growth_of_file(change)), change.file.path))


def _growth_of_file(change: FileChange) -> int:
    before, after = change.sizes
    return after - before


def _cell(value: str | None) -> str:
    return "(none)" if value is None else value[:500]


def _size(change: FileChange) -> str:
    return signed(_growth_of_file(change))


def signed(growth: int) -> str:
    """Return bytes with a sign; "" for none."""
    return f"{'−' if growth < 0 else '+'}{human_bytes(abs(growth))}" if growth else ""
