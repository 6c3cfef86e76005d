"""A finished build as data: what is shown of it, kept in a notebook, and drawn again without a kernel."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

MIME_TYPE = "application/vnd.pybuild.result.v1+json"
"""The media type under which a notebook keeps a `Summary`."""
TABS = (
    "image",
    "layers",
    "files",
    "config",
    "attestations",
    "steps",
    "logs",
    "graph",
    "timeline",
    "request",
    "downloads",
)
"""The tabs of a result, by the names that `--view` takes."""


class LayerSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One layer of a manifest, bottom first."""

    digest: str
    media_type: str
    size: int
    """Bytes of the blob, compressed as it is."""
    diff_id: str
    created_by: str = ""
    """The instruction that made it, as the image's history tells."""
    vertex: str = ""
    """Digest of the vertex of this build that made it; "" for a layer of the base image."""
    line: int = 0
    """The first line of the instruction that made it. It is not the vertex's when stages share the vertex."""
    uncompressed_size: int = -1
    """Bytes of its tar; -1 when not known. So are the three counts."""
    files_added: int = -1
    """Files that the layers below do not have; directories are not counted, here and in the next two."""
    files_changed: int = -1
    """Files that are there instead of others of the layers below."""
    files_removed: int = -1
    """Files of the layers below that are not seen any more."""


class HistorySummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of an image's history."""

    created: str = ""
    created_by: str = ""
    empty_layer: bool = False
    comment: str = ""


class WastedPath(msgspec.Struct, frozen=True, array_like=True):
    """A path that several layers have, so that room is wasted; in JSON, an array of its three values."""

    path: str
    count: int
    """Layers that have it, or that delete it."""
    size: int
    """Bytes of it in all of these layers together."""


class ManifestSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    base: str = ""
    """The image that it was built from, as its FROM names it; "" when there is none, or it is not known."""
    base_layers: int = 0
    """How many of the layers, from the bottom on, are those of the base."""
    history: tuple[HistorySummary, ...] = ()
    annotations: dict[str, str] = {}
    users: dict[str, str] = {}
    """The names of the image's users, by their ids, as its /etc/passwd has them; so are `groups`, of /etc/group."""
    groups: dict[str, str] = {}
    raw: str = ""
    """The manifest's own JSON text, or "" when it is too large; `config` is the config's."""
    efficiency: float = -1.0
    """From 0 to 1, as dive has it: over all paths of files, the bytes of the smallest version that a layer has of
    each (0 of a removed one), over the bytes of all versions; -1 when not known."""
    wasted_bytes: int = -1
    """Bytes, uncompressed, of all paths that more than one layer has or deletes (dive's definition); -1: not known."""
    wasted: tuple[WastedPath, ...] = ()
    """The paths that waste most, worst first."""


class ImageSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An image: one manifest, or an index of several."""

    names: tuple[str, ...]
    digest: str
    media_type: str
    size: int
    """Bytes of the manifest or index itself."""
    is_index: bool = False
    manifests: tuple[ManifestSummary, ...] = ()
    raw: str = ""
    """The index's own JSON text; "" when there is no index, or it is too large."""

    @property
    def total_size(self) -> int:
        """Bytes of everything the image is made of, each blob once."""
        blobs = {self.digest: self.size}
        for manifest in self.manifests:
            blobs[manifest.digest] = manifest.size
            blobs[manifest.config_digest] = manifest.config_size
            blobs |= {layer.digest: layer.size for layer in manifest.layers}
        return sum(blobs.values())


class MaterialSummary(msgspec.Struct, frozen=True, array_like=True):
    """A source that an image was made of; in JSON, an array of its two values."""

    uri: str
    digest: str
    """Its digest, or the commit; "" when it is not told."""


class SoftwareSummary(msgspec.Struct, frozen=True, array_like=True):
    """A package that is in an image; in JSON, an array of its five values."""

    name: str
    version: str
    type: str
    """Of its package URL: `deb`, `pypi`, `npm`, …"""
    licence: str
    proof: str
    """The file that proves it, in the scanner's words."""


class AttestedSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is attested of the image for one platform: its provenance, and the packages of its SBOM."""

    platform: str
    provenance: str = ""
    """The version of SLSA that the provenance has, such as `v1`; "" when there is none."""
    facts: dict[str, str] = {}
    """What the provenance tells of the build, by its title: the builder, when it ran, the commit."""
    materials: tuple[MaterialSummary, ...] = ()
    material_count: int = 0
    """All materials, of which the first are in `materials`."""
    parameters: dict[str, str] = {}
    """What the build was asked for, by name."""
    llb_steps: int = 0
    """Steps of the build definition that the provenance has; 0 when it has none."""
    sboms: int = 0
    """SBOMs: that of the image, whose packages these are, and those of stages and the context."""
    scanner: str = ""
    """What the SBOM says of itself."""
    packages: tuple[SoftwareSummary, ...] = ()
    package_count: int = 0
    """All packages, of which the first are in `packages`."""


class FileSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """One path of a tree. `type` is a tar type: 0 file, 1 hard link, 2 symlink, 3 char, 4 block, 5 dir, 6 fifo."""

    path: str
    type: str
    mode: int
    size: int = 0
    uid: int = 0
    gid: int = 0
    link: str = ""


class OutputSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing the build wrote."""

    type: str
    """The exporter."""
    dest: str = ""
    """The path it was written to, as the user gave it, or ""."""
    size: int = 0
    """Bytes of the file, or of the files of the directory."""
    is_directory: bool = False
    """Whether it is a directory: of an image, a layout rather than an archive."""
    names: tuple[str, ...] = ()
    files: tuple[FileSummary, ...] = ()
    """Entries of a tree, in its order: all, or of a large one those nearest to its root."""
    file_count: int = 0
    """All regular files of the tree."""
    file_bytes: int = 0
    """Bytes of all regular files of the tree."""
    more_files: int = 0
    """Entries of the tree that are not in `files`."""


class TreeSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The entries of a tree, compressed: what a page shows of it when no kernel has the tree."""

    of: str
    """`output:N`, `layer:DIFFID` (what a layer did, each entry marked) or `image`."""
    platform: str = ""
    """The manifest's; "" for an output."""
    entries: int = 0
    """All entries of the tree."""
    more: int = 0
    """Entries that are not here, but counted in the directories that they are in."""
    columns: str
    """The base64 of the zlib stream of the JSON of the columns, see results/columns.py."""


class VertexSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of the build."""

    digest: str
    name: str
    inputs: tuple[str, ...] = ()
    cached: bool = False
    started: datetime | None = None
    completed: datetime | None = None
    seconds: float = 0.0
    error: str = ""
    log_head: str = ""
    """The first lines it printed, when `log_tail` does not reach back to them."""
    log_tail: str = ""
    """The last lines it printed."""
    log_seconds: tuple[float, ...] = ()
    """Of each line of `log_head` and then of `log_tail`: seconds from the start of the step."""
    log_lines: int = 0
    """All lines it printed."""
    kind: str = ""
    """`source`, `exec`, `file`, `merge`, `diff`, `internal`, `export`; "" when not known."""
    stage: str = ""
    """The stage of the Dockerfile: its name, or BuildKit's `stage-0` for one without; "" for what is of none."""
    line: int = 0
    """The first line of its instruction in `Summary.dockerfile`, 0 when there is none."""


class WarningSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A warning, with its Dockerfile line (0 when none)."""

    short: str
    detail: str = ""
    url: str = ""
    line: int = 0
    context: str = ""
    """The directory of a context that has what an image seldom needs."""
    ignorable: tuple[str, ...] = ()
    """The patterns that would leave that out, in the context's `.dockerignore`."""


class RungSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How RUN was run: a rung of the embedded builder's ladder, which has namespaces on top."""

    number: int
    """From 1, the best, to 5."""
    name: str
    lacks: str = ""
    """The differences for a process on it, in a clause; "" for none."""


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that is shown of a build."""

    ref: str
    builder: str
    driver: str = ""
    """The kind of a builder other than the embedded one, as buildx names it: `docker` for an engine's own."""
    target: str = ""
    seconds: float = 0.0
    vertexes: tuple[VertexSummary, ...] = ()
    warnings: tuple[WarningSummary, ...] = ()
    rung: RungSummary | None = None
    """How its RUNs were run; None when none was, or the builder does not say."""
    image: ImageSummary | None = None
    attested: tuple[AttestedSummary, ...] = ()
    """What is attested of the image, by platform."""
    outputs: tuple[OutputSummary, ...] = ()
    trees: tuple[TreeSummary, ...] = ()
    """Trees that are kept for pages without a kernel."""
    request: str = ""
    """The SolveRequest, as JSON."""
    command: str = ""
    """The `docker buildx build` command that means the same."""
    error: str = ""
    """Why it failed, in one sentence; what else there is to say of a failed build are the next four."""
    hint: str = ""
    """The next step, in one sentence."""
    error_line: int = 0
    """The first line of `dockerfile` that the error is about, and in `error_end` the last; 0 when there is none."""
    error_end: int = 0
    canceled: bool = False
    """Whether its user stopped it."""
    kept: str = ""
    """The name by which what the step left that failed can be looked into for some time, as `@failed`; "" for none."""
    dockerfile: str = ""
    """Its text, when it is at hand: a cell, or a file."""
    view: str = ""
    """The one of `TABS` that is open first; "" leaves that to the page."""
    fetch: str = ""
    """The token by which the kernel that built it answers questions about it; "" when there is none."""
    omitted: dict[str, int] = {}
    """The parts that were left out to keep this document small, with their numbers: `files`, `vertexes`, `log lines`,
    `history`, `warnings`, `characters` (of long texts, each of which then ends in an ellipsis)."""
