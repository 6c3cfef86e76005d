"""Layers of an image on their way into the store: several at once, unpacked and indexed as they arrive."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

from ..cancel import Cancel
from ..errors import Interrupted, SourceError
from ..oci.descriptor import Descriptor
from ..oci.digest import is_digest
from ..oci.mediatype import OCI_FOREIGN, OCI_LAYER, Compression, compression_of
from ..status.report import VertexReport
from ..store import Compressed, Ingest, Layer, Store, import_tar
from ..store.decompress import LAYERS, Readable
from .places import Found, Place, Stream

_AT_ONCE = 4
"""The most layers that are read at once; more do not speed up a single network connection or two processors."""


def fetch_layers(
    store: Store, place: Place, image: Found, cancel: Cancel, progress: VertexReport | None = None
) -> tuple[str, ...]:
    """Fetch missing layers of the image into the store; return the snapshot. See `fetch_missing`."""
    fetch_missing(store, place, zip(image.diff_ids, image.manifest.layers, strict=True), cancel, progress)
    return image.diff_ids


def fetch_missing(
    store: Store,
    place: Place,
    layers: Iterable[tuple[str, Descriptor]],
    cancel: Cancel,
    progress: VertexReport | None = None,
) -> None:
    """Fetch missing layers, given by their diffIDs, into the store.

    The compressed form of each is kept too, linked to its diffID, so that a push or an export uses the same blob. The
    first failure stops the others. Raises SourceError, StoreError and Interrupted.
    """
    missing: dict[str, Descriptor] = {}  # a layer that is in an image twice is fetched once
    for diff_id, layer in layers:
        check_layer(diff_id, layer)
        if not store.has_layer(diff_id):
            missing[diff_id] = layer
    if not missing:
        return
    scope = Cancel()
    with (
        cancel.on_cancel(scope.cancel),
        ThreadPoolExecutor(min(_AT_ONCE, len(missing)), "pybuild-pull", scope.bind) as pool,
    ):
        jobs = [
            pool.submit(_fetch, store, place, diff_id, layer, scope, progress) for diff_id, layer in missing.items()
        ]
        failure: BaseException | None = None
        for job in as_completed(jobs):
            error = job.exception()
            if error is not None and (failure is None or isinstance(failure, Interrupted)):
                failure = error
                scope.cancel()
    cancel.check()
    if failure is not None:
        raise failure


def check_layer(diff_id: str, layer: Descriptor) -> None:
    """Raise SourceError for a blob that is not a layer."""
    if compression_of(layer.media_type) is None:
        raise SourceError(
            f"The blob {layer.digest} has the type {layer.media_type} instead of a layer's: it cannot be part of a "
            "base image."
        )
    if not is_digest(diff_id):
        raise SourceError(f"The image's config names a layer by {diff_id!r}, which is not a digest.")


def _fetch(
    store: Store, place: Place, diff_id: str, layer: Descriptor, cancel: Cancel, progress: VertexReport | None
) -> None:
    cancel.check()
    if _unpack_own(store, diff_id, layer, cancel):
        return
    stream = place.blob(layer, cancel)
    try:
        if layer.digest == diff_id:
            size = _import(store, stream, diff_id, layer, cancel, progress).size
            if size != layer.size:
                raise SourceError(f"The layer {layer.digest} has {size} bytes instead of the announced {layer.size}.")
            store.compressed.put(diff_id, form_of(layer))
            return
        with store.blobs.ingest() as ingest:
            _import(store, _Copying(stream, layer, ingest), diff_id, layer, cancel, progress)
            ingest.commit(layer.digest, layer.size)
    finally:
        stream.close()
    store.compressed.put(diff_id, form_of(layer))


def _unpack_own(store: Store, diff_id: str, layer: Descriptor, cancel: Cancel) -> bool:
    """Unpack the layer from its blob, if the store has kept that."""
    if not store.blobs.has(layer.digest):
        return False
    with store.blobs.open(layer.digest) as stream:
        import_tar(store, stream, diff_id=diff_id, digest=layer.digest, packed=_packed(layer), cancel=cancel)
    store.compressed.put(diff_id, form_of(layer))
    return True


def _import(
    store: Store,
    stream: Readable,
    diff_id: str,
    layer: Descriptor,
    cancel: Cancel,
    progress: VertexReport | None,
) -> Layer:
    name, packed = f"The layer {layer.digest}", _packed(layer)
    if progress is None:
        return import_tar(store, stream, diff_id=diff_id, digest=layer.digest, name=name, packed=packed, cancel=cancel)
    with progress.step(f"extracting {layer.digest}"):
        return import_tar(
            store,
            stream,
            diff_id=diff_id,
            digest=layer.digest,
            name=name,
            packed=packed,
            cancel=cancel,
            on_progress=lambda count: progress.status(layer.digest, "", count, layer.size),
        )


def _packed(layer: Descriptor) -> frozenset[str]:
    """Return the possible compressions of a layer: as in containerd, only OCI's type of a plain tar is trusted."""
    return frozenset() if layer.media_type in (OCI_LAYER, OCI_FOREIGN) else LAYERS


def form_of(layer: Descriptor) -> Compressed:
    """Return the form of a layer in a manifest."""
    compression = compression_of(layer.media_type) or Compression.UNCOMPRESSED
    return Compressed(layer.media_type, layer.digest, layer.size, compression, layer.annotations)


class _Copying:
    """A stream that is also copied into `ingest` while it is read."""

    def __init__(self, stream: Stream, layer: Descriptor, ingest: Ingest) -> None:
        self._stream = stream
        self._layer = layer
        self._ingest = ingest

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self._ingest.write(data)
        if self._ingest.size > self._layer.size:
            raise SourceError(f"The blob {self._layer.digest} has more than its {self._layer.size} bytes.")
        return data
