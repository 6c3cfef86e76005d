"""The choice of log lines to send to a page next: newest first, then lines that were skipped, in bounded amounts."""

from __future__ import annotations

from itertools import islice

from ..status.trace import Step

_TAIL = 200
"""The most lines for a page that has none yet."""
_LONGEST = 2000
"""The most characters of a line that are sent."""

Runs = list[tuple[int, list[str]]]
"""Runs of consecutive lines, each with the number of its first line, from 0."""


class Tail:
    """The sent part of a log, and the part that was skipped because it came faster than a page can follow."""

    def __init__(self, clock: float) -> None:
        self.refreshed = clock
        self.rest = ""
        """The beginning of an incomplete line, as last sent."""
        self._sent = 0
        self._gaps: list[tuple[int, int]] = []
        """Numbers of skipped lines: first and end, the newest last."""

    def take(self, step: Step, budget: int, clock: float, *, again: bool) -> Runs:
        """Return the next runs, of about `budget` characters; with `again` also the end that was sent before."""
        rest = step.unfinished[-_LONGEST:]
        if step.line_count == self._sent and rest == self.rest and not again and not self._gaps:
            return []
        self.rest = rest
        first = self._sent
        if again:
            self.refreshed = clock
            first = max(0, min(first, step.line_count - _TAIL))
        runs: Runs = []
        start, lines, used = _newest(step, first, step.line_count, budget)
        if lines or rest or again:
            runs.append((start, lines))
        if start > self._sent:
            self._gaps.append((self._sent, start))
        self._sent = step.line_count
        self._gaps = [(begin, end) for begin, end in self._gaps if end > step.lost]
        if self._gaps and used < budget:
            begin, end = self._gaps.pop()
            start, lines, _ = _newest(step, begin, end, budget - used)
            if start > max(begin, step.lost):
                self._gaps.append((begin, start))
            if lines:
                runs.append((start, lines))
        return runs


def _newest(step: Step, begin: int, end: int, budget: int) -> tuple[int, list[str], int]:
    """Return the last lines between `begin` and `end` that fit: the number of the first, the lines, their length."""
    skip = step.line_count - end
    lines: list[str] = []
    used = 0
    for line in islice(reversed(step.lines), skip, skip + end - begin):
        used += min(len(line.text), _LONGEST) + 8
        if used > budget and lines:
            break
        lines.append(line.text if len(line.text) <= _LONGEST else f"{line.text[:_LONGEST]}…")
    lines.reverse()
    return end - len(lines), lines, used
