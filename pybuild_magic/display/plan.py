"""The order of a build's steps on a page: by stage, with stages in the order of their dependencies."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from ..status.stepname import StepName, parse_name
from ..status.trace import Step
from .protocol import PlanStep
from .words import shorten

_PHASES = {"internal": 0, "export": 2}
"""The order of phases: steps that prepare the build, those of its stages, those that export it."""


Group = tuple[int, str, str]
"""(phase, stage, platform)."""


class Plan:
    """The steps that have a row. It only grows, and a row moves only when an earlier one of its stage is announced."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._known: dict[str, str] = {}

    def take(self, steps: Iterable[Step]) -> bool:
        """Add all steps that deserve a row by now; return whether there is a new one, or a new name."""
        known = {step.digest: step for step in steps}
        for step in self.steps:
            known.setdefault(step.digest, step)
        names = {digest: step.name for digest, step in known.items()}
        if names == self._known:
            return False
        self._known = names
        self.steps = in_order(known.values())
        return True

    def rows(self) -> tuple[PlanStep, ...]:
        """Return the part of each step that is sent to the page once."""
        return tuple(map(_row, self.steps))


def group_of(name: StepName) -> Group:
    """Return the group in which a step is shown."""
    return (_PHASES.get(name.kind, 1), name.stage, name.platform)


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Return the steps by group; a group comes after those whose results it uses, a step after its stage's earlier
    steps.
    """
    listed = list(steps)
    names = {step.digest: parse_name(step.name) for step in listed}
    groups: dict[Group, list[Step]] = {}
    for step in listed:
        groups.setdefault(group_of(names[step.digest]), []).append(step)
    uses = {
        group: {group_of(names[digest]) for step in members for digest in step.inputs if digest in names} - {group}
        for group, members in groups.items()
    }
    try:
        ordered = list(TopologicalSorter(uses).static_order())
    except CycleError:  # a vertex shared by two stages is named after one of them
        ordered = list(groups)
    ordered.sort(key=lambda group: group[0])
    return [
        step
        for group in ordered
        for step in sorted(groups[group], key=lambda step: (names[step.digest].number, step.index or len(listed)))
    ]


def _row(step: Step) -> PlanStep:
    name = parse_name(step.name)
    return PlanStep(
        digest=step.digest,
        text=shorten(name.text),
        kind=name.kind,
        place=f"{name.number}/{name.count}" if name.number else "",
        stage=name.stage if name.number else "",
        platform=name.platform,
    )
