"""Rung 5, no rights at all: a tracer gives the process its root, its mounts and its ids (see `tracer`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .place import Place

if TYPE_CHECKING:
    from ..helper.jobs import ChangesJob, RunJob

NAME = "no rights at all"
TRACED = True


def why(place: Place) -> str:
    """Return why this rung does not hold."""
    return place.system or place.tracer


def lacks(place: Place) -> str:
    """Return the features that only namespaces have."""
    slower = "; with the store on a volume it is faster" if place.unstacked else ""
    lossy = f"; {place.lossy}" if place.lossy else ""
    return (
        "traced: the place around it is the only border; network, process numbers and sizes of tmpfs mounts and "
        "/dev/shm are the place's, and --network=none has no loopback"
        f"{slower}{lossy}"
    )


def prepare(job: RunJob, program: str) -> None:
    """Have the process traced, by ours where there is one."""
    job["tracer"] = program


def compare(job: ChangesJob, work: str) -> None:
    """Believe the tracer's table, and compare what it tells, rather than all there is."""
    job["owners"], job["told"] = f"{work}/owners", f"{work}/told"
