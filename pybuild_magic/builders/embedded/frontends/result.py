"""The answer of a front end: the targets to build, by platform, or information about the Dockerfile."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ....attest.given import GivenAttestation
from ....dockerfile.lower import LoweredTarget
from ....errors import BuildError, SourceRange
from ....llb.ops import Edge
from .scope import Scope

if TYPE_CHECKING:
    from ....attest.buildconfig import Steps


class DefinitionError(BuildError):
    """A definition that cannot be solved."""

    kind = "front end error"


class Origin(msgspec.Struct, frozen=True, eq=False):
    """Where a file system comes from: the request that it belongs to, and the lines behind its graph."""

    scope: Scope
    source: Callable[[Steps], dict[str, Any] | None]
    """See BuildFacts."""


class FrontendResult(msgspec.Struct, frozen=True):
    """The targets of a build, or an answer about the Dockerfile in `metadata`, without targets."""

    targets: tuple[LoweredTarget, ...] = ()
    metadata: dict[str, bytes] = {}
    multi_platform: bool = False
    origins: tuple[Origin | None, ...] = ()
    """Of each target; None for an empty one."""
    attestations: dict[str, list[tuple[GivenAttestation, Edge]]] = {}
    """Of each platform, with the file systems that they are in."""
    location: SourceRange | None = None
    """Where the front end is named."""

    @property
    def answer(self) -> dict[str, str]:
        """The answer to a question about the Dockerfile."""
        return {name: value.decode("utf-8", "replace") for name, value in self.metadata.items()}
