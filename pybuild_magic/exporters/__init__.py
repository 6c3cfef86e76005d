"""Exporters: a module for each exporter of Docker Build, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import msgspec

from ..attest.statement import Attestation
from ..cancel import Cancel
from ..oci.config import ImageConfig
from ..oci.platform import Platform
from ..request.outputs import check_type
from ..session import Session, Sink
from ..status.report import VertexReport
from ..store import Compressed, Store
from .attributes import Attribute, Values, parse

if TYPE_CHECKING:
    from .packed import PackedBlobs


class TargetResult(msgspec.Struct, frozen=True):
    """The result for one platform: a stack of layers, and the config from the Dockerfile."""

    platform: Platform
    snapshot: tuple[str, ...]
    """DiffIDs of the layers, bottom first; () is an empty image."""
    config: ImageConfig
    """The front end's config: `rootfs` is ignored, and `created` of new history entries is empty."""
    base: ImageConfig | None = None
    """The base image's config: its layers and history keep their times under SOURCE_DATE_EPOCH."""
    created: tuple[int, ...] = ()
    """When each layer of `snapshot` was made, in nanoseconds since 1970 (from the cache record, so that a cached build
    makes the same image again); layers that are missing count as made now.
    """
    descriptions: tuple[str, ...] = ()
    """The command that made each layer, for layers that the config's history does not have."""
    attestations: tuple[Attestation, ...] = ()
    inline_cache: bytes = b""
    """The build cache records to be embedded in the image's config."""


class SolveResult(msgspec.Struct, frozen=True):
    """The solver's result, in the form that exporters take."""

    targets: tuple[TargetResult, ...]
    epoch: int | None = None
    """SOURCE_DATE_EPOCH, seconds since 1970."""
    multi_platform: bool = False
    """Whether an index is made: several platforms were requested (or one, explicitly as a list)."""


class Remote(Protocol):
    """Layers that are in registries but not in the store."""

    def form(self, diff_id: str) -> Compressed | None:
        """Return the form of a layer in a registry; None when the layer is in the store."""
        ...

    def repositories(self, digest: str, domain: str) -> list[str]:
        """Return the repositories of the registry `domain` that have the blob."""
        ...

    def bring(self, diff_ids: Sequence[str]) -> None:
        """Fetch layers into the store. Raises SourceError, StoreError, Interrupted."""
        ...

    def bring_blob(self, digest: str) -> None:
        """Fetch the layer of a blob if it is not in the store."""
        ...


@dataclass(frozen=True)
class ExportContext:
    """The environment of an exporter."""

    store: Store
    session: Session
    progress: VertexReport
    """The vertex of the export, already entered."""
    cancel: Cancel
    sink: Sink | None = None
    """The session's sink with the id of the request's exporter; None when there is no `dest`."""
    remote: Remote | None = None
    """The layers that may be pushed without being in the store; None when all are in it."""

    @property
    def packed(self) -> PackedBlobs:
        """The blobs of images, including those that must be fetched again."""
        from .packed import PackedBlobs

        return PackedBlobs(self.store, self.session.auth, self.cancel, self.progress)


class Exporter(Protocol):
    """An exporter of `--output type=`. `name` is the name of its vertex, as in BuildKit."""

    type: str
    name: str
    attributes: tuple[Attribute, ...]

    def check(self, values: Values, sink: Sink | None) -> None:
        """Raise UsageError or UnsupportedError for incompatible attributes, or a missing `dest`."""
        ...

    def export(self, result: SolveResult, values: Values, context: ExportContext) -> dict[str, str]:
        """Write `result` to its destination; return BuildKit's exporter response.

        Its keys are `containerimage.digest`, `containerimage.config.digest`, `containerimage.descriptor` (base64 of
        JSON) and `image.name`, as far as they apply. Raises ExportError.
        """
        ...


def get(kind: str) -> Exporter:
    """Return the exporter of `type=kind`, which is in the module of that name. Raises UsageError."""
    check_type(kind)
    return import_module(f".{kind}", __name__).EXPORTER


def check(kind: str, attrs: Mapping[str, str], sink: Sink | None = None) -> Values:
    """Return the typed attributes of an exporter; called before a build begins. Raises UsageError, UnsupportedError."""
    exporter = get(kind)
    values = parse(f"{exporter.type} exporter", exporter.attributes, attrs)
    exporter.check(values, sink)
    return values
