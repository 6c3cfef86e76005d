"""The state shared by the sources of one build."""

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
    """Where names are looked up, with the values of BuildKit's `image-resolve-mode`.

    On the embedded builder `default` and `local` are the same: the store before a registry.
    """

    DEFAULT = "default"
    PULL = "pull"
    LOCAL = "local"


class SourceContext(msgspec.Struct, frozen=True, eq=False):
    """The store and session of one build, and its resolver with the front end's answers, so that nothing is asked
    twice.
    """

    store: Store
    session: Session
    cancel: Cancel
    resolver: Resolver


def key_of(*parts: object) -> str:
    """Return a digest of JSON-like values, as a source's key."""
    return sha256(dumps(list(parts)))


def image_key(diff_ids: tuple[str, ...]) -> str:
    """Return the key of an image, made of its layers alone: another name or config does not change it."""
    return key_of("image", chain_id(diff_ids))


def platform_of(text: str) -> Platform:
    """Return the platform of a node; the host's when it has none."""
    return platforms.parse(text) if text else platforms.host()
