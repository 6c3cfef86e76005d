"""Layers that a build knows about and leaves where they are until something reads them.

Layers of a base image stay in a registry: copying with `--link` onto a base and pushing the result back there needs no
file of the base (BuildKit calls it a lazy base). Layers of a cache stay there too: most builds need only the last ones.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec

from ....cache.imported import CachedLayer, CacheLayersError, ImportedCache
from ....cancel import Cancel
from ....errors import SourceError
from ....images.places import Found, Place
from ....images.pull import check_layer, fetch_missing, form_of
from ....oci.descriptor import Descriptor
from ....oci.reference import Reference
from ....status.report import VertexReport
from ....store import Compressed, Store


class _Left(msgspec.Struct, frozen=True):
    """A layer that was left where it is."""

    layer: Descriptor
    place: Place
    report: VertexReport
    ref: Reference | None = None
    """Its repository, if it is in a registry."""
    cache: str = ""
    """The name of the cache that should have it; "" for an image's layer."""


class RemoteLayers:
    """The remote layers of one build. Safe to use from several threads."""

    def __init__(self, store: Store, cancel: Cancel) -> None:
        self._store = store
        self._cancel = cancel
        self._left: dict[str, _Left] = {}
        self._lock = threading.Lock()

    def leave(self, image: Found, place: Place, ref: Reference, report: VertexReport) -> bool:
        """Leave the layers of an image that the store lacks; return whether there are any. Raises SourceError."""
        missing = {
            diff_id: layer
            for diff_id, layer in zip(image.diff_ids, image.manifest.layers, strict=True)
            if not self._store.has_layer(diff_id)
        }
        for diff_id, layer in missing.items():
            check_layer(diff_id, layer)
            self._left[diff_id] = _Left(layer, place, report, ref)
        return bool(missing)

    def leave_cached(self, layers: Sequence[CachedLayer], cache: ImportedCache) -> None:
        """Leave the layers of a cache that the store lacks."""
        for layer in layers:
            if not self._store.has_layer(layer.diff_id):
                left = _Left(layer.descriptor, cache.place, cache.report, cache.ref, cache.name)
                self._left.setdefault(layer.diff_id, left)

    def form(self, diff_id: str) -> Compressed | None:
        """Return the form of a layer that was left; None for other layers."""
        left = self._left.get(diff_id)
        return None if left is None or self._store.has_layer(diff_id) else form_of(left.layer)

    def repositories(self, digest: str, domain: str) -> list[str]:
        """Return the repositories of the registry `domain` in which a blob was left."""
        refs = (left.ref for left in self._left.values() if left.layer.digest == digest and left.ref is not None)
        return list(dict.fromkeys(ref.path for ref in refs if ref.domain == domain))

    def bring(self, diff_ids: Sequence[str]) -> None:
        """Fetch the layers of a snapshot that were left, shown as activity of their image or cache.

        Raises SourceError, StoreError; CacheLayersError for layers that a cache turns out not to have.
        """
        if not any(self.form(diff_id) for diff_id in diff_ids):
            return
        with self._lock:
            missing = [(diff_id, self._left[diff_id]) for diff_id in diff_ids if self.form(diff_id) is not None]
            for place in {id(left.place): left for _, left in missing}.values():
                self._fetch(place, [(diff_id, left.layer) for diff_id, left in missing if left.place is place.place])

    def _fetch(self, left: _Left, layers: Sequence[tuple[str, Descriptor]]) -> None:
        failure: SourceError | None = None
        with left.report:
            try:
                fetch_missing(self._store, left.place, layers, self._cancel, left.report)
            except SourceError as error:
                if not left.cache:
                    raise
                failure = error
        if failure is not None:
            raise CacheLayersError(left.cache, failure) from failure

    def bring_blob(self, digest: str) -> None:
        """Fetch the layer of a blob, if it was left."""
        self.bring([diff_id for diff_id, left in self._left.items() if left.layer.digest == digest])
