"""Reading of caches: their records at once, their layers when they are needed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from ..cancel import Cancel
from ..errors import SourceError
from ..exporters.attributes import Values
from ..golang.json import check_nesting
from ..images.places import BlobsPlace, Place, RegistryPlace, read_blob
from ..oci import config as image_config
from ..oci import reference
from ..oci.blobs import read
from ..oci.descriptor import Descriptor
from ..oci.digest import is_digest
from ..oci.layout import Layout, find
from ..oci.manifest import MAX_DOCUMENT, Manifest, decode_index, decode_manifest, media_type_of
from ..oci.mediatype import INDEXES, compression_of
from ..oci.reference import Reference
from ..oci.remote.registry import Registry
from ..portable import user_path
from ..status.report import VertexReport
from ..store import Store
from .imported import CachedLayer, ImportedCache, described_layer, moment
from .records import MAX_CONFIG, MEDIA_TYPE, Record, decode_config, decode_inline

_MOST_IMAGES = 32
"""The most images of an index that are searched for caches."""


class _Opened(msgspec.Struct, frozen=True):
    """The manifest of a cache, or of an image that may contain one, and the place of its blobs."""

    place: Place
    data: bytes
    manifest: Callable[[Descriptor], bytes]
    """Reads another manifest."""
    has: Callable[[Descriptor], bool]
    """Whether a layer exists, as far as that can be told without reading it."""
    ref: Reference | None = None


def cache_name(kind: str, values: Values) -> str:
    """Return the name of a cache for users."""
    return reference.parse(values["ref"]).tagged().familiar if kind == "registry" else values["src"]


def read_cache(
    kind: str, values: Values, registry: Registry | None, store: Store, report: VertexReport, cancel: Cancel
) -> list[ImportedCache]:
    """Return the caches named by a `--cache-from`: one, or those in the configs of images.

    A directory that does not exist yet has none. `registry` is the client for a cache of `type=registry`; it must stay
    open for the layers.

    Nothing is stored. Raises SourceError for a cache that does not exist or is invalid.
    """
    opened = _open_layout(values) if registry is None else _open_registry(values, registry, store, cancel)
    if opened is None:
        return []
    name = cache_name(kind, values)

    def imported(contents: tuple[list[Record], dict[str, CachedLayer]]) -> ImportedCache:
        return ImportedCache(name, *contents, opened.place, report, opened.ref)

    if media_type_of(opened.data) not in INDEXES:
        manifest = decode_manifest(opened.data)
        if manifest.config.media_type == MEDIA_TYPE:
            return [imported(_whole(opened, manifest.config, manifest.layers, cancel))]
        images = [opened.data]
    else:
        entries = decode_index(opened.data).manifests
        config = next((entry for entry in entries if entry.media_type == MEDIA_TYPE), None)
        if config is not None:
            return [imported(_whole(opened, config, entries, cancel))]
        images = [opened.manifest(entry) for entry in entries[:_MOST_IMAGES] if entry.media_type not in INDEXES]
    inline = [_inline(opened, decode_manifest(data), cancel) for data in images]
    caches = [imported(contents) for contents in inline if contents is not None]
    if not caches:
        raise SourceError(f"{name} is neither a cache nor an image with a cache in its config.")
    return caches


def _open_registry(values: Values, registry: Registry, store: Store, cancel: Cancel) -> _Opened:
    ref = reference.parse(values["ref"]).tagged()

    def manifest(descriptor: Descriptor) -> bytes:
        return registry.manifest(ref.with_digest(descriptor.digest), cancel).data

    place = RegistryPlace(registry, ref, store, cancel)
    return _Opened(place, registry.manifest(ref, cancel).data, manifest, lambda _: True, ref)


def _open_layout(values: Values) -> _Opened | None:
    path = user_path(values["src"])
    if not path.exists():
        return None
    layout = Layout(path)
    digest: str = values["digest"]
    size = layout.size(digest) if digest else None
    if digest and size is None:
        raise SourceError(f"{values['src']} has no cache {digest}.")
    descriptor = Descriptor("", digest, size) if size is not None else find(layout.index(), values["tag"])
    place = BlobsPlace(layout)
    return _Opened(
        place, read(layout, descriptor), lambda other: read(layout, other), lambda blob: _is_in(layout, blob)
    )


def _is_in(layout: Layout, descriptor: Descriptor) -> bool:
    return layout.size(descriptor.digest) == descriptor.size


def _whole(
    opened: _Opened, config: Descriptor, layers: tuple[Descriptor, ...], cancel: Cancel
) -> tuple[list[Record], dict[str, CachedLayer]]:
    """Return the records and layers of a standalone cache."""
    records = decode_config(read_blob(opened.place, config, cancel, MAX_CONFIG))
    known = [layer for row in layers if (layer := described_layer(row)) is not None and opened.has(row)]
    return records, {layer.descriptor.digest: layer for layer in known}


def _inline(opened: _Opened, manifest: Manifest, cancel: Cancel) -> tuple[list[Record], dict[str, CachedLayer]] | None:
    """Return the records in an image's config, with the image's layers; None for an image without records."""
    data = read_blob(opened.place, manifest.config, cancel, MAX_DOCUMENT)
    check_nesting(data, f"The config {manifest.config.digest}")
    try:
        text = msgspec.json.decode(data, type=dict[str, Any]).get(image_config.INLINE_CACHE)
        encoded = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (msgspec.DecodeError, UnicodeError, binascii.Error) as error:
        raise SourceError(f"The config {manifest.config.digest} cannot be read: {error}.") from error
    if not encoded:
        return None
    config = image_config.decode(data)
    diff_ids = config.rootfs.diff_ids
    layers = manifest.layers
    if len(diff_ids) != len(layers) or not all(map(is_digest, diff_ids)):
        raise SourceError(f"The config {manifest.config.digest} does not match the layers of its manifest.")
    entries = [entry for entry in config.history if not entry.empty_layer]
    known: dict[str, CachedLayer] = {}
    for number, (diff_id, layer) in enumerate(zip(diff_ids, layers, strict=True)):
        if compression_of(layer.media_type) is not None:
            created, by = (entries[number].created, entries[number].created_by) if number < len(entries) else ("", "")
            known[layer.digest] = CachedLayer(diff_id, layer, moment(created), by)
    return decode_inline(encoded, [layer.digest for layer in layers]), known
