"""The answer of a front end: the targets to build, by platform, or information about the Dockerfile."""

from __future__ import annotations

import msgspec

from ....dockerfile.lower import LoweredTarget
from ....errors import BuildError


class DefinitionError(BuildError):
    """A definition that cannot be solved."""

    kind = "front end error"


class FrontendResult(msgspec.Struct, frozen=True):
    """The targets of a build, or an answer about the Dockerfile in `metadata`, without targets."""

    targets: tuple[LoweredTarget, ...] = ()
    metadata: dict[str, bytes] = {}
    multi_platform: bool = False

    @property
    def answer(self) -> dict[str, str]:
        """The answer to a question about the Dockerfile."""
        return {name: value.decode("utf-8", "replace") for name, value in self.metadata.items()}
