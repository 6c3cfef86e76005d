"""What does not work in a place yet, and why: the one table of it. What is listed here and works fails the tests."""

from __future__ import annotations

from dataclasses import dataclass

from .place import PLACES, Place
from .task import TASKS, Task


@dataclass(frozen=True)
class Expected:
    """Tasks that do not work in places, for one reason."""

    places: frozenset[str]
    tasks: frozenset[str]
    reason: str


_WITHOUT_RUN = {"copy", "told", "doctor", "left"}
EXPECTED: tuple[Expected, ...] = (
    Expected(
        frozenset({"read-only-noexec"}),
        frozenset(TASKS) - _WITHOUT_RUN,
        "the file system of the store allows no programs; `%build doctor` says how it would",
    ),
    Expected(
        frozenset({"pure"}),
        frozenset({"users", "sudo", "apt", "home"}),
        "proot forgets owners and capabilities, and refuses nobody a file",
    ),
    Expected(frozenset({"pure"}), frozenset({"mounts", "run"}), "proot makes nothing read-only"),
    Expected(frozenset({"pure"}), frozenset({"background"}), "proot lets no other process in"),
    Expected(
        frozenset({"pure"}),
        frozenset({"kernel"}),
        "a kernel is killed before it has deleted its copy of the image, which goes with the next collection",
    ),
)


def reason(place: Place, task: Task) -> str:
    """Why a task is expected to fail in a place; "" when it is expected to work."""
    return next((row.reason for row in EXPECTED if place.name in row.places and task.name in row.tasks), "")


assert all(row.places <= set(PLACES) and row.tasks <= set(TASKS) for row in EXPECTED)
