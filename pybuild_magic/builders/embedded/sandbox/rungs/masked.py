"""Rung 2, namespaces in a container that masks parts of /proc, or whose filter of system calls denies pivot_root.

The outer /proc is shown, and the root is moved into place.
"""

from __future__ import annotations

from .namespaces import TRACED, compare, prepare
from .place import Place

__all__ = ["NAME", "TRACED", "compare", "lacks", "prepare", "why"]

NAME = "namespaces in a container"


def why(place: Place) -> str:
    """Return why this rung does not work."""
    return place.missing or place.one_id


def lacks(place: Place) -> str:
    """Return which processes are visible."""
    return "processes see the process IDs of the container's /proc" if place.proc else ""
