"""A finished build as data: shown in a notebook, stored in it, and drawn again without a kernel."""

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
"""The tabs of a result, under the names that `--view` takes."""
OMISSIONS = {
    "outputs": "output",
    "manifests": "platform",
    "layers": "layer",
    "names": "name",
    "attestations": "attestation",
    "warnings": "warning",
    "values": "value",
    "Dockerfile": "the end of the Dockerfile",
    "command": "the end of the docker command",
    "request": "the end of the request",
    "texts": "the ends of long texts",
}
"""The omitted parts (see `Summary.omitted`) that a note below a result mentions, in words; "the …" is not counted.
Other parts say it in their place, or are cut where nobody reads to the end."""


class LayerSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One layer of a manifest, bottom first."""

    digest: str
    media_type: str
    size: int
    """Bytes of the blob, as compressed."""
    diff_id: str
    created_by: str = ""
    """The instruction that made it, from the image's history."""
    vertex: str = ""
    """Digest of the vertex of this build that made it; "" for a layer of the base image."""
    line: int = 0
    """The first line of the instruction that made it. It differs from the vertex's line when stages share the
    vertex."""
    uncompressed_size: int = -1
    """Bytes of its tar; -1 when unknown. The three counts below are -1 then, too."""
    files_added: int = -1
    """Files that no layer below has. Directories are not counted, here and in the next two fields."""
    files_changed: int = -1
    """Files that replace a file of the layers below."""
    files_removed: int = -1
    """Files of the layers below that this layer removes."""


class HistorySummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of an image's history."""

    created: str = ""
    created_by: str = ""
    empty_layer: bool = False
    comment: str = ""


class WastedPath(msgspec.Struct, frozen=True, array_like=True):
    """A path that is in several layers, which wastes room; in JSON, an array of its three values."""

    path: str
    count: int
    """The number of layers that contain or delete it."""
    size: int
    """Its bytes in all of these layers together."""


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
    """The image that it was built from, as its FROM names it; "" when there is none or it is unknown."""
    base_layers: int = 0
    """How many of the layers, counted from the bottom, belong to the base."""
    history: tuple[HistorySummary, ...] = ()
    annotations: dict[str, str] = {}
    users: dict[str, str] = {}
    """The names of the image's users by id, from its /etc/passwd; `groups` likewise, from /etc/group."""
    groups: dict[str, str] = {}
    raw: str = ""
    """The manifest's JSON text as it is stored; "" when it is too large. The config has the field `config`."""
    efficiency: float = -1.0
    """From 0 to 1, as defined by dive: for all file paths, the bytes of the smallest version in any layer (0 for a
    removed file), divided by the bytes of all versions; -1 when unknown."""
    wasted_bytes: int = -1
    """Uncompressed bytes of all paths that more than one layer contains or deletes (dive's definition); -1 when
    unknown."""
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
        """Return the bytes of all blobs of the image, counting each blob once."""
        blobs = {self.digest: self.size}
        for manifest in self.manifests:
            blobs[manifest.digest] = manifest.size
            blobs[manifest.config_digest] = manifest.config_size
            blobs |= {layer.digest: layer.size for layer in manifest.layers}
        return sum(blobs.values())


class MaterialSummary(msgspec.Struct, frozen=True, array_like=True):
    """A source that an image was made from; in JSON, an array of its two values."""

    uri: str
    digest: str
    """Its digest, or the commit; "" when unknown."""


class SoftwareSummary(msgspec.Struct, frozen=True, array_like=True):
    """A package in an image; in JSON, an array of its five values."""

    name: str
    version: str
    type: str
    """The type of its package URL: `deb`, `pypi`, `npm`, …"""
    licence: str
    proof: str
    """The file that proves it, in the scanner's words."""


class AttestedSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The attestations of the image for one platform: its provenance, and the packages of its SBOM."""

    platform: str
    provenance: str = ""
    """The SLSA version of the provenance, such as `v1`; "" when there is no provenance."""
    facts: dict[str, str] = {}
    """Facts about the build that the provenance states, by title: the builder, the time, the commit."""
    materials: tuple[MaterialSummary, ...] = ()
    material_count: int = 0
    """The number of all materials; `materials` has the first of them."""
    parameters: dict[str, str] = {}
    """The parameters of the build, by name."""
    llb_steps: int = 0
    """The number of steps in the provenance's build definition; 0 when it has none."""
    sboms: int = 0
    """The number of SBOMs: that of the image, which has these packages, and those of stages and the context."""
    scanner: str = ""
    """The tool that wrote the SBOM, as the SBOM names it."""
    packages: tuple[SoftwareSummary, ...] = ()
    package_count: int = 0
    """The number of all packages; `packages` has the first of them."""


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
    """One output that the build wrote."""

    type: str
    """The exporter."""
    dest: str = ""
    """The path it was written to, as the user gave it, or ""."""
    size: int = 0
    """Bytes of the file, or of the files of the directory."""
    is_directory: bool = False
    """Whether it is a directory; for an image, this means a layout rather than an archive."""
    names: tuple[str, ...] = ()
    files: tuple[FileSummary, ...] = ()
    """Entries of a tree, in the tree's order: all of them, or the ones nearest to the root if there are many."""
    file_count: int = 0
    """All regular files of the tree."""
    file_bytes: int = 0
    """Bytes of all regular files of the tree."""
    more_files: int = 0
    """The number of entries of the tree that are not in `files`."""


class TreeSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The entries of a tree, compressed, for a page that has no kernel to ask for them."""

    of: str
    """The tree's identity: `output:N`, `layer:DIFFID` (the layer's changes, each entry marked) or `image`."""
    platform: str = ""
    """The platform of the manifest; "" for an output."""
    entries: int = 0
    """The number of entries in the tree."""
    more: int = 0
    """The number of entries that are left out here but counted in their directories."""
    columns: str
    """The columns as JSON, compressed with zlib and encoded in base64; see results/columns.py."""


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
    """The first lines of its output, when `log_tail` does not reach back to them."""
    log_tail: str = ""
    """The last lines of its output."""
    log_seconds: tuple[float, ...] = ()
    """For each line of `log_head` and then of `log_tail`, the seconds since the step began."""
    log_lines: int = 0
    """The number of all lines of its output."""
    kind: str = ""
    """`source`, `exec`, `file`, `merge`, `diff`, `internal` or `export`; "" when unknown."""
    stage: str = ""
    """The stage of the Dockerfile: its name, or BuildKit's `stage-0` if it is unnamed; "" for a step outside of any
    stage."""
    line: int = 0
    """The first line of its instruction in `Summary.dockerfile`; 0 when it has none."""


class WarningSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A warning, with its Dockerfile line (0 when none)."""

    short: str
    detail: str = ""
    url: str = ""
    line: int = 0
    context: str = ""
    """The directory of the context that contains files an image seldom needs."""
    ignorable: tuple[str, ...] = ()
    """The patterns that exclude those files, for the context's `.dockerignore`."""


class RungSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How RUN was run: a rung of the embedded builder's ladder, which has namespaces at the top."""

    number: int
    """From 1 (best) to 5."""
    name: str
    lacks: str = ""
    """What a process on this rung lacks, as a clause; "" for nothing."""


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
    """How the RUN steps were run; None when there were none or the builder does not say."""
    image: ImageSummary | None = None
    attested: tuple[AttestedSummary, ...] = ()
    """The image's attestations, by platform."""
    outputs: tuple[OutputSummary, ...] = ()
    trees: tuple[TreeSummary, ...] = ()
    """The trees that are stored for pages without a kernel."""
    request: str = ""
    """The SolveRequest, as JSON."""
    command: str = ""
    """The equivalent `docker buildx build` command."""
    error: str = ""
    """Why the build failed, in one sentence; the next four fields complete it."""
    hint: str = ""
    """The next step, in one sentence."""
    error_line: int = 0
    """The first line of `dockerfile` that the error is about (`error_end` has the last); 0 when there is none."""
    error_end: int = 0
    canceled: bool = False
    """Whether the user stopped it."""
    kept: str = ""
    """The name of the failed step's state while that is kept, such as `@failed`; "" when it is not kept."""
    dockerfile: str = ""
    """The text of the Dockerfile, when it is available: from a cell, or a file."""
    view: str = ""
    """The tab of `TABS` that opens first; "" leaves the choice to the page."""
    fetch: str = ""
    """The token with which a page asks the kernel that ran the build for more; "" when there is none."""
    omitted: dict[str, int] = {}
    """How much of each part was left out to keep this document small: `files`, `vertexes`, `log lines`, `warnings`, …,
    and the characters of the long texts of `OMISSIONS`. Every text that was cut ends in an ellipsis."""
