"""The front end's look-ups of base images, which it needs before it can lower a stage."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import msgspec

from ..errors import BuildError, UsageError
from ..oci import config as image_config
from ..oci import reference
from ..oci.config import ImageConfig
from ..oci.platform import Platform

_AT_ONCE = 8
"""The most simultaneous requests to registries; each spends nearly all its time waiting for the network."""


class ImageRequest(msgspec.Struct, frozen=True):
    """An image to find: `docker.io/library/busybox:latest`, or `oci-layout://STORE[:tag][@digest]`."""

    ref: str
    platform: Platform | None
    """None stands for the builder's platform."""
    name: str
    """The vertex that shows it: `[internal] load metadata for …`."""


class ResolvedImage(msgspec.Struct, frozen=True, dict=True):
    """An image that was looked up."""

    ref: str
    """The normalised name; a policy or mirror may have changed it."""
    digest: str
    """The digest of the manifest or index; "" when the place has none."""
    config: bytes
    """The image's config, JSON."""

    @property
    def pinned(self) -> str:
        """The name with its digest, so that the build uses the image that was looked up."""
        if not self.digest or "@" in self.ref:
            return self.ref
        return str(reference.parse(self.ref).with_digest(self.digest))

    @cached_property
    def parsed(self) -> ImageConfig:
        """The parsed config. Raises SourceError when it is invalid."""
        return image_config.decode(self.config)


class ImageResolver(Protocol):
    """Looks up images: in the store, a registry, an OCI layout."""

    def resolve(self, ref: str, platform: Platform, name: str = "") -> ResolvedImage:
        """Return the image `ref` for `platform`; `name` is the vertex to show. Raises SourceError.

        Called from several threads at once.
        """
        ...


class Metadata:
    """Queries a resolver, several images at once and each image once."""

    def __init__(self, resolver: ImageResolver, default: Platform) -> None:
        self._resolver = resolver
        self._default = default
        self._known: dict[tuple[str, Platform], ResolvedImage | BuildError] = {}

    def fetch(self, requests: list[ImageRequest]) -> None:
        """Look up all of `requests`; errors are raised by `get`."""
        new = {self._key(request): request for request in requests}
        new = {key: request for key, request in new.items() if key not in self._known}
        if len(new) > 1:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(min(_AT_ONCE, len(new)), "pybuild-metadata") as pool:
                self._known.update(zip(new, pool.map(self._ask, new.values()), strict=True))
        else:
            self._known.update((key, self._ask(request)) for key, request in new.items())

    def get(self, request: ImageRequest) -> ResolvedImage:
        """Return the answer. Raises the BuildError of the look-up."""
        if self._key(request) not in self._known:
            self.fetch([request])
        answer = self._known[self._key(request)]
        if isinstance(answer, BuildError):
            raise answer
        return answer

    def _key(self, request: ImageRequest) -> tuple[str, Platform]:
        return request.ref, request.platform or self._default

    def _ask(self, request: ImageRequest) -> ResolvedImage | BuildError:
        try:
            return self._resolver.resolve(request.ref, request.platform or self._default, request.name)
        except BuildError as error:
            return error


def reason(error: UsageError) -> str:
    """Return the reason why a reference is invalid, in the words of distribution/reference."""
    return error.message.partition(": ")[2].removesuffix(".") or error.message
