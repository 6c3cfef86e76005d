"""The layers of an image with their indexes from the store, and their instructions from its history."""

from __future__ import annotations

from collections.abc import Iterator

from ...builders import embedded_builder
from ...display.markup import Markup, join, tag
from ...display.parts import ROOT, scrolled, style
from ...display.terminal import visible
from ...display.words import human_bytes, plural
from ...results.opening import stored_image
from ...summary import ManifestSummary
from .covering import SlimLayer
from .dockerfile import origins
from .savings import Saving, Savings, find_savings

_SHOWN = 20
_FLAGS = (
    "The store does not remember this build, and an image does not tell --mount, --network, --from and --link of its "
    "steps: keep those that yours have."
)


class ShownSavings(Savings, frozen=True, kw_only=True):
    """The possible savings in an image, which display themselves in a terminal and in a notebook."""

    name: str = ""

    def __repr__(self) -> str:
        return "\n".join(map(visible, _lines(self)))

    def _repr_html_(self) -> str:
        return str(_page(self))


def slim(ref: str, platform: str = "") -> ShownSavings:
    """Return the possible savings in the store's image `ref`, using only the indexes of its layers.

    Raises StoreError for a missing image, UsageError for a platform that it lacks.
    """
    builder = embedded_builder()
    store = builder.store
    contents = stored_image(store, ref)
    manifest = contents.manifest(platform)
    with store.lease():
        diff_ids = contents.tree(manifest).diff_ids  # this fetches missing layers
        steps, silent = instructions(manifest), between_layers(manifest)
        known = origins(builder, contents.image.digest if contents.image else "", manifest)
        layers = [
            SlimLayer(
                steps[number],
                store.layer(diff_id).index.entries,
                silent[number],
                known.sources[number],
                known.of_base[number],
            )
            for number, diff_id in enumerate(diff_ids)
        ]
        savings = find_savings(layers)
    return ShownSavings(rows=savings.rows, total=savings.total, name=ref)


def instructions(manifest: ManifestSummary) -> list[str]:
    """Return the instruction of each layer, bottom first, from the history."""
    return [layer.created_by for layer in manifest.layers]


def between_layers(manifest: ManifestSummary) -> list[tuple[str, ...]]:
    """Return, for each layer, the instructions of the history since the layer below; none if there is no history."""
    silent: list[tuple[str, ...]] = []
    since: list[str] = []
    for entry in manifest.history:
        since.append(entry.created_by)
        if not entry.empty_layer:
            silent.append(tuple(since[:-1]))
            since = []
    return silent if len(silent) == len(manifest.layers) else [()] * len(manifest.layers)


def _lines(savings: ShownSavings) -> Iterator[str]:
    yield headline(savings)
    for row in savings.rows[:_SHOWN]:
        yield ""
        yield f"{human_bytes(row.size):>10}  {row.what} ({plural(row.files, 'file')})"
        if row.note:
            yield f"{'':12}{row.note}"
        if row.step:
            yield f"{'':12}made by  {_short(row.step)}"
        first, *more = row.line.split("\n")  # of a here-document, which is pasted as it is
        yield f"{'':12}instead  {first}"
        yield from more
        for place, size in row.examples:
            yield f"{'':12}{human_bytes(size):>10}  {place}"
    if len(savings.rows) > _SHOWN:
        yield ""
        yield f"… {len(savings.rows) - _SHOWN} more"
    if _has_steps(savings):
        yield ""
        yield _FLAGS


def headline(savings: ShownSavings) -> str:
    """Return the total: `app:latest: 210 MB of 885 MB could be saved, in 6 places`."""
    if not savings.rows:
        return f"{savings.name}: nothing significant can be saved in {human_bytes(savings.total)} of files"
    share = f"{human_bytes(savings.size)} of {human_bytes(savings.total)} of files could be saved"
    return f"{savings.name}: {share}, in {plural(len(savings.rows), 'place')}"


def _page(savings: ShownSavings) -> Markup:
    head = tag.p(tag.strong(headline(savings)), cls="pb-head")
    titles = tag.tr(*(tag.th(title, scope="col") for title in ("Saves", "What", "Instead, in the Dockerfile")))
    rows = (_row(row) for row in savings.rows[:_SHOWN])
    table = scrolled(tag.table(tag.thead(titles), tag.tbody(*rows)), "Savings") if savings.rows else None
    rest = tag.p(f"{len(savings.rows) - _SHOWN} more.", cls="pb-note") if len(savings.rows) > _SHOWN else None
    flags = tag.p(_FLAGS, cls="pb-note") if _has_steps(savings) else None
    return join(style(), tag.div(head, table, rest, flags, cls=ROOT))


def _has_steps(savings: ShownSavings) -> bool:
    """Return whether a shown line is made of a step that only the image's history tells."""
    lines = (row.line for row in savings.rows[:_SHOWN] if not row.is_known)
    return any(line.startswith(("RUN", "COPY", "ADD")) for line in lines)


def _row(row: Saving) -> Markup:
    where = ", ".join(f"{place} {human_bytes(size)}" for place, size in row.examples)
    description = [tag.strong(row.what), tag.div(f"{plural(row.files, 'file')}: {where}", cls="pb-note")]
    if row.note:
        description.append(tag.div(row.note, cls="pb-note"))
    instead: list[Markup] = [tag.code(row.line, cls="pb-lines")]
    if row.step:
        instead.append(tag.div("made by ", tag.code(_short(row.step)), cls="pb-note"))
    return tag.tr(
        tag.td(human_bytes(row.size), cls="pb-num"),
        tag.td(*description, cls="pb-text"),
        tag.td(*instead, cls="pb-text"),
    )


def _short(step: str) -> str:
    return step if len(step) <= 120 else f"{step[:119]}…"
