"""An image as static HTML: its documents, its layers, its config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import log1p
from typing import Any, cast

from ..summary import ImageSummary, LayerSummary, ManifestSummary
from .markup import Markup, join, tag
from .parts import bar, section, short, table, text_block
from .words import human_bytes, plural


def image_section(image: ImageSummary) -> Markup:
    """Return a table of the documents of the image: index, manifests, configs, layers."""
    rows: list[Markup] = []
    if image.is_index:
        rows.append(_row("index", 0, image.digest, image.media_type, image.size, ""))
    for manifest in image.manifests:
        rows += _manifest_rows(manifest, 1 if image.is_index else 0)
    count = sum(len(manifest.layers) for manifest in image.manifests)
    titles = ("Part", "Digest", "Media type", "Size", "Made by")
    note = f"{plural(count, 'layer')}, {human_bytes(image.total_size)}"
    return section("Image", note, table("Manifests, configs and layers", titles, rows), is_open=True)


def _row(kind: str, depth: int, digest: str, media_type: str, size: int, note: str) -> Markup:
    return tag.tr(
        tag.th("\N{NO-BREAK SPACE}" * 4 * depth + kind, scope="row", align="left"),
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


def layers_section(manifest: ManifestSummary, several: bool) -> Markup | None:
    """Return the changes, the size and the waste of each layer; None when unknown."""
    if not manifest.layers or manifest.layers[0].files_added < 0:
        return None
    title = f"Layers of {manifest.platform}" if several else "Layers"
    body = layers_table(manifest.layers, title)
    note = plural(len(manifest.layers), "layer")
    if manifest.efficiency >= 0:
        note += f", efficiency {100 * manifest.efficiency:.0f} %"
    return section(title, note, body, _wasted(manifest))


def layers_table(layers: Sequence[LayerSummary], title: str) -> Markup:
    """Return a row a layer, with a bar of its size beside that of the largest."""
    largest = max((layer.size for layer in layers), default=0)
    rows = [
        tag.tr(
            tag.th(str(number), scope="row", align="left"),
            tag.td(human_bytes(layer.size), cls="pb-num"),
            tag.td(_bar(layer.size, largest), cls="pb-share"),
            tag.td(human_bytes(layer.uncompressed_size) if layer.uncompressed_size >= 0 else "", cls="pb-num"),
            *(tag.td(_count(sign, count, kind)) for sign, count, kind in _changes(layer)),
            tag.td(tag.code(layer.created_by), cls="pb-text"),
        )
        for number, layer in enumerate(layers, 1)
    ]
    return table(title, ("Layer", "Size", "Log scale", "Unpacked", "Added", "Changed", "Removed", "Made by"), rows)


def _bar(size: int, largest: int) -> Markup:
    # Sizes differ by powers of ten: a bar a thousandth as long as another says nothing.
    return bar(0, 100 * log1p(size) / log1p(largest) if largest else 0)


def _changes(layer: LayerSummary) -> Iterator[tuple[str, int, str]]:
    yield "+", layer.files_added, "added"
    yield "~", layer.files_changed, "changed"
    yield "−", layer.files_removed, "removed"


def _count(sign: str, count: int, kind: str) -> Markup:
    return tag.span(f"{sign}{count:,}", cls=f"pb-{kind}") if count > 0 else tag.span("0", cls="pb-dim")


def _wasted(manifest: ManifestSummary) -> Markup | None:
    if not manifest.wasted:
        return None
    rows = [
        tag.tr(
            tag.td(human_bytes(wasted.size), cls="pb-num"),
            tag.td(plural(wasted.count, "layer")),
            tag.td(tag.code(f"/{wasted.path}"), cls="pb-text"),
        )
        for wasted in manifest.wasted
    ]
    body = table("Wasted space", ("Bytes", "In", "Path"), rows)
    return section("Wasted", f"{human_bytes(manifest.wasted_bytes)} in files that more than one layer has", body)


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


def config_section(manifest: ManifestSummary, several: bool) -> Markup:
    """Return how a container of the image runs."""
    title = f"Config of {manifest.platform}" if several else "Config"
    config = _inner(manifest.config)
    words = [*_list(config.get("Entrypoint")), *_list(config.get("Cmd"))]
    return section(title, " ".join(map(str, words)), config_table(manifest.config, manifest.platform, title))


def config_table(document: Mapping[str, Any], platform: str, title: str = "Config") -> Markup:
    """Return the values that a Dockerfile sets, and the document itself."""
    config = _inner(document)
    facts = [("Platform", [platform])]
    if created := document.get("created"):
        facts.append(("Created", [str(created)]))
    facts += [(name, _lines(key, config[key])) for key, name in _CONFIG if config.get(key)]
    rows = [
        tag.tr(
            tag.th(name, scope="row", align="left"), tag.td(*(tag.div(tag.code(line)) for line in lines), cls="pb-text")
        )
        for name, lines in facts
    ]
    raw = section("JSON", "", text_block(json.dumps(document, indent=2, ensure_ascii=False), "JSON of the config"))
    return join(table(title, (), rows), raw)


def _inner(document: Mapping[str, Any]) -> dict[str, Any]:
    config: object = document.get("config")
    return cast("dict[str, Any]", config) if isinstance(config, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _lines(key: str, value: object) -> list[str]:
    """Return the lines of a config value; a command, whose words may contain spaces, is one line of JSON."""
    if key in ("Entrypoint", "Cmd", "Shell", "Healthcheck"):
        return [json.dumps(value, ensure_ascii=False)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return [f"{name}={item}" if isinstance(item, str) else name for name, item in items]
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else [str(value)]
