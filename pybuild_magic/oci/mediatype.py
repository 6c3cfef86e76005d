"""Media types of images, as the OCI image spec and Docker's schema 2 name them, and how they correspond."""

from __future__ import annotations

from enum import StrEnum

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER}+gzip"
OCI_LAYER_ZSTD = f"{OCI_LAYER}+zstd"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_FOREIGN_GZIP = f"{OCI_FOREIGN}+gzip"
OCI_FOREIGN_ZSTD = f"{OCI_FOREIGN}+zstd"

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = f"{DOCKER_LAYER}.gzip"
DOCKER_LAYER_ZSTD = f"{DOCKER_LAYER}.zstd"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_GZIP = f"{DOCKER_FOREIGN}.gzip"

IN_TOTO = "application/vnd.in-toto+json"
EMPTY = "application/vnd.oci.empty.v1+json"
ATTESTATION_ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})


class Compression(StrEnum):
    """How a layer's tar is packed, with the names of BuildKit's `compression` attribute."""

    UNCOMPRESSED = "uncompressed"
    GZIP = "gzip"
    ZSTD = "zstd"


_PAIRS: tuple[tuple[str, str, Compression], ...] = (
    (OCI_LAYER, DOCKER_LAYER, Compression.UNCOMPRESSED),
    (OCI_LAYER_GZIP, DOCKER_LAYER_GZIP, Compression.GZIP),
    (OCI_LAYER_ZSTD, DOCKER_LAYER_ZSTD, Compression.ZSTD),
    (OCI_FOREIGN, DOCKER_FOREIGN, Compression.UNCOMPRESSED),
    (OCI_FOREIGN_GZIP, DOCKER_FOREIGN_GZIP, Compression.GZIP),
)
_TO_OCI = {docker: oci for oci, docker, _ in _PAIRS}
_TO_DOCKER = {oci: docker for oci, docker, _ in _PAIRS}
_COMPRESSION = {
    **{oci: kind for oci, _, kind in _PAIRS},
    **{docker: kind for _, docker, kind in _PAIRS},
    OCI_FOREIGN_ZSTD: Compression.ZSTD,
}
_DISTRIBUTABLE = {
    OCI_FOREIGN: OCI_LAYER,
    OCI_FOREIGN_GZIP: OCI_LAYER_GZIP,
    OCI_FOREIGN_ZSTD: OCI_LAYER_ZSTD,
    DOCKER_FOREIGN: DOCKER_LAYER,
    DOCKER_FOREIGN_GZIP: DOCKER_LAYER_GZIP,
}


def is_layer(media_type: str) -> bool:
    """Return whether blobs of this type are tars of a file system's changes."""
    return media_type in _COMPRESSION


def is_foreign(media_type: str) -> bool:
    """Return whether blobs of this type must not be pushed ("non-distributable", as some of Windows' are)."""
    return media_type in _DISTRIBUTABLE


def compression_of(media_type: str) -> Compression | None:
    """Return the compression of a layer of this type; None for a type of anything else."""
    return _COMPRESSION.get(media_type)


def layer_type(compression: Compression, *, oci: bool = True) -> str:
    """Return the media type of a layer with this compression."""
    return next(o if oci else d for o, d, kind in _PAIRS if kind is compression)


def as_oci(media_type: str) -> str:
    """Return the OCI name of a layer's media type; another type is returned as it is."""
    return _TO_OCI.get(media_type, media_type)


def as_docker(media_type: str) -> str:
    """Return the Docker name of a layer's media type; another type is returned as it is."""
    return _TO_DOCKER.get(media_type, media_type)


def distributable(media_type: str) -> str:
    """Return the media type under which a non-distributable layer is distributed; others as they are."""
    return _DISTRIBUTABLE.get(media_type, media_type)
