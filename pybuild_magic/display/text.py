"""A finished build as plain text, for terminals and for logs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..summary import FileSummary, ImageSummary, LayerSummary, ManifestSummary, Summary
from .terminal import visible
from .tree import FILE, mode_string
from .words import clipped, count_steps, familiar, human_bytes, place, plural, seconds

_LAYERS = 40
_FILES = 60
_WARNINGS = 20


def render(summary: Summary) -> str:
    """Return a few lines: the result's name, its size and its destination."""
    return "\n".join(visible(line) for line in _lines(summary))


def pretty(text: str, width: int, color: bool) -> str:
    """Return what `render` or `render_image` gave for a terminal with `width` columns (0: any number).

    Lines of layers and long digests are cut to fit. With `color`, names stand out and digests are dimmed.
    """
    lines = [_fitted(line, width) if width else line for line in text.split("\n")]
    return "\n".join(_colored(line) for line in lines) if color else "\n".join(lines)


def _fitted(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    if line.startswith(" "):
        return f"{line[: width - 1]}…"
    return _DIGEST.sub(lambda digest: digest[0][:19], line)


_GREEN, _YELLOW, _BOLD, _DIM, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[1m", "\x1b[2m", "\x1b[0m"
_DIGEST = re.compile(r"sha256:[0-9a-f]{12,64}")


def _colored(line: str) -> str:
    """Return a line of a result in colour; the text must not contain escape sequences."""
    if line.startswith("warning: "):
        return f"{_YELLOW}{line}{_PLAIN}"
    if line.startswith("Built in "):
        return f"{_GREEN}✓{_PLAIN} {line}"
    name, gap, rest = line.partition("  ") if not line.startswith(" ") else ("", "", line)
    rest = _DIGEST.sub(lambda digest: f"{_DIM}{digest[0]}{_PLAIN}", rest)
    return f"{_BOLD}{name}{_PLAIN}{gap}{rest}" if name else rest


def render_image(image: ImageSummary) -> str:
    """Return an image: its names, digest and size, and the layers of each platform."""
    return "\n".join(visible(line) for line in _image(image))


def render_layers(layers: Iterable[LayerSummary]) -> str:
    """Return a line per layer, with the files that it adds, changes and removes, where known."""
    return "\n".join(visible(line) for line in map(_counted, layers))


def _counted(layer: LayerSummary) -> str:
    if layer.files_added < 0:
        return _layer(layer)
    counts = f"+{layer.files_added} ~{layer.files_changed} -{layer.files_removed}"
    return f"{layer.digest[:19]}  {human_bytes(layer.size):>9}  {counts:>15}  {clipped(layer.created_by, 80)}"


def file_line(file: FileSummary, owner: str) -> str:
    """Return an entry of a tree in the style of `ls -l`: `-rw-r--r-- root 15 B site/index.html`."""
    return visible(" ".join(_columns(file, owner)))


def _columns(file: FileSummary, owner: str) -> tuple[str, str, str, str]:
    size = human_bytes(file.size) if file.type == FILE else "-"
    link = f" -> {file.link}" if file.link else ""
    return mode_string(file), owner, size, f"{file.path}{link}"


def render_files(files: Sequence[tuple[FileSummary, str]]) -> str:
    """Return a line per entry, with the name of its owner, in columns."""
    rows = [_columns(file, owner) for file, owner in files[:_FILES]]
    owners, sizes = (max((len(row[column]) for row in rows), default=0) for column in (1, 2))
    lines = [f"{mode} {owner:<{owners}} {size:>{sizes}}  {path}" for mode, owner, size, path in rows]
    if len(files) > _FILES:
        lines.append(f"… {len(files) - _FILES:,} more")
    return "\n".join(visible(line) for line in lines)


def _lines(summary: Summary) -> Iterator[str]:
    steps = count_steps(summary.vertexes)
    if summary.builder:  # otherwise it was opened, not built
        on = f"; RUN on rung {summary.rung.number}, {summary.rung.name}" if summary.rung else ""
        yield f"Built in {seconds(summary.seconds)} by {summary.builder}: {steps}{on}"
    if summary.image:
        yield from _image(summary.image)
    for output in summary.outputs:
        if output.dest:
            count = f", {plural(output.file_count, 'file')}" if output.file_count else ""
            yield f"{place(output, summary.driver)}  {output.dest}  ({human_bytes(output.size)}{count})"
    for warning in summary.warnings[:_WARNINGS]:
        yield f"warning: {clipped(warning.short, 500)}"


def _image(image: ImageSummary) -> Iterator[str]:
    yield f"{familiar(image.names) or 'image'}  {image.digest}  {human_bytes(image.total_size)}"
    for manifest in image.manifests:
        yield from _manifest(manifest)


def _manifest(manifest: ManifestSummary) -> Iterator[str]:
    yield f"  {manifest.platform}  {plural(len(manifest.layers), 'layer')}"
    for layer in manifest.layers[:_LAYERS]:
        yield f"    {_layer(layer)}"
    if len(manifest.layers) > _LAYERS:
        yield f"    … {len(manifest.layers) - _LAYERS:,} more"


def _layer(layer: LayerSummary) -> str:
    return f"{layer.digest[:19]}  {human_bytes(layer.size):>9}  {clipped(layer.created_by, 80)}"
