"""The surroundings that the sources of one build share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from ....cancel import Cancel
from ....golang.json import dumps
from ....oci import platform as platforms
from ....oci.digest import chain_id, sha256
from ....oci.platform import Platform
from ....session import Session
from ....store import Store

if TYPE_CHECKING:
    from .image import Resolver


class ResolveMode(StrEnum):
    """Where a name is looked up, with the values of BuildKit's `image-resolve-mode`.

    On the embedded builder `default` and `local` are the same: the store before a registry.
    """

    DEFAULT = "default"
    PULL = "pull"
    LOCAL = "local"


class SourceContext(msgspec.Struct, frozen=True, eq=False):
    """One build's store and session, and what answered its front end, so that nothing is asked twice."""

    store: Store
    session: Session
    cancel: Cancel
    resolver: Resolver


def key_of(*parts: object) -> str:
    """Return a digest of JSON-like values, as a source's key."""
    return sha256(dumps(list(parts)))


def image_key(diff_ids: tuple[str, ...]) -> str:
    """Return the key of an image: its layers alone, so that another name or config of them is the same thing."""
    return key_of("image", chain_id(diff_ids))


def platform_of(text: str) -> Platform:
    """Return the platform of a node, the host's when it says none."""
    return platforms.parse(text) if text else platforms.host()
