"""A finished build as plain text, for terminals and for logs."""

from __future__ import annotations

from collections.abc import Iterator

from ..summary import ImageSummary, ManifestSummary, Summary
from .terminal import visible
from .words import count_steps, familiar, human_bytes, plural, seconds


def render(summary: Summary) -> str:
    """A few lines: what was made, how big, where it is."""
    return "\n".join(visible(line) for line in _lines(summary))


def render_image(image: ImageSummary) -> str:
    """An image: its names, digest and size, and the layers of each platform."""
    return "\n".join(visible(line) for line in _image(image))


def _lines(summary: Summary) -> Iterator[str]:
    steps = count_steps([(vertex.name, vertex.cached) for vertex in summary.vertexes])
    yield f"Built in {seconds(summary.seconds)} by {summary.builder}: {steps}"
    if summary.image:
        yield from _image(summary.image)
    for output in summary.outputs:
        if output.dest:
            count = f", {plural(output.file_count, 'file')}" if output.files else ""
            yield f"{output.type}  {output.dest}  ({human_bytes(output.size)}{count})"
    for warning in summary.warnings:
        yield f"warning: {warning.short}" + (f" (line {warning.line})" if warning.line else "")


def _image(image: ImageSummary) -> Iterator[str]:
    yield f"{familiar(image.names) or 'image'}  {image.digest}  {human_bytes(image.total_size)}"
    for manifest in image.manifests:
        yield from _manifest(manifest)


def _manifest(manifest: ManifestSummary) -> Iterator[str]:
    yield f"  {manifest.platform}  {plural(len(manifest.layers), 'layer')}"
    for layer in manifest.layers:
        yield f"    {layer.digest[:19]}  {human_bytes(layer.size):>9}  {layer.created_by[:80]}"
