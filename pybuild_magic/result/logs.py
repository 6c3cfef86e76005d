"""The output of the steps of a build."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from ..builders import Builder
from ..errors import BuildError
from ..status.trace import Step, Trace, whole_log


def logs_of(trace: Trace) -> dict[str, str]:
    """Return the log of each step that printed something, by the step's name, as far as it is kept in memory."""
    return {step.name: _told(step) for step in trace.visible() if step.lines}


def _told(step: Step) -> str:
    return (f"… {step.lost:,} earlier lines are in the build's log (%build history)\n" if step.lost else "") + step.log


class StepLines:
    """The lines of a build's steps: from memory, or from the builder's history where memory no longer has them all."""

    def __init__(self, builder: Builder, ref: str, trace: Trace) -> None:
        self._builder = builder
        self._ref = ref
        self._kept = {step.digest: _kept(step) for step in trace.visible() if step.line_count}

    def __call__(self, vertex: str) -> tuple[list[str], list[float]]:
        """Return the lines of a step, and for each line the seconds since the step began."""
        log, seconds, count = self._kept.get(vertex, ("", (), 0))
        lines = log.split("\n") if count else []
        if len(lines) >= count:
            return lines, list(seconds)
        try:
            record = next(record for record in self._builder.history(500) if record.ref == self._ref)
            return whole_log(self._builder.replay(record), vertex)
        except (BuildError, StopIteration):
            return lines, list(seconds)


def _kept(step: Step) -> tuple[str, Sequence[float], int]:
    return step.log, array("f", (round(line.seconds, 1) for line in step.lines)), step.line_count
