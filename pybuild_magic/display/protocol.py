"""The messages of live progress from the kernel to the page, whose TypeScript types are generated from these: `make
types`.
"""

from __future__ import annotations

import msgspec

from ..status.trace import StepState


class PlanStep(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step, sent once: its instruction, and its position."""

    digest: str
    text: str
    kind: str
    place: str = ""
    """`2/4` within its stage; only instructions have it."""
    stage: str = ""
    """The name of the stage; "" in a Dockerfile with a single stage."""
    platform: str = ""


class ProgressPlan(msgspec.Struct, frozen=True):
    """A build and its steps, in the order of the page."""

    title: str
    builder: str
    background: bool
    """Whether the build goes on while the user's next cells run."""
    channel: str
    """The target of the comm through which a page cancels the build."""
    token: str
    """The name of the build in that comm."""
    steps: tuple[PlanStep, ...]


class StepCounter(msgspec.Struct, frozen=True, array_like=True):
    """Progress within a step, such as one layer of an image."""

    id: str
    current: int
    total: int
    """0 when unknown."""
    ended: bool


class StepProgress(msgspec.Struct, frozen=True, array_like=True):
    """The progress of a step. The last fields are omitted when they are empty."""

    state: StepState
    seconds: float
    counters: tuple[StepCounter, ...] = ()
    bytes: tuple[int, int] = (0, 0)
    """Current and total bytes, summed over all counters that have a total."""
    error: str = ""


class BuildProgress(msgspec.Struct, frozen=True):
    """The progress of a build."""

    canceling: bool
    elapsed: float
    """Seconds since the build began."""
    done: int
    total: int
    warnings: int
    steps: tuple[StepProgress, ...]
    """The steps, in the order of the plan."""


class LogRun(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive lines."""

    first: int
    """The number of the first line, from 0."""
    lines: list[str]


class LogNews(msgspec.Struct, frozen=True, array_like=True):
    """The new part of a step's log."""

    count: int
    """The number of lines, sent or not."""
    runs: list[LogRun]
    rest: str
    """The beginning of an incomplete line."""
