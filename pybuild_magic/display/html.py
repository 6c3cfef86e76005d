"""A finished build as self-contained HTML: no script, no network, readable wherever a notebook is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, cast

from ..summary import ImageSummary, ManifestSummary, OutputSummary, Summary, VertexSummary, WarningSummary
from .markup import Markup, join, tag, text
from .tree import DIR, SYMLINK, TreeNode, grow, mode_string
from .words import INTERNAL, count_steps, familiar, human_bytes, plural, seconds, shorten

ROOT = "pybuild mathjax_ignore tex2jax_ignore"
"""The class of everything shown: `$x$` in a shell command is no formula to be typeset."""
ICONS = {"done": "✓", "cached": "✓", "error": "✕", "canceled": "■"}
"""The sign of each state that a step can end in."""
ENDINGS = {"cached": "CACHED", "error": "ERROR", "canceled": "CANCELED"}
"""What is said of a step in place of how long it took."""
_OPEN_ENTRIES = 12
"""A tree with at most so many entries is shown open."""

Downloads = Mapping[int, str]
"""By the index of an output: the token by which the kernel hands out its bytes."""


def render(summary: Summary, downloads: Downloads | None = None) -> Markup:
    """The whole result: what was made, how big it is, where it is, what is in it, and how it was made."""
    parts: list[Markup] = [_headline(summary)]
    parts += [_warning(warning) for warning in summary.warnings]
    parts += [
        _output(output, (downloads or {}).get(index, ""))
        for index, output in enumerate(summary.outputs)
        if output.dest or output.names
    ]
    parts += [_files(output) for output in summary.outputs if output.files]
    if summary.image:
        parts.append(_image(summary.image))
    parts.append(_steps(summary))
    parts.append(_request(summary))
    return join(style(), tag.div(*parts, cls=ROOT))


def render_image(image: ImageSummary) -> Markup:
    """An image alone: its names, its documents and layers in a table, and its config."""
    head = tag.p(tag.strong(familiar(image.names) or short(image.digest)), cls="pb-head")
    return join(style(), tag.div(head, _image(image), cls=ROOT))


@cache
def style() -> Markup:
    """The style sheet, as an element that goes before what it styles."""
    css = files(__package__ or "").joinpath("html.css").read_text("utf-8")
    lines = (line.strip() for line in css.partition("*/")[2].splitlines())
    return Markup(f"<style>{''.join(lines)}</style>")


def short(digest: str) -> Markup:
    """A digest in the twelve digits that people read, with all of it on hover."""
    return tag.code(digest.partition(":")[2][:12] or digest, title=digest)


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
        kinds = [output.type for output in summary.outputs if output.type != "cacheonly"]
        name = ", ".join(kinds) if kinds else "Built into the cache; nothing was exported"
    return tag.p(tag.strong(name), *(tag.span(" · ", fact, cls="pb-fact") for fact in facts), cls="pb-head")


def _warning(warning: WarningSummary) -> Markup:
    where = f" (line {warning.line})" if warning.line else ""
    more = (
        join(" ", tag.a("More about it", href=warning.url, target="_blank", rel="noopener noreferrer"))
        if warning.url.startswith("https://")
        else None
    )
    return tag.p("⚠ ", tag.strong(warning.short), where, f" {warning.detail}", more, cls="pb-warn")


def _section(title: str, note: str, *body: Markup, is_open: bool = False) -> Markup:
    head = tag.summary(tag.strong(title), " ", tag.span(note, cls="pb-note"))
    return tag.details(head, *body, open=is_open)


def _image(image: ImageSummary) -> Markup:
    rows: list[Markup] = []
    if image.is_index:
        rows.append(_row("index", 0, image.digest, image.media_type, image.size, ""))
    for manifest in image.manifests:
        rows += _manifest_rows(manifest, 1 if image.is_index else 0)
    titles = tag.tr(*(tag.th(title, scope="col") for title in ("", "Digest", "Media type", "Size", "Made by")))
    table = tag.table(tag.thead(titles), tag.tbody(*rows), aria_label="Manifests, configs and layers")
    count = sum(len(manifest.layers) for manifest in image.manifests)
    note = f"{plural(count, 'layer')}, {human_bytes(image.total_size)}"
    configs = (_config(manifest, len(image.manifests) > 1) for manifest in image.manifests)
    return join(_section("Image", note, tag.div(table, cls="pb-scroll"), is_open=True), *configs)


def _row(kind: str, depth: int, digest: str, media_type: str, size: int, note: str) -> Markup:
    return tag.tr(
        tag.th("\N{NO-BREAK SPACE}" * 4 * depth + kind, scope="row"),
        tag.td(short(digest)),
        tag.td(tag.span(media_type.removeprefix("application/vnd."), title=media_type), cls="pb-dim"),
        tag.td(human_bytes(size), cls="pb-num"),
        tag.td(tag.code(note) if note else "", cls="pb-text"),
    )


def _manifest_rows(manifest: ManifestSummary, depth: int) -> list[Markup]:
    platform = f"manifest {manifest.platform}"
    rows = [
        _row(platform, depth, manifest.digest, manifest.media_type, manifest.size, ""),
        _row("config", depth + 1, manifest.config_digest, manifest.config_media_type, manifest.config_size, ""),
    ]
    rows += [
        _row(f"layer {number}", depth + 1, layer.digest, layer.media_type, layer.size, layer.created_by)
        for number, layer in enumerate(manifest.layers, 1)
    ]
    return rows


_CONFIG = (
    ("Entrypoint", "Entrypoint"),
    ("Cmd", "Command"),
    ("User", "User"),
    ("WorkingDir", "Working directory"),
    ("Env", "Environment"),
    ("ExposedPorts", "Ports"),
    ("Volumes", "Volumes"),
    ("Labels", "Labels"),
    ("StopSignal", "Stop signal"),
    ("Healthcheck", "Health check"),
    ("Shell", "Shell"),
    ("OnBuild", "On build"),
)


def _config(manifest: ManifestSummary, several: bool) -> Markup:
    config = cast("dict[str, Any]", manifest.config.get("config") or {})
    facts = [("Platform", [manifest.platform])]
    if created := manifest.config.get("created"):
        facts.append(("Created", [str(created)]))
    facts += [(title, _lines(key, config[key])) for key, title in _CONFIG if config.get(key)]
    rows = (
        tag.tr(tag.th(title, scope="row"), tag.td(*(tag.div(tag.code(line)) for line in lines), cls="pb-text"))
        for title, lines in facts
    )
    title = f"Config of {manifest.platform}" if several else "Config"
    note = " ".join(config.get("Entrypoint") or []) + " " + " ".join(config.get("Cmd") or [])
    table = tag.div(tag.table(tag.tbody(*rows), aria_label=title), cls="pb-scroll")
    raw = _section("JSON", "", tag.pre(json.dumps(manifest.config, indent=2, ensure_ascii=False)))
    return _section(title, note.strip(), table, raw)


def _lines(key: str, value: object) -> list[str]:
    """One value of a config, a line each; words of a command stay together, as JSON, for they may have spaces."""
    if key in ("Entrypoint", "Cmd", "Shell", "Healthcheck"):
        return [json.dumps(value, ensure_ascii=False)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return [f"{name}={item}" if isinstance(item, str) else name for name, item in items]
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else [str(value)]


def _output(output: OutputSummary, token: str) -> Markup:
    where: list[Markup | str] = [tag.strong(output.type), " "]
    if output.dest:
        # The path is text: a page whose kernel runs puts a button next to it (see downloads.py).
        where += [tag.code(output.dest, cls="pb-path", data_pybuild_download=token or None)]
        where += [" ", tag.span(human_bytes(output.size), cls="pb-note")]
    else:
        where.append(tag.code(familiar(output.names), cls="pb-path"))
        where += [" ", tag.span("in the store" if output.type == "image" else "", cls="pb-note")]
    return tag.p(*where, cls="pb-out")


def _files(output: OutputSummary) -> Markup:
    note = f"{plural(output.file_count, 'file')}, {human_bytes(output.file_bytes)}"
    if output.more_files:
        note += f"; {output.more_files:,} more entries are not shown"
    small = len(output.files) <= _OPEN_ENTRIES and not output.more_files
    tree = _tree(grow(output.files), small, sizes=not output.more_files)
    return _section("Files", note, tree, is_open=small)


def _tree(node: TreeNode, is_open: bool, sizes: bool) -> Markup:
    def order(child: TreeNode) -> tuple[bool, str]:
        return (child.file.type != DIR, child.name)

    children = sorted(node.children.values(), key=order)
    return tag.ul(*(_entry(child, is_open, sizes) for child in children), cls="pb-tree")


def _entry(node: TreeNode, is_open: bool, sizes: bool) -> Markup:
    """A line of a tree. `sizes`: of directories too, which takes that everything below them is known."""
    file = node.file
    is_dir = file.type == DIR
    name = f"{node.name}/" if is_dir else f"{node.name} → {file.link}" if file.type == SYMLINK else node.name
    counted = file.type == "0" or (is_dir and sizes)
    columns = (
        tag.span(name, cls="pb-dir" if is_dir else "pb-file"),
        " ",
        tag.span(human_bytes(node.size) if counted else "", cls="pb-num"),
        " ",
        tag.span(mode_string(file), cls="pb-mode"),
        " ",
        tag.span(f"{file.uid}:{file.gid}", title="owner", cls="pb-owner"),
    )
    if not node.children:
        return tag.li(tag.div(*columns, cls="pb-entry"))
    head = tag.summary(*columns, cls="pb-entry")
    return tag.li(tag.details(head, _tree(node, is_open, sizes), open=is_open))


def _steps(summary: Summary) -> Markup:
    shown = [vertex for vertex in summary.vertexes if vertex.started and not vertex.name.startswith(INTERNAL)]
    rows = (
        tag.tr(
            tag.td(tag.code(shorten(vertex.name), title=vertex.name), cls="pb-text"),
            tag.td("CACHED" if vertex.cached else seconds(vertex.seconds), cls="pb-num"),
            tag.td(_span(vertex, summary), cls="pb-when"),
        )
        for vertex in shown
    )
    counted = count_steps([(vertex.name, vertex.cached) for vertex in shown])
    note = f"{counted} in {seconds(summary.seconds)} on {summary.builder}"
    return _section("Steps", note, tag.div(tag.table(tag.tbody(*rows), aria_label="Steps"), cls="pb-scroll"))


def _span(vertex: VertexSummary, summary: Summary) -> Markup:
    """When a step worked, as a bar in the time that the build took."""
    began = min((one.started for one in summary.vertexes if one.started), default=None)
    if vertex.cached or not vertex.started or not began or summary.seconds <= 0:
        return text("")
    left = 100 * (vertex.started - began).total_seconds() / summary.seconds
    width = min(100 - left, 100 * vertex.seconds / summary.seconds)
    return tag.div(tag.div(style=f"margin-left:{left:.1f}%;width:{max(width, 0.5):.1f}%"), aria_hidden="true")


def _request(summary: Summary) -> Markup:
    return _section(
        "Request",
        "as BuildKit takes it, and the same with docker",
        tag.pre(summary.request),
        tag.pre(summary.command),
    )
