"""Images in OCI layouts and archives on this machine, named `PATH[:TAG][@DIGEST]`."""

from __future__ import annotations

from ..cancel import Cancel
from ..errors import SourceError
from ..oci.blobs import read
from ..oci.descriptor import Descriptor
from ..oci.digest import is_digest
from ..oci.manifest import media_type_of
from ..oci.platform import Platform
from ..portable import kind_of, looks_like_path, user_path
from ..store import Store
from .places import BlobsPlace, Found, Place, find_image

SCHEME = "oci-layout://"


def place_on_disk(ref: str) -> str:
    """Return `PATH[:TAG][@DIGEST]` for an image given by its place; "" for one given by name."""
    if ref.startswith(SCHEME):
        return ref.removeprefix(SCHEME)
    return ref if looks_like_path(ref) else ""


def split_layout(spec: str) -> tuple[str, str, str]:
    """Split `PATH[:TAG][@DIGEST]` into (path, tag, digest), as buildx does for `--build-context
    name=oci-layout://…`.
    """
    path, at, digest = spec.rpartition("@")
    if not at or not is_digest(digest):
        path, digest = spec, ""
    head, colon, tag = path.rpartition(":")
    if colon and "/" not in tag and not kind_of(user_path(path)):
        return head, tag, digest
    return path, "", digest


def find_in_layout(store: Store, spec: str, platform: Platform, cancel: Cancel) -> tuple[Found, Place]:
    """Return the image of a layout or archive, and the place of its layers. Raises SourceError."""
    from ..oci.layout import find
    from .archive import open_images

    path, tag, digest = split_layout(spec)
    images = open_images(user_path(path))
    place = BlobsPlace(images)
    if not digest:
        return find_image(store, place, find(images.index(), tag), platform, cancel), place
    if not images.has(digest) or (size := images.size(digest)) is None:
        raise SourceError(f"{path} has no image {digest}.")
    data = read(images, Descriptor("", digest, size))
    return find_image(store, place, Descriptor(media_type_of(data), digest, len(data)), platform, cancel), place
