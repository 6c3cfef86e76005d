"""Requests of the front end for base images, which it must know before it can lower a stage."""

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
"""Requests to registries at the same time; each waits for the network nearly all its time."""


class ImageRequest(msgspec.Struct, frozen=True):
    """An image to find: `docker.io/library/busybox:latest`, or `oci-layout://STORE[:tag][@digest]`."""

    ref: str
    platform: Platform | None
    """None: that of the builder."""
    name: str
    """The vertex that shows it: `[internal] load metadata for …`."""


class ResolvedImage(msgspec.Struct, frozen=True, dict=True):
    """An image that was found."""

    ref: str
    """The name, normalised; it may differ from what was asked when a policy or mirror says so."""
    digest: str
    """Of the manifest or index that the name stands for; "" when the place has none."""
    config: bytes
    """The image's config, JSON."""

    @property
    def pinned(self) -> str:
        """The name with its digest, so that what is built from is what was asked about."""
        if not self.digest or "@" in self.ref:
            return self.ref
        return str(reference.parse(self.ref).with_digest(self.digest))

    @cached_property
    def parsed(self) -> ImageConfig:
        """The config. Raises SourceError when it is none."""
        return image_config.decode(self.config)


class ImageResolver(Protocol):
    """Finds images: in the store, a registry, an OCI layout."""

    def resolve(self, ref: str, platform: Platform, name: str = "") -> ResolvedImage:
        """Return the image `ref` for `platform`; `name` is the vertex to show. Raises SourceError.

        Called from several threads at once.
        """
        ...


class Metadata:
    """Asks a resolver, several things at once and each thing once."""

    def __init__(self, resolver: ImageResolver, default: Platform) -> None:
        self._resolver = resolver
        self._default = default
        self._known: dict[tuple[str, Platform], ResolvedImage | BuildError] = {}

    def fetch(self, requests: list[ImageRequest]) -> None:
        """Ask for all of `requests`; what fails is raised by `get`."""
        new = {self._key(request): request for request in requests}
        new = {key: request for key, request in new.items() if key not in self._known}
        if len(new) > 1:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(min(_AT_ONCE, len(new)), "pybuild-metadata") as pool:
                self._known.update(zip(new, pool.map(self._ask, new.values()), strict=True))
        else:
            self._known.update((key, self._ask(request)) for key, request in new.items())

    def get(self, request: ImageRequest) -> ResolvedImage:
        """Return the answer. Raises the BuildError that it was."""
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
    """Return the fault of a reference, in the words of distribution/reference."""
    return error.message.partition(": ")[2].removesuffix(".") or error.message
