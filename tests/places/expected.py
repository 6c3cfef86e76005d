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


_RUN = frozenset(TASKS) - {"copy", "told", "doctor", "left"}
_OWNERS = frozenset({"users", "sudo", "apt", "build-essential"})
_REFUSED = frozenset({"default-root", "default-user", "restricted", "random-uid", "read-only"})
_REFUSED |= {"small-restricted", "own-layer-root"}
_ONE_ID = frozenset({"kubernetes-user", "unmasked-user", "privileged-user", "hub", "subuid", "subuid-hub", "small"})
_ONE_ID |= {"own-layer", "tmpfs", "tmpfs-noexec"}

EXPECTED = (
    Expected(_REFUSED, _RUN, "rungs 4 and 5: neither namespaces nor mounts are allowed"),
    Expected(_ONE_ID, _OWNERS, "rung 3: one id stands for all"),
    Expected(_REFUSED, frozenset({"told"}), "what a place refuses is met after the pull"),
)


def reason(place: Place, task: Task) -> str:
    """Why a task is expected to fail in a place; "" when it is expected to work."""
    return next((row.reason for row in EXPECTED if place.name in row.places and task.name in row.tasks), "")


assert all(row.places <= set(PLACES) and row.tasks <= set(TASKS) for row in EXPECTED)
