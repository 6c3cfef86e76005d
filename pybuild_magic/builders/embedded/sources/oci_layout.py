"""OCI image layouts as sources, `oci-layout://`: a directory or a tar on the user's machine, or a docker archive."""

from __future__ import annotations

from ....cancel import Cancel
from ....errors import SourceError
from ....images.places import BlobsPlace, Found, Place, find_image
from ....images.pull import fetch_layers
from ....llb.ops import SourceOp
from ....oci import reference
from ....oci.archive import open_images
from ....oci.blobs import read
from ....oci.descriptor import Descriptor
from ....oci.digest import is_digest
from ....oci.layout import find
from ....oci.manifest import media_type_of
from ....oci.platform import Platform
from ....portable import kind_of, user_path
from ....status.report import VertexReport
from ....store import Store
from .context import SourceContext, image_key, platform_of

_STORE = "oci.store"


class LayoutSource:
    """`oci-layout://NAME@DIGEST` with the attribute `oci.store`: `PATH[:TAG][@DIGEST]`."""

    def __init__(self, op: SourceOp, platform: str, context: SourceContext) -> None:
        self._op = op
        self._platform = platform
        self._context = context
        self._found: tuple[Found, Place] | None = None

    def key(self, progress: VertexReport) -> str:  # noqa: ARG002 - it is read from a local file
        """By the layers, as that of an image from anywhere else. See Source."""
        return image_key(self._find()[0].diff_ids)

    def snapshot(self, progress: VertexReport) -> tuple[str, ...]:
        """See Source."""
        found, place = self._find()
        return fetch_layers(self._context.store, place, found, self._context.cancel, progress)

    def _find(self) -> tuple[Found, Place]:
        if self._found is None:
            ref = reference.parse(self._op.identifier.partition("://")[2])
            path, _, _ = split_layout(self._op.attrs.get(_STORE, ""))
            spec = f"{path}@{ref.digest}" if ref.digest else self._op.attrs.get(_STORE, "")
            platform = platform_of(self._platform)
            self._found = find_in_layout(self._context.store, spec, platform, self._context.cancel)
        return self._found


def split_layout(spec: str) -> tuple[str, str, str]:
    """(path, tag, digest) of `PATH[:TAG][@DIGEST]`, as in buildx's `--build-context name=oci-layout://…`."""
    path, at, digest = spec.rpartition("@")
    if not at or not is_digest(digest):
        path, digest = spec, ""
    head, colon, tag = path.rpartition(":")
    if colon and "/" not in tag and not kind_of(user_path(path)):
        return head, tag, digest
    return path, "", digest


def find_in_layout(store: Store, spec: str, platform: Platform, cancel: Cancel) -> tuple[Found, Place]:
    """The image of a layout or archive, and the place its layers are in. Raises SourceError."""
    path, tag, digest = split_layout(spec)
    images = open_images(user_path(path))
    place = BlobsPlace(images)
    if not digest:
        return find_image(store, place, find(images.index(), tag), platform, cancel), place
    if not images.has(digest) or (size := images.size(digest)) is None:
        raise SourceError(f"{path} has no image {digest}.")
    data = read(images, Descriptor("", digest, size))
    return find_image(store, place, Descriptor(media_type_of(data), digest, len(data)), platform, cancel), place
