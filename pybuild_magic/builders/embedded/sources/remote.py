"""Layers of base images that a build knows of and leaves where they are, in a registry, until something reads them.

What is copied with `--link` onto a base and pushed back to that registry needs no file of the base: BuildKit calls it
a lazy base.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec

from ....cancel import Cancel
from ....images.places import Found, Place
from ....images.pull import check_layer, fetch_layers, form_of
from ....oci.descriptor import Descriptor
from ....oci.reference import Reference
from ....status.report import VertexReport
from ....store import Compressed, Store


class _Left(msgspec.Struct, frozen=True):
    """A layer that was left in a registry."""

    layer: Descriptor
    found: Found
    place: Place
    ref: Reference
    report: VertexReport


class RemoteLayers:
    """Those of one build. For any number of threads."""

    def __init__(self, store: Store, cancel: Cancel) -> None:
        self._store = store
        self._cancel = cancel
        self._left: dict[str, _Left] = {}
        self._lock = threading.Lock()

    def leave(self, found: Found, place: Place, ref: Reference, report: VertexReport) -> bool:
        """Leave the layers of an image that the store does not have; whether there are any. Raises SourceError."""
        missing = {
            diff_id: layer
            for diff_id, layer in zip(found.diff_ids, found.manifest.layers, strict=True)
            if not self._store.has_layer(diff_id)
        }
        for diff_id, layer in missing.items():
            check_layer(diff_id, layer)
            self._left[diff_id] = _Left(layer, found, place, ref, report)
        return bool(missing)

    def form(self, diff_id: str) -> Compressed | None:
        """The form in which a registry has a layer that was left there; None for any other."""
        left = self._left.get(diff_id)
        return None if left is None or self._store.has_layer(diff_id) else form_of(left.layer)

    def repositories(self, digest: str, domain: str) -> list[str]:
        """The repositories of the registry `domain` in which a blob was left."""
        found = (left.ref for left in self._left.values() if left.layer.digest == digest)
        return list(dict.fromkeys(ref.path for ref in found if ref.domain == domain))

    def bring(self, diff_ids: Sequence[str]) -> None:
        """Fetch what was left of a snapshot, shown as its image at work. Raises SourceError, StoreError."""
        if not any(self.form(diff_id) for diff_id in diff_ids):
            return
        with self._lock:
            for diff_id in diff_ids:
                if self.form(diff_id) is None:
                    continue
                left = self._left[diff_id]
                with left.report:
                    fetch_layers(self._store, left.place, left.found, self._cancel, left.report)

    def bring_blob(self, digest: str) -> None:
        """Fetch the layer of a blob, if it was left."""
        self.bring([diff_id for diff_id, left in self._left.items() if left.layer.digest == digest])
