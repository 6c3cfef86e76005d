"""A request to a front end, with everything that the front end had looked up and solved: the scope of a provenance.

The scopes are those of BuildKit's `provenanceBridge`: a result belongs to the front end that solved it, which need not
be the one that the user's request named.
"""

from __future__ import annotations

from collections.abc import Mapping

from ....attest.capture import ImageMaterial
from ....dockerfile.metadata import ImageResolver, ResolvedImage
from ....llb.ops import Edge
from ....oci.platform import Platform

_LAYOUT = "oci-layout://"


class Scope:
    """One request. It is also the resolver of its front end, and remembers the images that were asked for."""

    def __init__(
        self, frontend: str, attrs: Mapping[str, str], resolver: ImageResolver, *, has_inputs: bool = False
    ) -> None:
        self.frontend = frontend
        self.attrs = attrs
        self.has_inputs = has_inputs
        """Whether another front end passed file systems, which a provenance does not describe."""
        self._resolver = resolver
        self._edges: list[Edge] = []
        self._images: list[ImageMaterial] = []
        self._inner: list[Scope] = []

    def within(
        self, frontend: str, attrs: Mapping[str, str], resolver: ImageResolver, *, has_inputs: bool = False
    ) -> Scope:
        """Return the request that this front end makes of another one."""
        inner = Scope(frontend, attrs, resolver, has_inputs=has_inputs)
        self._inner.append(inner)
        return inner

    def solved(self, *edges: Edge) -> None:
        """Remember graphs that the front end had solved."""
        self._edges.extend(edges)

    def resolve(self, ref: str, platform: Platform, name: str = "") -> ResolvedImage:
        """See ImageResolver."""
        image = self._resolver.resolve(ref, platform, name)
        self.add_image(image, platform)
        return image

    def add_image(self, image: ResolvedImage, platform: Platform | None) -> None:
        """Remember an image; `platform` is None if the front end did not name one."""
        if not image.ref.startswith(_LAYOUT):  # whose material is the source of the graph
            self._images.append(ImageMaterial(image.ref, platform, image.digest))

    @property
    def edges(self) -> list[Edge]:
        """The graphs solved for the front end and for those that it asked in turn."""
        return [*self._edges, *(edge for inner in self._inner for edge in inner.edges)]

    @property
    def images(self) -> list[ImageMaterial]:
        """The images looked up for the front end and for those that it asked in turn."""
        return [*self._images, *(image for inner in self._inner for image in inner.images)]
