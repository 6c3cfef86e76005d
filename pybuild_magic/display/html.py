"""A finished build as self-contained HTML: no scripts, no network, readable wherever a notebook is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..results.bounds import LEVELS, bound_to
from ..results.owners import Owners
from ..results.summarise import file_summary
from ..results.trees import REST, ImageFiles, heaviest
from ..summary import FileSummary, ImageSummary, LayerSummary, ManifestSummary, OutputSummary, Summary, WarningSummary
from .attestations import attested_section
from .fold import fold_style
from .image_page import config_section, config_table, image_section, layers_section, layers_table
from .markup import Markup, join, tag, text
from .parts import ROOT, section, short, style
from .steps_page import graph_section, request_section, timeline_section
from .tree import DIR, SYMLINK, TreeNode, grow, mode_string
from .words import familiar, human_bytes, left_out, place, plural

LIMIT = 76_000
"""The most bytes of a page; together with the document, a build takes less than 200 kB of a notebook."""
_OPEN_ENTRIES = 12
"""A tree with at most so many entries is shown open."""
ENTRY = 170
"""Bytes that a line of a tree takes at least."""
_LISTED = 500
"""The number of entries of a tree shown on a page for itself."""

_TREES = 60_000
"""The most entries of an image whose files a page shows if the cell asks for them with `--view files`."""
_SMALL = 60
"""The most entries of an image whose files every page shows."""

_PLACE = Markup("<hr>")
"""Where a page is taken apart."""

Downloads = Mapping[int, str]
"""By the index of an output, the token with which the kernel serves its bytes."""


def trees_of(summary: Summary) -> int:
    """Return the most entries that an image may have for a page of this result to show its files."""
    return _TREES if summary.view == "files" else _SMALL


def render(
    summary: Summary,
    downloads: Downloads | None = None,
    steps: Markup | None = None,
    trees: Sequence[ImageFiles] = (),
) -> Markup:
    """Return the whole result: its name, its size, its destination, its contents, and how it was made.

    `steps` replace the timeline, and have logs. Of the `trees` of an image, the largest directories that fit are shown.
    """
    page = _Page(Markup(""))
    for level in range(LEVELS):
        bounded = bound_to(summary, level)
        if level < LEVELS - 1 and ENTRY * sum(len(output.files) for output in bounded.outputs) > LIMIT:
            continue  # it is not worth writing, to find that it is too long
        page = _page(bounded, downloads or {}, steps, has_trees=any(tree.entries for tree in trees))
        if (room := page.room()) >= 0:
            return page.with_files(_files_that_fit(trees, room))
    return page.with_files()


def _files_that_fit(trees: Sequence[ImageFiles], room: int) -> list[Markup | None]:
    """Return sections with as many entries of the trees as fit into `room` bytes; [] if none fit."""
    total = sum(len(tree.entries) for tree in trees)
    most = min(total, room // ENTRY) if total else 0
    while most >= len(trees) > 0:
        sections = [_image_files(tree, most * len(tree.entries) // total, len(trees) > 1) for tree in trees]
        size = len(join(*sections).encode()) + len("<details open>") * len(trees)
        if size <= room:
            return sections
        most = min(most - 1, most * room // size * 19 // 20)
    return []


class _Page(msgspec.Struct, frozen=True):
    """A page with a place for the files of an image."""

    before: Markup
    """The beginning, up to the place."""
    after: Markup = Markup("")
    opens_files: bool | None = None
    """Whether the files are open, as the cell wants it; None if they decide it themselves."""

    def room(self) -> int:
        """Return the bytes that are left for the files."""
        return LIMIT - len(self.before.encode()) - len(self.after.encode())

    def with_files(self, sections: Sequence[Markup | None] = ()) -> Markup:
        """Return the whole page."""
        if self.opens_files is not None:
            sections = [_opened(part, self.opens_files) for part in sections]
        return join(self.before, *sections, self.after)


def _page(summary: Summary, downloads: Downloads, steps: Markup | None, *, has_trees: bool) -> _Page:
    parts: list[Markup | None] = [_headline(summary)]
    parts += [_warning(warning) for warning in summary.warnings]
    parts += [
        _output(output, summary.driver, downloads.get(index, ""), index)
        for index, output in enumerate(summary.outputs)
        if output.dest or output.names
    ]
    image = summary.image
    manifests = image.manifests if image else ()
    several = len(manifests) > 1
    sections: list[tuple[str, Sequence[Markup | None]]] = [
        ("image", [image_section(image)] if image else []),
        ("layers", [layers_section(manifest, several) for manifest in manifests]),
        ("files", [_files(output) for output in summary.outputs if output.files]),
        ("config", [config_section(manifest, several) for manifest in manifests]),
        ("attestations", [attested_section(attested, len(summary.attested) > 1) for attested in summary.attested]),
        ("steps logs timeline", [steps or timeline_section(summary)]),
        ("graph", [graph_section(summary)]),
        ("request", [request_section(summary)]),
    ]
    wants_files = summary.view == "files"
    has_content = (wants_files and has_trees) or any(
        summary.view in names.split() and any(some) for names, some in sections
    )
    before = 0
    for names, some in sections:
        # The cell chooses the open section; without a choice, or if it does not exist, that is the image.
        parts += [_opened(part, summary.view in names.split()) for part in some] if has_content else some
        before = len(parts) if names == "files" else before
    rest = left_out(summary.omitted)
    parts.append(tag.p(rest, cls="pb-note") if rest else None)
    opening, _, closing = tag.div(_PLACE, cls=f"{ROOT} pb-fold" if steps else ROOT).partition(_PLACE)
    return _Page(
        join(fold_style() if steps else style(), Markup(opening), *parts[:before]),
        join(*parts[before:], Markup(closing)),
        wants_files if has_content else None,
    )


def render_image(image: ImageSummary) -> Markup:
    """Return an image alone: its names, its documents and layers in a table, and its config."""
    head = tag.p(
        tag.strong(familiar(image.names) or short(image.digest)),
        tag.span(" · ", human_bytes(image.total_size), cls="pb-fact"),
        cls="pb-head",
    )
    several = len(image.manifests) > 1
    parts: list[Markup | None] = [head, image_section(image)]
    parts += [layers_section(manifest, several) for manifest in image.manifests]
    parts += [config_section(manifest, several) for manifest in image.manifests]
    return join(style(), tag.div(*parts, cls=ROOT))


def render_layers(layers: Sequence[LayerSummary], manifest: ManifestSummary | None) -> Markup:
    """Return the layers of an image alone."""
    size = sum(layer.size for layer in layers)
    whole = layers_section(manifest, several=False) if manifest else None
    facts = tag.span(" · ", human_bytes(size), cls="pb-fact")
    head = tag.p(tag.strong(plural(len(layers), "layer")), facts, cls="pb-head")
    body = layers_table(layers, "Layers") if whole is None else None
    return join(style(), tag.div(head, body, _opened(whole), cls=ROOT))


def _opened(part: Markup | None, is_open: bool = True) -> Markup | None:
    """Return a section as open, for a page with a single one, or closed."""
    if part is None:
        return None
    states = ("<details>", "<details open>") if is_open else ("<details open>", "<details>")
    return Markup(part.replace(*states, 1)) if part.startswith(states[0]) else part


def render_config(config: Mapping[str, Any]) -> Markup:
    """Return the config of an image alone."""
    platform = "/".join(str(config[key]) for key in ("os", "architecture", "variant") if config.get(key))
    return join(style(), tag.div(config_table(config, platform), cls=ROOT))


def render_files(files: Sequence[FileSummary]) -> Markup:
    """Return a tree alone; if it is large, the entries nearest to its root."""
    listed = files
    if len(files) > _LISTED:
        listed = sorted(files, key=lambda file: file.path.count("/"))[:_LISTED]
    regular = [file for file in files if file.type == "0"]
    output = OutputSummary(
        type="",
        files=tuple(listed),
        file_count=len(regular),
        file_bytes=sum(file.size for file in regular),
        more_files=len(files) - len(listed),
    )
    return join(style(), tag.div(_opened(_files(output)), cls=ROOT))


def _headline(summary: Summary) -> Markup:
    facts: list[Markup] = []
    if summary.image:
        platforms = ", ".join(manifest.platform for manifest in summary.image.manifests)
        facts = [text(human_bytes(summary.image.total_size)), text(platforms), short(summary.image.digest)]
    name = (familiar(summary.image.names) if summary.image else "") or summary.target
    tree = next((output for output in summary.outputs if output.files), None)
    if not name and tree:
        name, facts = plural(tree.file_count, "file"), [text(human_bytes(tree.file_bytes)), *facts]
    if not name:
        kinds = [place(output, summary.driver) for output in summary.outputs if output.type != "cacheonly"]
        name = ", ".join(kinds) if kinds else "Built into the cache; nothing was exported"
    return tag.p(tag.strong(name), *(tag.span(" · ", fact, cls="pb-fact") for fact in facts), cls="pb-head")


def _warning(warning: WarningSummary) -> Markup:
    details = (
        join(" ", tag.a("Learn more", href=warning.url, target="_blank", rel="noopener noreferrer"))
        if warning.url.startswith("https://")
        else None
    )
    return tag.p("⚠ ", tag.strong(warning.short), f" {warning.detail}", details, cls="pb-warn")


def _output(output: OutputSummary, driver: str, token: str, index: int) -> Markup:
    where: list[Markup | str] = [tag.strong(place(output, driver)), " "]
    if output.dest:
        # The path is text, next to which a page with a running kernel puts a button (see downloads.py).
        download = f"{token} output:{index}" if token else None
        where += [tag.code(output.dest, cls="pb-path", data_pybuild_download=download)]
        where += [" ", tag.span(human_bytes(output.size), cls="pb-note")]
    else:
        where.append(tag.code(familiar(output.names), cls="pb-path"))
    return tag.p(*where, cls="pb-out")


def _files(output: OutputSummary) -> Markup:
    note = f"{plural(output.file_count, 'file')}, {human_bytes(output.file_bytes)}"
    if output.more_files:
        note += f"; {output.more_files:,} more entries are not shown"
    small = len(output.files) <= _OPEN_ENTRIES and not output.more_files
    tree = _tree(grow(output.files), small, sizes=not output.more_files)
    return section("Files", note, tree, is_open=small)


def _image_files(image: ImageFiles, most: int, several: bool) -> Markup | None:
    """Return the files of an image, of which about `most` entries are listed; None if it has none."""
    if not image.entries:
        return None
    shown = heaviest(image.entries, most) if most < len(image.entries) else image.entries
    size = sum(entry.size for _, entry in image.entries)
    note = f"{plural(len(image.entries), 'entry')}, {human_bytes(size)}"
    if len(shown) < len(image.entries):
        note += "; the largest directories are listed, the others counted"
    title = f"Files of {image.platform}" if several else "Files of the image"
    root = grow(file_summary(entry) for _, entry in shown)
    return section(title, note, _tree(root, len(shown) <= _OPEN_ENTRIES, sizes=True, owners=image.owners))


def _tree(node: TreeNode, is_open: bool, sizes: bool, owners: Owners | None = None) -> Markup:
    def order(child: TreeNode) -> tuple[bool, str]:
        return (child.file.type != DIR, child.name)

    children = sorted(node.children.values(), key=order)
    return tag.ul(*(_entry(child, is_open, sizes, owners or Owners()) for child in children), cls="pb-tree")


def _entry(node: TreeNode, is_open: bool, sizes: bool, owners: Owners) -> Markup:
    """Return a line of a tree. With `sizes`, directories have one too, for which everything below them must be
    known.
    """
    file = node.file
    is_dir = file.type == DIR
    name = f"{node.name}/" if is_dir else f"{node.name} → {file.link}" if file.type == SYMLINK else node.name
    is_rest = file.type == REST
    counted = file.type in ("0", REST) or (is_dir and sizes)
    columns = (
        tag.span(name, cls="pb-dir" if is_dir else "pb-file"),
        " ",
        tag.span(human_bytes(node.size) if counted else "", cls="pb-num"),
        " ",
        tag.span("" if is_rest else mode_string(file), cls="pb-mode"),
        " ",
        tag.span("" if is_rest else owners.of(file), title="owner", cls="pb-owner"),
    )
    if not node.children:
        return tag.li(tag.div(*columns, cls="pb-entry"))
    head = tag.summary(*columns, cls="pb-entry")
    return tag.li(tag.details(head, _tree(node, is_open, sizes, owners), open=is_open))
