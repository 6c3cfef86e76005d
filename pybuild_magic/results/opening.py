"""Images opened by name rather than built: those of the store, and archives and layouts of the disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import FAILED, StoreError, UsageError, nearest
from ..images.archive import open_images
from ..images.describe import inspect_image
from ..oci import reference
from ..oci.blobs import read
from ..oci.descriptor import CONTAINERD_NAME, REF_NAME, Descriptor
from ..request.outputs import Output
from ..store import Store
from ..summary import ImageSummary, LayerSummary, ManifestSummary
from .contents import Contents


def stored_name(store: Store, ref: str) -> str:
    """Return the full name of an image of the store.

    Raises StoreError, which suggests the most similar name, when there is no such image, and UsageError when `ref` is
    not a name.
    """
    if ref.startswith(FAILED):
        raise UsageError(
            f"{ref[:200]} is what a failed step left, and no image.",
            hint=f"`%build run {ref[:200]} sh` opens a shell in it; with --commit NAME, that makes an image.",
        )
    if re.fullmatch(r"\$\w+", ref):
        raise UsageError(
            f"There is no variable {ref[1:]}.", hint="A build that fails sets none. `%build images` lists the images."
        )
    name = str(reference.parse(ref).tagged())
    known = [record.name for record in store.images.list()]
    if name not in known:
        suggestion = nearest(_short(name), [_short(stored) for stored in known])
        raise StoreError(
            f"The image {ref[:200]} is not in the store.",
            hint=f"Did you mean {suggestion}?" if suggestion else "%build images lists them.",
        )
    return name


def _short(name: str) -> str:
    """Return a name as people write it, in which a tag that all have makes nothing similar."""
    return reference.parse(name).familiar.removesuffix(":latest")


def stored_image(store: Store, ref: str) -> Contents:
    """Open an image of the store by its name. Raises the same errors as `stored_name`."""
    name = stored_name(store, ref)
    record = store.images.get(name)
    if record is None:
        raise StoreError(f"The store no longer has an image {ref[:200]}.")
    return opened_image(store, record.descriptor.digest, (name,))


def opened_image(store: Store, digest: str, names: tuple[str, ...] = ()) -> Contents:
    """Open the image of the store whose manifest or index has this digest. Raises SourceError and StoreError."""
    return Contents(store, inspect_image(store.blobs.read, digest, names), read_blob=store.blobs.read)


def bare_manifest(diff_ids: Sequence[str], platform: str = "", digest: str = "") -> ManifestSummary:
    """Return a manifest with only what is needed to find its layers."""
    layers = (LayerSummary(digest=diff_id, media_type="", size=0, diff_id=diff_id) for diff_id in diff_ids)
    return ManifestSummary(
        digest=digest,
        media_type="",
        size=0,
        platform=platform,
        config_digest="",
        config_media_type="",
        config_size=0,
        config={},
        layers=tuple(layers),
    )


def opened_layers(store: Store, manifests: tuple[ManifestSummary, ...], name: str = "") -> Contents:
    """Open layers of the store that belong to no image, or to an image whose documents are elsewhere."""
    names = (name,) if name else ()
    image = ImageSummary(names=names, digest="", media_type="", size=0, manifests=manifests)
    return Contents(store, image, read_blob=store.blobs.read)


def archived_image(store: Store, path: Path) -> Contents:
    """Open the first image of an archive or a layout. The file stays open until `close`. Raises SourceError."""
    images = open_images(path)
    try:
        entries = images.index().manifests
        if not entries:
            raise UsageError(f"{path.name} has no image.")
        root = entries[0]

        def blob(digest: str) -> bytes:
            size = images.size(digest)
            if size is None:
                raise StoreError(f"{path.name} has no blob {digest[:19]}.")
            return read(images, Descriptor("", digest, size))

        name = root.annotations.get(CONTAINERD_NAME) or root.annotations.get(REF_NAME, "")
        image = inspect_image(blob, root.digest, (name,) if name else ())
    except BaseException:
        images.close()
        raise
    output = Output("oci", dest=str(path))
    return Contents(store, image, [(output, path.absolute())], blob, on_close=images.close)
