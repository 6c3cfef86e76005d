"""The ways of running a RUN, best first: the rungs of a ladder. A build takes the first that works.

The resulting image is the same on each. Each rung has a module, which says whether it works in a `Place`, what a
process on it lacks, and how the jobs of its RUNs differ. Nothing here opens anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from . import masked, namespaces, nothing, one_id, rooted
from .place import UNTRIED, Place

if TYPE_CHECKING:
    from ..helper.jobs import ChangesJob, RunJob

__all__ = ["ONE_ID", "UNTRIED", "WAYS", "Place", "Rung", "Way", "best", "climb"]


class Way(Protocol):
    """The interface of a rung's module."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """The name of the rung."""
        ...

    @property
    def TRACED(self) -> bool:  # noqa: N802
        """Return whether nothing is mounted, and a tracer shows the root."""
        ...

    def why(self, place: Place, /) -> str:
        """Return why it does not work in a place; "" when it does."""
        ...

    def lacks(self, place: Place, /) -> str:
        """Return what a process on it lacks, as a clause; "" for nothing."""
        ...

    def prepare(self, job: RunJob, program: str, /) -> None:
        """Complete the job of a RUN; `program` is the tracer's path, "" when there is none."""
        ...

    def compare(self, job: ChangesJob, work: str, /) -> None:
        """Complete the job that finds the changes of a RUN whose directory is `work`."""
        ...


WAYS: tuple[Way, ...] = (namespaces, masked, one_id, rooted, nothing)
ONE_ID = 3
"""The first rung that uses a tracer."""


class Rung(msgspec.Struct, frozen=True):
    """A way of running RUN, and whether it is available."""

    number: int
    name: str
    why: str = ""
    """The reason why it does not work here; "" when it does."""
    lacks: str = ""
    """What a process on it lacks, as a clause; "" for nothing."""

    @property
    def holds(self) -> bool:
        """Whether RUN can be run in this way here."""
        return not self.why

    @property
    def way(self) -> Way:
        """The rung's module."""
        return WAYS[self.number - 1]

    def __str__(self) -> str:
        return f"rung {self.number}: {self.name}{f' ({self.lacks})' if self.lacks else ''}"


def climb(place: Place) -> tuple[Rung, ...]:
    """Return the rungs, best first."""
    return tuple(Rung(number, way.NAME, way.why(place), way.lacks(place)) for number, way in enumerate(WAYS, 1))


def best(rungs: tuple[Rung, ...]) -> Rung | None:
    """Return the first rung that works; None where RUN cannot be run."""
    return next((rung for rung in rungs if rung.holds), None)
