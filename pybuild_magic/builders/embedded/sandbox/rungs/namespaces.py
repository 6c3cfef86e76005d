"""Rung 1, namespaces: as root, or as an ordinary user with subordinate ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .place import Place

if TYPE_CHECKING:
    from ..helper.jobs import ChangesJob, RunJob

NAME = "namespaces"
TRACED = False


def why(place: Place) -> str:
    """Return why this rung does not work."""
    if place.proc:
        return place.missing or f"a new /proc is refused: {place.proc}"
    if place.pivot:
        return place.missing or f"pivot_root is refused: {place.pivot}"
    return place.missing or place.one_id


def lacks(_: Place) -> str:
    """Return "": nothing is lacking."""
    return ""


def prepare(job: RunJob, _program: str) -> None:
    """Leave the job as it is: the kernel does everything."""


def compare(job: ChangesJob, _work: str) -> None:
    """Leave the job as it is: the properties on disk are the real ones."""
