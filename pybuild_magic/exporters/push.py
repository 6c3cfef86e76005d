"""Pushes of an assembled image to a registry: first the missing blobs, then the manifests."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from ..oci.descriptor import Descriptor
from ..oci.manifest import Manifest, decode_manifest
from ..oci.mediatype import is_foreign
from ..oci.reference import Reference
from ..session import Auth
from ..status.report import StepReport
from . import ExportContext
from .assemble import AssembledImage

if TYPE_CHECKING:
    from ..oci.remote.registry import Registry

_AT_ONCE = 4
"""Blobs that are sent to a registry at the same time, as in BuildKit."""


def push_image(image: AssembledImage, ref: Reference, context: ExportContext, *, insecure: bool = False) -> None:
    """Push `image` as `ref`, or by its digest when `ref` has no tag. Raises ExportError, Interrupted.

    Steps are `pushing layers` and `pushing manifest for NAME@DIGEST`.
    """
    with registry_for(context.session.auth, ref, insecure=insecure) as registry:
        with context.progress.step("pushing layers") as step:
            push_blobs(registry, ref, list(_blobs(image)), context, step)
        whole = ref.with_digest(image.root.digest) if ref.tag else ref
        with context.progress.step(f"pushing manifest for {whole}"):
            for descriptor in (*(descriptor for _, _, descriptor in image.manifests), *image.attestations):
                if descriptor.digest != image.root.digest:
                    untagged = Reference(ref.domain, ref.path)
                    registry.push_manifest(untagged, descriptor, image.documents[descriptor.digest], context.cancel)
            registry.push_manifest(ref, image.root, image.documents[image.root.digest], context.cancel)


def push_blobs(
    registry: Registry, ref: Reference, blobs: Sequence[Descriptor], context: ExportContext, step: StepReport
) -> None:
    """Push blobs into the repository of `ref`, shown by `step`. Raises ExportError, Interrupted.

    Blobs that the repository has are not sent; blobs in another repository of the registry are mounted from it.
    """
    total, lock = sum(blob.size for blob in blobs), threading.Lock()
    sent = dict.fromkeys((blob.digest for blob in blobs), 0)

    def progress(digest: str, count: int) -> None:
        with lock:
            sent[digest] = count
            step.update(sum(sent.values()), total)

    def push(blob: Descriptor) -> None:
        registry.push_blob(
            ref,
            blob,
            lambda: open_blob(context, blob),
            context.cancel,
            progress=partial(progress, blob.digest),
            mount_from=_siblings(context, blob, ref),
        )
        progress(blob.digest, blob.size)
        context.store.compressed.seen_in(blob.digest, ref.domain, ref.path)

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="push") as pool:
        futures = [pool.submit(push, blob) for blob in blobs]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def registry_for(auth: Auth | None, ref: Reference, *, insecure: bool) -> Registry:
    """Return a client for the registry of `ref`, with a session's credentials."""
    from ..oci.remote.hosts import RegistrySettings
    from ..oci.remote.registry import Registry

    settings = RegistrySettings.from_environment()
    if insecure:
        settings = msgspec.structs.replace(settings, insecure=settings.insecure | {ref.domain})
    return Registry(auth, settings)


def _blobs(image: AssembledImage) -> Iterator[Descriptor]:
    """Return configs and layers, each once; non-distributable layers stay where they are."""
    seen: set[str] = set()
    attested = (decode_manifest(image.documents[entry.digest]) for entry in image.attestations)
    for manifest in (*(manifest for _, manifest, _ in image.manifests), *attested):
        for blob in _of(manifest):
            if blob.digest not in seen and not is_foreign(blob.media_type):
                seen.add(blob.digest)
                yield blob


def _of(manifest: Manifest) -> tuple[Descriptor, ...]:
    return (*manifest.layers, manifest.config)


def open_blob(context: ExportContext, blob: Descriptor) -> BinaryIO:
    """Return the content of a blob, fetched first if it was left in another registry."""
    if context.remote is not None:
        context.remote.bring_blob(blob.digest)
    return context.packed.open(blob.digest)


def _siblings(context: ExportContext, blob: Descriptor, ref: Reference) -> list[Reference]:
    """Return repositories in the same registry that are known to have the blob."""
    paths = context.store.compressed.repositories(blob.digest, ref.domain)
    if context.remote is not None:
        paths = list(dict.fromkeys([*context.remote.repositories(blob.digest, ref.domain), *paths]))
    return [Reference(ref.domain, path) for path in paths]
