"""The commands of `%build` that weigh, compare and share images."""

from __future__ import annotations

from collections.abc import Sequence

from ..display.table import Document
from ..environments.compare import EnvironmentDifference
from ..environments.compare import diff as compare
from ..environments.share import share as texts_for
from ..environments.slim.opening import ShownSavings
from ..environments.slim.opening import slim as find
from ..errors import UsageError
from .cells import option


def slim(words: Sequence[str]) -> ShownSavings:
    """Show what an image could do without: for each thing, a line of a Dockerfile that leaves it out."""
    names, platform = option(words, "--platform")
    if len(names) != 1 or names[0].startswith("-"):
        raise UsageError(
            "%build slim takes one image.", hint="%build images lists them; --platform chooses one of several."
        )
    return find(names[0], platform)


def share(words: Sequence[str]) -> Document:
    """Print what others can paste to use an image: docker run, JupyterHub, Binder, a devcontainer."""
    names, platform = option(words, "--platform")
    if len(names) != 1 or names[0].startswith("-"):
        raise UsageError("%build share takes one image.", hint="%build images lists them.")
    return Document(tuple((part.title, part.text) for part in texts_for(names[0], platform)))


def diff(words: Sequence[str]) -> EnvironmentDifference:
    """Compare two images: their packages by what installed them, then their configs and files."""
    names, platform = option(words, "--platform")
    if len(names) != 2 or any(name.startswith("-") for name in names):
        raise UsageError("%build diff takes two images, the older one first.", hint="%build images lists them.")
    return compare(names[0], names[1], platform)
