"""The commands of `%build` that weigh, compare and share images."""

from __future__ import annotations

from collections.abc import Sequence

from ..display.table import Document
from ..environments.share import share as texts_for
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


def share(words: Sequence[str]) -> Document:
    """Print texts to paste, by which others use an image: docker run, JupyterHub, Binder, a devcontainer."""
    names, platform = option(words, "--platform")
    if len(names) != 1 or names[0].startswith("-"):
        raise UsageError("%build share takes one image.", hint="%build images lists them.")
    return Document(tuple((part.title, part.text) for part in texts_for(names[0], platform)))
