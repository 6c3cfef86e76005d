"""A finished build as data: what is shown of it, kept in a notebook, and drawn again without a kernel."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

MIME_TYPE = "application/vnd.pybuild.result.v1+json"
"""The media type under which a notebook keeps a `Summary`."""


class LayerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a manifest, bottom first."""

    digest: str
    media_type: str
    size: int
    """Bytes of the blob, compressed as it is."""
    diff_id: str
    created_by: str = ""
    """The instruction that made it, as the image's history tells."""


class HistorySummary(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an image's history."""

    created: str = ""
    created_by: str = ""
    empty_layer: bool = False
    comment: str = ""


class ManifestSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One image manifest, with its config and its layers."""

    digest: str
    media_type: str
    size: int
    platform: str
    config_digest: str
    config_media_type: str
    config_size: int
    config: dict[str, Any]
    layers: tuple[LayerSummary, ...]
    history: tuple[HistorySummary, ...] = ()
    annotations: dict[str, str] = {}


class ImageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An image: one manifest, or an index of several."""

    names: tuple[str, ...]
    digest: str
    media_type: str
    size: int
    """Bytes of the manifest or index itself."""
    is_index: bool = False
    manifests: tuple[ManifestSummary, ...] = ()

    @property
    def total_size(self) -> int:
        """Bytes of everything the image is made of, each blob once."""
        blobs = {self.digest: self.size}
        for manifest in self.manifests:
            blobs[manifest.digest] = manifest.size
            blobs[manifest.config_digest] = manifest.config_size
            blobs |= {layer.digest: layer.size for layer in manifest.layers}
        return sum(blobs.values())


class FileSummary(msgspec.Struct, frozen=True):
    """One path of a tree. `type` is a tar type: 0 file, 1 hard link, 2 symlink, 3 char, 4 block, 5 dir, 6 fifo."""

    path: str
    type: str
    mode: int
    size: int = 0
    uid: int = 0
    gid: int = 0
    link: str = ""


class OutputSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the build wrote."""

    type: str
    """The exporter."""
    dest: str = ""
    """The path it was written to, as the user gave it, or ""."""
    size: int = 0
    """Bytes of the file, or of the files of the directory."""
    names: tuple[str, ...] = ()
    files: tuple[FileSummary, ...] = ()
    """Entries of a tree, in its order: all, or of a large one those nearest to its root."""
    file_count: int = 0
    """All regular files of the tree."""
    file_bytes: int = 0
    """Bytes of all regular files of the tree."""
    more_files: int = 0
    """Entries of the tree that are not in `files`."""


class VertexSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the build."""

    digest: str
    name: str
    inputs: tuple[str, ...] = ()
    cached: bool = False
    started: datetime | None = None
    completed: datetime | None = None
    seconds: float = 0.0
    error: str = ""
    log_tail: str = ""
    """The last lines it printed."""


class WarningSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A warning, with its Dockerfile line (0 when none)."""

    short: str
    detail: str = ""
    url: str = ""
    line: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown of a build."""

    ref: str
    builder: str
    target: str = ""
    seconds: float = 0.0
    vertexes: tuple[VertexSummary, ...] = ()
    warnings: tuple[WarningSummary, ...] = ()
    image: ImageSummary | None = None
    outputs: tuple[OutputSummary, ...] = ()
    request: str = ""
    """The SolveRequest, as JSON."""
    command: str = ""
    """The `docker buildx build` command that means the same."""
    error: str = ""
