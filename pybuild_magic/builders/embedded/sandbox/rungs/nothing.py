"""Rung 5, without any privileges: a tracer shows the process its root, its mounts and its ids (see `tracer`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .place import Place

if TYPE_CHECKING:
    from ..helper.jobs import ChangesJob, RunJob

NAME = "no rights at all"
TRACED = True


def why(place: Place) -> str:
    """Return why this rung does not work."""
    return place.system or place.noexec or place.tracer


def lacks(place: Place) -> str:
    """Return the features that need namespaces."""
    slower = "; with the store on a volume or a local disk it is faster" if place.unstacked else ""
    lossy = f"; {place.lossy}" if place.lossy else ""
    return (
        "traced, and isolated only by the place around it: the network, process IDs and the sizes of tmpfs mounts and "
        "/dev/shm are those of the place, and --network=none has no loopback"
        f"{slower}{lossy}"
    )


def prepare(job: RunJob, program: str) -> None:
    """Have the process traced, by our tracer where there is one."""
    job["tracer"] = program


def compare(job: ChangesJob, work: str) -> None:
    """Use the tracer's table, and compare only the paths that it reported."""
    job["owners"], job["told"] = f"{work}/owners", f"{work}/told"
