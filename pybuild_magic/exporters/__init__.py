"""Exporters: one module for each exporter of Docker Build, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import msgspec

from ..attest.statement import Attestation
from ..cancel import Cancel
from ..errors import UsageError, nearest
from ..oci.config import ImageConfig
from ..oci.platform import Platform
from ..session import Session, Sink
from ..status.report import VertexReport
from ..store import Compressed, Store
from .attributes import Attribute, Values, parse

if TYPE_CHECKING:
    from .packed import PackedBlobs


class TargetResult(msgspec.Struct, frozen=True):
    """The result for one platform: a stack of layers, and the config that the Dockerfile made."""

    platform: Platform
    snapshot: tuple[str, ...]
    """DiffIDs of the layers, bottom first; () is an empty image."""
    config: ImageConfig
    """As the front end made it: `rootfs` is not looked at, and `created` of new history entries is empty."""
    base: ImageConfig | None = None
    """The base image's own config: its layers and history keep their times under SOURCE_DATE_EPOCH."""
    created: tuple[int, ...] = ()
    """When each layer of `snapshot` was made, nanoseconds since 1970 (from the cache record, so that a cached
    build makes the same image again); missing ones count as made now."""
    descriptions: tuple[str, ...] = ()
    """The command that made each layer, for layers that the config's history does not have."""
    attestations: tuple[Attestation, ...] = ()
    inline_cache: bytes = b""
    """The records of a build cache that the image's config carries along."""


class SolveResult(msgspec.Struct, frozen=True):
    """The solver's result, as exporters take it."""

    targets: tuple[TargetResult, ...]
    epoch: int | None = None
    """SOURCE_DATE_EPOCH, seconds since 1970."""
    multi_platform: bool = False
    """Whether an index is made: several platforms were asked for (or one, explicitly as a list)."""


class Remote(Protocol):
    """Layers that are in registries and not in the store."""

    def form(self, diff_id: str) -> Compressed | None:
        """Return the form in which a registry has a layer; None when the layer is in the store."""
        ...

    def repositories(self, digest: str, domain: str) -> list[str]:
        """Return the repositories of the registry `domain` that have the blob."""
        ...

    def bring(self, diff_ids: Sequence[str]) -> None:
        """Fetch layers into the store. Raises SourceError, StoreError, Interrupted."""
        ...

    def bring_blob(self, digest: str) -> None:
        """Fetch the layer of a blob, where it is not in the store."""
        ...


@dataclass(frozen=True)
class ExportContext:
    """The surroundings of an exporter."""

    store: Store
    session: Session
    progress: VertexReport
    """The export's own vertex, already entered."""
    cancel: Cancel
    sink: Sink | None = None
    """The session's sink with the id of the request's exporter; None when there is no `dest`."""
    remote: Remote | None = None
    """The layers that may be pushed without being in the store; None when all are there."""

    @property
    def packed(self) -> PackedBlobs:
        """The blobs of images, also those that have to be fetched again."""
        from .packed import PackedBlobs

        return PackedBlobs(self.store, self.session.auth, self.cancel, self.progress)


class Exporter(Protocol):
    """One `--output type=`. `name` is the name of its vertex, as BuildKit shows it."""

    type: str
    name: str
    attributes: tuple[Attribute, ...]

    def check(self, values: Values, sink: Sink | None) -> None:
        """Raise UsageError or UnsupportedError for attributes that do not go together, or a missing `dest`."""
        ...

    def export(self, result: SolveResult, values: Values, context: ExportContext) -> dict[str, str]:
        """Write `result` to where it is to go; returns BuildKit's exporter response.

        Its keys are those of `containerimage.digest`, `containerimage.config.digest`,
        `containerimage.descriptor` (base64 of JSON) and `image.name` that apply. Raises ExportError.
        """
        ...


_MODULES = {
    "image": ("image", "IMAGE"),
    "registry": ("image", "REGISTRY"),
    "oci": ("archive", "OCI"),
    "docker": ("archive", "DOCKER"),
    "local": ("local", "LOCAL"),
    "tar": ("tar", "TAR"),
    "cacheonly": ("cacheonly", "CACHEONLY"),
}
TYPES = tuple(_MODULES)


def get(kind: str) -> Exporter:
    """Return the exporter of `type=kind`. Raises UsageError that names the nearest."""
    if kind not in _MODULES:
        near = nearest(kind, TYPES)
        raise UsageError(
            f'There is no exporter "{kind}".',
            hint=f'Did you mean "{near}"?' if near else f"There are {', '.join(TYPES)}.",
        )
    module, name = _MODULES[kind]
    return getattr(import_module(f".{module}", __name__), name)


def check(kind: str, attrs: Mapping[str, str], sink: Sink | None = None) -> Values:
    """The typed attributes of an exporter; call it before a build begins. Raises UsageError, UnsupportedError."""
    exporter = get(kind)
    values = parse(f"{exporter.type} exporter", exporter.attributes, attrs)
    exporter.check(values, sink)
    return values
