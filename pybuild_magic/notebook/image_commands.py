"""The commands of `%build` that weigh, compare and share images."""

from __future__ import annotations

from collections.abc import Sequence

from ..environments.slim.opening import ShownSavings
from ..environments.slim.opening import slim as find
from ..errors import UsageError
from .cells import option


def slim(words: Sequence[str]) -> ShownSavings:
    """Show what takes room in an image and need not, with the line of a Dockerfile for each, before it is built."""
    names, platform = option(words, "--platform")
    if len(names) != 1 or names[0].startswith("-"):
        raise UsageError(
            "%build slim takes one image.", hint="%build images lists them; --platform is for one of several."
        )
    return find(names[0], platform)
