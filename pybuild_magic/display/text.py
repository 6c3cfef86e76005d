"""A finished build as plain text, for terminals and for logs."""

from __future__ import annotations

from collections.abc import Iterator

from ..summary import ImageSummary, ManifestSummary, Summary
from .words import human_bytes, seconds


def render(summary: Summary) -> str:
    """A few lines: what was made, how big, where it is."""
    return "\n".join(_lines(summary))


def render_image(image: ImageSummary) -> str:
    """An image: its names, digest and size, and the layers of each platform."""
    head = f"{', '.join(image.names) or 'image'}  {image.digest}  {human_bytes(image.total_size)}"
    return "\n".join([head, *(line for manifest in image.manifests for line in _manifest(manifest))])


def _lines(summary: Summary) -> Iterator[str]:
    steps = [vertex for vertex in summary.vertexes if not vertex.name.startswith("[internal]")]
    cached = sum(vertex.cached for vertex in steps)
    yield f"Built in {seconds(summary.seconds)} by {summary.builder}: {len(steps)} steps, {cached} cached"
    if summary.image:
        yield render_image(summary.image)
    for output in summary.outputs:
        if output.dest:
            count = f", {output.file_count} files" if output.file_count else ""
            yield f"{output.type}  {output.dest}  ({human_bytes(output.size)}{count})"
    for warning in summary.warnings:
        yield f"warning: {warning.short}" + (f" (line {warning.line})" if warning.line else "")


def _manifest(manifest: ManifestSummary) -> Iterator[str]:
    yield f"  {manifest.platform}  {len(manifest.layers)} layers"
    for layer in manifest.layers:
        yield f"    {layer.digest[:19]}  {human_bytes(layer.size):>9}  {layer.created_by[:80]}"
