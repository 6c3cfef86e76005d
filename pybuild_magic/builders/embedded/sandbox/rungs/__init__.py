"""The ways in which a RUN can be run, best first: the rungs of a ladder, of which a build takes the first that holds.

What ends up in the image is the same on each. `climb` says of every rung whether it holds here, from what a probe
has found; it opens nothing.
"""

from __future__ import annotations

import msgspec


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about where this process runs; a reason is "" where there is nothing to say."""

    system: str = ""
    """Why there is no sandbox of any kind: not Linux, or the helper does not start."""
    namespaces: str = ""
    """Why this user gets no namespaces."""
    unstacked: str = ""
    """Why layers cannot be stacked in them, where a tracer does better."""
    proc: str = ""
    """Why a new PID namespace gets no /proc of its own."""
    pivot: str = ""
    """Why pivot_root is refused."""
    userns: bool = False
    single: bool = False
    """Whether one id stands for all."""
    kept: bool = False
    """Whether the tracer remembers owners there."""
    unmapped: str = ""
    """Why there are no subordinate ids."""
    root: bool = False
    tracer: str = "there is no program for it in this version"
    """Why a process cannot be traced."""


class Rung(msgspec.Struct, frozen=True):
    """One way of running a RUN."""

    number: int
    name: str
    why: str = ""
    """Why it does not hold here; "" when it does."""
    lacks: str = ""
    """What is different for a process on it, in a clause; "" for nothing."""

    @property
    def holds(self) -> bool:
        """Whether RUN can be run in this way here."""
        return not self.why

    def __str__(self) -> str:
        return f"rung {self.number}: {self.name}{f' ({self.lacks})' if self.lacks else ''}"


_TRACED = (
    "traced: the place around it is the only border; network, process numbers and sizes of tmpfs mounts and /dev/shm "
    "are the place's, --network=none has no loopback, and cache mounts forget owners"
)
_SLOWER = "with the store on a volume it is faster"


def climb(place: Place) -> tuple[Rung, ...]:
    """The rungs, best first."""
    missing = place.system or place.namespaces or place.unstacked
    traced = f"{_TRACED}; {_SLOWER}" if place.unstacked else _TRACED
    masked = (
        (place.proc and f"a new /proc is refused: {place.proc}")
        or (place.pivot and f"pivot_root is refused: {place.pivot}")
        or ""
    )
    one_id = f"one user id stands for all: {place.unmapped}" if place.single else ""
    unrooted = place.system or ("" if place.root else "this is not root")
    lacks = "processes see the numbers of the container's /proc" if place.proc else ""
    return (
        Rung(1, "namespaces", missing or masked or one_id),
        Rung(2, "namespaces in a container", missing or one_id, lacks),
        Rung(
            3,
            "namespaces with one user id",
            missing,
            "; ".join(
                filter(
                    None,
                    (
                        lacks,
                        "" if place.kept else "no chown to other users, and new files are the step's user's",
                        "cache mounts forget owners" if place.kept else "",
                    ),
                )
            ),
        ),
        Rung(4, "root without namespaces", unrooted or place.tracer, traced),
        Rung(5, "no rights at all", place.system or place.tracer, traced),
    )


def best(rungs: tuple[Rung, ...]) -> Rung | None:
    """The first that holds; None where RUN cannot be run."""
    return next((rung for rung in rungs if rung.holds), None)
