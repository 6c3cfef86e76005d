"""The ways in which a RUN can be run, best first: the rungs of a ladder, of which a build takes the first that holds.

What ends up in the image is the same on each. A module a rung says whether it holds in a `Place`, what a process on it
has to do without, and what is particular to the jobs of its RUNs. Nothing here opens anything.
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
        """Whether nothing is mounted, and a tracer shows the root."""
        ...

    def why(self, place: Place, /) -> str:
        """Return why it does not hold in a place; "" when it does."""
        ...

    def lacks(self, place: Place, /) -> str:
        """Return the differences for a process on it, in a clause; "" for none."""
        ...

    def prepare(self, job: RunJob, program: str, /) -> None:
        """Complete the job of a RUN; `program` is the tracer's path, "" where there is none."""
        ...

    def compare(self, job: ChangesJob, work: str, /) -> None:
        """Complete the job that finds what a RUN, whose directory is `work`, has changed."""
        ...


WAYS: tuple[Way, ...] = (namespaces, masked, one_id, rooted, nothing)
ONE_ID = 3
"""The first rung that takes a tracer."""


class Rung(msgspec.Struct, frozen=True):
    """One way of running a RUN, and whether it can be taken."""

    number: int
    name: str
    why: str = ""
    """Why it does not hold here; "" when it does."""
    lacks: str = ""
    """The differences for a process on it, in a clause; "" for none."""

    @property
    def holds(self) -> bool:
        """Whether RUN can be run in this way here."""
        return not self.why

    @property
    def way(self) -> Way:
        """Its module."""
        return WAYS[self.number - 1]

    def __str__(self) -> str:
        return f"rung {self.number}: {self.name}{f' ({self.lacks})' if self.lacks else ''}"


def climb(place: Place) -> tuple[Rung, ...]:
    """Return the rungs, best first."""
    return tuple(Rung(number, way.NAME, way.why(place), way.lacks(place)) for number, way in enumerate(WAYS, 1))


def best(rungs: tuple[Rung, ...]) -> Rung | None:
    """Return the first that holds; None where RUN cannot be run."""
    return next((rung for rung in rungs if rung.holds), None)
