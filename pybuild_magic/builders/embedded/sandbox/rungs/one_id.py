"""Rung 3, namespaces with a single user id: a tracer remembers owners, devices and capabilities that files cannot have.

The tracer follows the process from outside of its namespaces, which do the rest. Without it, owners are lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import masked
from .place import Place

if TYPE_CHECKING:
    from ..helper.jobs import ChangesJob, RunJob

NAME = "namespaces with one user id"
TRACED = False


def why(place: Place) -> str:
    """Return why this rung does not work."""
    return place.missing


def lacks(place: Place) -> str:
    """Return which processes are visible, and that owners are lost."""
    owners = "no chown to other users, and new files belong to the step's user" if place.tracer or place.lossy else ""
    return "; ".join(filter(None, (masked.lacks(place), owners)))


def prepare(job: RunJob, program: str) -> None:
    """Have the process traced."""
    job["keeper"] = program


def compare(job: ChangesJob, work: str) -> None:
    """Use the tracer's table, where there is one."""
    job["owners"] = f"{work}/owners"
