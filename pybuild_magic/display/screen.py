"""Progress in a terminal: the steps, redrawn as they proceed, in the layout of buildx."""

from __future__ import annotations

import os
from typing import TextIO

from ..errors import BuildError, Interrupted
from ..status.messages import SolveStatus, now
from ..status.trace import Step, Trace
from .console import in_color
from .plain import Plain
from .terminal import visible

_TAIL = 6
"""The most log lines of a running step, as in buildx."""
_RED, _YELLOW, _BLUE, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[34m", "\x1b[0m"
_COLORS = {"done": _BLUE, "cached": _BLUE, "error": _RED, "canceled": _YELLOW, "running": ""}
_WORDS = {"cached": "CACHED ", "error": "ERROR ", "canceled": "CANCELED "}


class Screen:
    """Draws on a terminal that understands ANSI; in one that is too small, or dumb, it appends lines instead."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0
        """The number of lines to be redrawn."""
        self._size()
        self._color = in_color()
        dumb = os.environ.get("TERM") == "dumb" or self._rows < 5
        self._plain = Plain(stream.write) if dumb else None

    def _size(self) -> None:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            size = os.terminal_size((80, 24))
        self._columns, self._rows = size.columns or 80, size.lines or 24

    def update(self, status: SolveStatus) -> None:
        """Do nothing: `tick` shows the news."""

    def tick(self, trace: Trace) -> None:
        """Draw the present state."""
        if self._plain is not None:
            self._plain.tick(trace)
            return
        self._size()
        self._draw(self._frame(trace, self._rows - 2))

    def finish(self, trace: Trace, error: BuildError | None, result: object = None) -> None:  # noqa: ARG002
        """Draw the complete final state, which stays."""
        if self._plain is not None:
            self._plain.finish(trace, error)
            return
        ending = "FINISHED" if error is None else "CANCELED" if isinstance(error, Interrupted) else "ERROR"
        lines = self._frame(trace, 0, ending)
        lines += [f" ! {visible(warning.short.decode('utf-8', 'replace'))}" for warning in trace.warnings]
        self._draw(lines)
        self._drawn = 0

    def _frame(self, trace: Trace, room: int, ending: str = "") -> list[str]:
        """Return the lines, at most `room` of them unless that is 0: steps that ended long ago are dropped first."""
        steps = sorted((step for step in trace.visible() if step.index), key=lambda step: step.index)
        done = sum(step.completed is not None for step in steps)
        head = f"[+] Building {trace.elapsed:.1f}s ({done}/{len(steps)})" + (f" {ending}" if ending else "")
        blocks = [(step, self._block(step, ending)) for step in steps]
        if room:
            for number, (step, block) in enumerate(blocks):
                if sum(len(lines) for _, lines in blocks) < room:
                    break
                if step.state != "running":
                    blocks[number] = (step, [])
                else:
                    blocks[number] = (step, block[:1])
        lines = [head, *(line for _, block in blocks for line in block)]
        return lines[: room or None]

    def _block(self, step: Step, ending: str) -> list[str]:
        """Return a step's line and, while it runs, its output."""
        name = _WORDS.get(step.state, "") + visible(step.name)
        lines = [self._line(f" => {name}", step.seconds(now()), _COLORS.get(step.state, ""))]
        if ending:
            return lines
        moving = (counter for counter in step.statuses.values() if counter.completed is None and counter.total)
        lines += [
            self._line(f" => => {visible(counter.id)} {100 * counter.current // counter.total}%", None, "")
            for counter in moving
        ]
        if step.state == "running":
            lines += [f" => => # {visible(line.text)}"[: self._columns - 1] for line in list(step.lines)[-_TAIL:]]
        return lines

    def _line(self, text: str, seconds: float | None, color: str) -> str:
        end = "" if seconds is None else f" {seconds:.1f}s"
        room = self._columns - len(end) - 1
        whole = text[:room].ljust(room) + end
        return f"{color}{whole}{_PLAIN}" if color and self._color else whole

    def _draw(self, lines: list[str]) -> None:
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        self._stream.write(up + "".join(f"\r\x1b[2K{line}\n" for line in lines) + "\x1b[0J")
        self._stream.flush()
        self._drawn = len(lines)
