"""A finished build as self-contained HTML: no script, no network, readable wherever a notebook is shown."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from ..summary import ImageSummary, ManifestSummary, OutputSummary, Summary, VertexSummary
from .markup import Markup, join, tag, text
from .tree import DIR, SYMLINK, TreeNode, grow, mode_string
from .words import human_bytes, seconds

_OPEN_ENTRIES = 12
"""A tree with at most so many entries below its root is shown open."""


def render(summary: Summary, cwd: Path | None = None) -> Markup:
    """The whole result: what was made, where it is, how it was made. `cwd` is where download links start."""
    parts = [_headline(summary)]
    if summary.warnings:
        parts.append(_warnings(summary))
    parts += [_output(output, cwd or Path.cwd()) for output in summary.outputs]
    if summary.image:
        parts.append(_image(summary.image))
    parts.append(_steps(summary.vertexes))
    parts.append(_request(summary))
    return join(style(), tag.div(*parts, cls="pybuild"))


def render_image(image: ImageSummary) -> Markup:
    """An image alone: its documents and layers in a table, and its config."""
    return join(style(), tag.div(_image(image), cls="pybuild"))


@cache
def style() -> Markup:
    """The style sheet, as an element that goes before what it styles."""
    css = files(__package__ or "").joinpath("static", "result.css").read_text("utf-8")
    return Markup(f"<style>{css.partition('*/')[2].replace(chr(10), '')}</style>")


def short(digest: str) -> Markup:
    """A digest in the twelve digits that people read, with all of it on hover and for copying."""
    return tag.code(digest.partition(":")[2][:12] or digest, title=digest)


def _headline(summary: Summary) -> Markup:
    done = [vertex for vertex in summary.vertexes if not vertex.name.startswith("[internal]")]
    cached = sum(vertex.cached for vertex in done)
    name = ", ".join(summary.image.names) if summary.image and summary.image.names else summary.target or "Built"
    facts = [f"{len(done)} steps" + (f", {cached} cached" if cached else ""), seconds(summary.seconds), summary.builder]
    if summary.image:
        facts.insert(0, human_bytes(summary.image.total_size))
    return tag.p(
        tag.span("✓", cls="pb-ok", aria_hidden="true"),
        tag.strong(name),
        *(tag.span(fact, cls="pb-fact") for fact in facts),
        cls="pb-head",
    )


def _warnings(summary: Summary) -> Markup:
    rows = (
        tag.li(
            tag.strong(warning.short),
            f" (line {warning.line})" if warning.line else "",
            f" {warning.detail}" if warning.detail else "",
            tag.a(" learn more", href=warning.url, target="_blank", rel="noopener")
            if warning.url.startswith("https://")
            else None,
        )
        for warning in summary.warnings
    )
    return tag.ul(*rows, cls="pb-warn")


def _section(title: str, note: str, *body: Markup, is_open: bool = False) -> Markup:
    head = tag.summary(tag.strong(title), " ", tag.span(note, cls="pb-note"))
    return tag.details(head, *body, open=is_open)


def _table(head: Iterable[str], rows: Iterable[Markup], label: str) -> Markup:
    titles = tag.tr(*(tag.th(title, scope="col") for title in head))
    return tag.div(tag.table(tag.thead(titles), tag.tbody(*rows), aria_label=label), cls="pb-scroll")


def _image(image: ImageSummary) -> Markup:
    rows: list[Markup] = []
    if image.is_index:
        rows.append(_row("index", 0, image.digest, image.media_type, image.size, ", ".join(image.names)))
    for manifest in image.manifests:
        rows += _manifest_rows(manifest, 1 if image.is_index else 0)
    table = _table(("", "Digest", "Media type", "Size", "Made by"), rows, "Manifests, configs and layers")
    count = sum(len(manifest.layers) for manifest in image.manifests)
    note = f"{count} layer{'s' * (count != 1)}, {human_bytes(image.total_size)}"
    configs = (_config(manifest, len(image.manifests) > 1) for manifest in image.manifests)
    return join(_section("Image", note, table, is_open=True), *configs)


def _row(kind: str, depth: int, digest: str, media_type: str, size: int, note: str) -> Markup:
    return tag.tr(
        tag.th("\N{NO-BREAK SPACE}" * 3 * depth + kind, scope="row"),
        tag.td(short(digest)),
        tag.td(tag.span(media_type.removeprefix("application/vnd."), title=media_type)),
        tag.td(human_bytes(size), cls="pb-num"),
        tag.td(tag.code(note) if note else ""),
    )


def _manifest_rows(manifest: ManifestSummary, depth: int) -> list[Markup]:
    rows = [
        _row("manifest", depth, manifest.digest, manifest.media_type, manifest.size, manifest.platform),
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
    rows = [
        tag.tr(tag.th(title, scope="row"), tag.td(_value(config[key]))) for key, title in _CONFIG if config.get(key)
    ]
    rows.insert(0, tag.tr(tag.th("Platform", scope="row"), tag.td(manifest.platform)))
    if created := manifest.config.get("created"):
        rows.insert(1, tag.tr(tag.th("Created", scope="row"), tag.td(str(created))))
    title = f"Config of {manifest.platform}" if several else "Config"
    return _section(title, "", tag.table(tag.tbody(*rows)))


def _value(value: object) -> Markup:
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        lines = [f"{key}={item}" if isinstance(item, str | int | list) else key for key, item in items]
    elif isinstance(value, list):
        lines = [str(item) for item in cast("list[object]", value)]
    else:
        lines = [str(value)]
    return join(*(tag.div(tag.code(line)) for line in lines))


def _output(output: OutputSummary, cwd: Path) -> Markup:
    where = [tag.strong(output.type), " "]
    if output.dest:
        where += [_link(output, cwd), " ", tag.span(human_bytes(output.size), cls="pb-note")]
    elif output.names:
        where.append(tag.code(", ".join(output.names)))
    line = tag.p(*where, cls="pb-out")
    if not output.file_count:
        return line
    note = f"{output.file_count} files, {human_bytes(output.size)}"
    if output.file_count > len(output.files):
        note += f"; the first {len(output.files)} are shown"
    small = output.file_count <= _OPEN_ENTRIES
    return join(line, _section("Files", note, _tree(grow(output.files), small), is_open=small))


def _link(output: OutputSummary, cwd: Path) -> Markup:
    """The place of an output: a link where a page can follow it, else the path as text."""
    path = Path(output.dest)
    inside = path.is_relative_to(cwd)
    shown = os.path.relpath(path, cwd) if inside else output.dest
    if inside and output.type != "local":
        return tag.a(tag.code(shown), href=path.relative_to(cwd).as_posix(), download=path.name)
    return tag.code(shown)


def _tree(node: TreeNode, is_open: bool) -> Markup:
    def order(child: TreeNode) -> tuple[bool, str]:
        return (child.file.type != DIR, child.name)

    return tag.ul(*(_entry(child, is_open) for child in sorted(node.children.values(), key=order)), cls="pb-tree")


def _entry(node: TreeNode, is_open: bool) -> Markup:
    file = node.file
    mode = tag.span(mode_string(file), title=f"owner {file.uid}:{file.gid}", cls="pb-mode")
    if file.type == DIR:
        head = tag.summary(
            tag.span(f"{node.name}/", cls="pb-dir"),
            tag.span(human_bytes(node.size), cls="pb-num"),
            mode,
        )
        return tag.li(tag.details(head, _tree(node, is_open), open=is_open) if node.children else tag.div(*[head]))
    name = f"{node.name} → {file.link}" if file.type == SYMLINK else node.name
    size = human_bytes(file.size) if file.type == "0" else ""
    return tag.li(tag.div(tag.span(name, cls="pb-file"), tag.span(size, cls="pb-num"), mode))


def _steps(vertexes: Iterable[VertexSummary]) -> Markup:
    shown = [vertex for vertex in vertexes if vertex.started]
    rows = [
        tag.tr(
            tag.td(tag.code(vertex.name)),
            tag.td("CACHED" if vertex.cached else seconds(vertex.seconds), cls="pb-num"),
        )
        for vertex in shown
    ]
    note = f"{len(shown)}, {sum(vertex.cached for vertex in shown)} cached"
    return _section("Steps", note, tag.table(tag.tbody(*rows)))


def _request(summary: Summary) -> Markup:
    return _section(
        "Request",
        "as BuildKit takes it, and the same with docker",
        tag.pre(text(summary.request)),
        tag.pre(text(summary.command)),
    )
