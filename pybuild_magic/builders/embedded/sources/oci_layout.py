"""OCI image layouts as sources (`oci-layout://`): a directory or a tar on the user's machine, or a docker archive."""

from __future__ import annotations

from ....cache.keys import image_names
from ....images.layout import find_in_layout, split_layout
from ....images.places import Found, Place
from ....images.pull import fetch_layers
from ....llb.ops import SourceOp
from ....llb.sourcepolicy import Update
from ....oci import reference
from ....status.report import VertexReport
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
        """Return a key made of the layers, like that of any image. See Source."""
        return image_key(self._find()[0].diff_ids)

    def pin(self, progress: VertexReport) -> Update:  # noqa: ARG002 - it is read from a local file
        """Return the source unchanged: a layout has no pin, since it is on the user's disk. See Source."""
        return Update(self._op.identifier)

    def names(self) -> tuple[str, ...]:
        """Return the same names as for any image. See Source."""
        image, _ = self._find()
        return image_names(image.root.digest, self._platform, image.diff_ids)

    def snapshot(self, progress: VertexReport) -> tuple[str, ...]:
        """See Source."""
        image, place = self._find()
        return fetch_layers(self._context.store, place, image, self._context.cancel, progress)

    @property
    def revision(self) -> str:
        """See Source."""
        return self._find()[0].root.digest

    def _find(self) -> tuple[Found, Place]:
        if self._found is None:
            ref = reference.parse(self._op.identifier.partition("://")[2])
            path, _, _ = split_layout(self._op.attrs.get(_STORE, ""))
            spec = f"{path}@{ref.digest}" if ref.digest else self._op.attrs.get(_STORE, "")
            platform = platform_of(self._platform)
            self._found = find_in_layout(self._context.store, spec, platform, self._context.cancel)
        return self._found
