"""Compressed layers whose bytes are needed: those that were garbage-collected are made or fetched again."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from ..cancel import Cancel
from ..errors import BuildError, ExportError, Interrupted
from ..oci.descriptor import Descriptor
from ..oci.reference import Reference
from ..session import Auth
from ..status.report import StepReport, VertexReport
from ..store import Compressed, Store
from .compression import pack_again

if TYPE_CHECKING:
    from ..oci.remote.registry import Registry


class PackedBlobs:
    """The blobs of a store's images, wherever their bytes are."""

    def __init__(self, store: Store, auth: Auth | None, cancel: Cancel, progress: VertexReport | None = None) -> None:
        self._store = store
        self._auth = auth
        self._cancel = cancel
        self._progress = progress

    def open(self, digest: str) -> BinaryIO:
        """Return the blob. Raises ExportError when it is neither here nor at its origin."""
        if not self._store.blobs.has(digest):
            if self._progress is None:
                self._bring(digest, None)
            else:
                with self._progress.step(f"fetching {digest}") as step:
                    self._bring(digest, step)
        return self._store.blobs.open(digest)

    def _bring(self, digest: str, step: StepReport | None) -> None:
        diff_id = self._store.compressed.diff_id(digest)
        forms = self._store.compressed.get(diff_id, missing_ok=True) if diff_id else []
        form = next((form for form in forms if form.digest == digest), None)
        if diff_id is None or form is None:
            self._store.blobs.size(digest)  # raises
            return None
        if pack_again(self._store, diff_id, form, self._cancel):
            return None
        failed: BuildError | None = None
        for ref in self._store.compressed.places(form):
            try:
                return self._fetch(ref, form, step)
            except Interrupted:
                raise
            except BuildError as error:
                failed = error
        raise ExportError(
            f"The compressed layer {digest} was collected, and cannot be fetched again: "
            f"{failed.message if failed else 'it has no known origin.'}",
            hint="Build with --pull when the registry can be reached, or with force-compression=true to compress it "
            "again.",
        )

    def _fetch(self, ref: Reference, form: Compressed, step: StepReport | None) -> None:
        descriptor = Descriptor(form.media_type, form.digest, form.size)
        with (
            _registry(self._auth) as registry,
            registry.blob(ref, descriptor, self._cancel) as reader,
            self._store.blobs.ingest() as ingest,
        ):
            while data := reader.read(1 << 20):
                ingest.write(data)
                if step is not None:
                    step.update(ingest.size, form.size)
            ingest.commit(form.digest, form.size)


def _registry(auth: Auth | None) -> Registry:
    from ..oci.remote.hosts import RegistrySettings
    from ..oci.remote.registry import Registry

    return Registry(auth, RegistrySettings.from_environment())
