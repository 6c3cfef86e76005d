"""Rung 4, root without namespaces (Docker's default profile): the tracer of rung 5, with root's rights."""

from __future__ import annotations

from . import nothing
from .nothing import TRACED, compare, lacks, prepare
from .place import Place

__all__ = ["NAME", "TRACED", "compare", "lacks", "prepare", "why"]

NAME = "root without namespaces"


def why(place: Place) -> str:
    """Return why this rung does not work."""
    return place.system or ("" if place.root else "this is not root") or nothing.why(place)
