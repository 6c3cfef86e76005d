"""The messages of live progress, from the kernel to the page, whose own types are generated of these: `make types`."""

from __future__ import annotations

import msgspec

from ..status.trace import StepState


class PlanStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step, told once: its instruction, and where it belongs."""

    digest: str
    text: str
    kind: str
    place: str = ""
    """`2/4` in its stage; only instructions have one."""
    stage: str = ""
    """The stage's name; "" in a Dockerfile of one stage."""
    platform: str = ""


class ProgressPlan(msgspec.Struct, frozen=True):
    """A build and its steps, in the order of the page."""

    title: str
    builder: str
    background: bool
    """Whether the build goes on while the user's next cells run."""
    channel: str
    """The target of the comm by which a page cancels the build."""
    token: str
    """The name of the build, for that comm."""
    steps: tuple[PlanStep, ...]


class StepCounter(msgspec.Struct, frozen=True, array_like=True):
    """Progress within a step, such as one layer of an image."""

    id: str
    current: int
    total: int
    """0 when it is not known."""
    ended: bool


class StepProgress(msgspec.Struct, frozen=True, array_like=True):
    """How far a step is. The last fields are left out where they say nothing."""

    state: StepState
    seconds: float
    counters: tuple[StepCounter, ...] = ()
    bytes: tuple[int, int] = (0, 0)
    """Current and total, of all counters that have a total."""
    error: str = ""


class BuildProgress(msgspec.Struct, frozen=True):
    """How far a build is."""

    canceling: bool
    elapsed: float
    """Seconds since the build began."""
    done: int
    total: int
    warnings: int
    steps: tuple[StepProgress, ...]
    """In the order of the plan."""


class LogRun(msgspec.Struct, frozen=True, array_like=True):
    """Lines that follow each other."""

    first: int
    """The number of the first line, from 0."""
    lines: list[str]


class LogNews(msgspec.Struct, frozen=True, array_like=True):
    """The new part of one step's log."""

    count: int
    """Lines that there are, sent or not."""
    runs: list[LogRun]
    rest: str
    """The beginning of a line to come."""
