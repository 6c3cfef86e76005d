"""Live progress as a widget: a row a step while the build runs, folded into static HTML when it has ended.

The widget's state is all that a page needs to draw it, so that a page that comes late, or a second one, shows the
same; what is in it of a log is the end, and every line has its number, so that a page can tell what it has.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import anywidget
import traitlets

from ..status import now
from ..trace import Step, Trace
from .terminal import visible
from .words import INTERNAL, human_bytes, shorten

_STATIC = Path(__file__).parent / "static"
_TAIL = 200
"""Log lines of one step that are in the state at any time."""
_FLOOD = 2000
"""Log lines of one step that are sent at once; of a flood, the page gets the last ones."""
_LINGER = 3.0
"""Seconds for which a step's log stays in the state after its last line: longer than a page needs to begin."""
_WIDTH = 300
"""Characters of the line that a running step is at."""
_BRIEF = 0.3
"""Seconds that an internal step takes to be worth a row."""


class ProgressView(anywidget.AnyWidget):
    """What the page shows: `state` is the header and the rows, `logs` the ends of the logs that grow."""

    _esm = _STATIC / "progress.js"
    _css = _STATIC / "progress.css"
    state = traitlets.Dict().tag(sync=True)
    logs = traitlets.Dict().tag(sync=True)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """As every widget's, with words for front ends that show none."""
        words = f"Building {self.state.get('title', '')} …"
        bundle: Any = cast("Any", super())._repr_mimebundle_(**kwargs)
        return ({**bundle[0], "text/plain": words}, bundle[1]) if bundle else {"text/plain": words}


class LiveView:
    """The widget of one running build. Every call comes from the thread that runs the cell."""

    def __init__(self, title: str, builder: str) -> None:
        from IPython import display

        self._title, self._builder = title, builder
        self._sent: dict[str, int] = {}
        self._printed: dict[str, float] = {}
        self._view: Any = ProgressView(state=self._state(Trace()))
        self.handle: Any = cast("Any", display).display(self._view, display_id=True)

    def update(self, trace: Trace) -> None:
        """Send the page what is new; between two messages it counts the seconds itself."""
        changed = trace.take_changed()
        internal = any(step.name.startswith(INTERNAL) for step in trace.running())
        if changed or internal:
            self._view.state = self._state(trace)
        logs = self._logs(trace, changed)
        if logs != self._view.logs:
            self._view.logs = logs

    def close(self) -> None:
        """Let go of the page's widget."""
        self._view.close()

    def _state(self, trace: Trace) -> dict[str, Any]:
        steps = list(trace.steps.values())
        counted = [step for step in steps if not step.name.startswith(INTERNAL)]
        return {
            "title": self._title,
            "builder": self._builder,
            "elapsed": trace.elapsed,
            "done": sum(step.completed is not None for step in counted),
            "total": len(counted),
            "steps": [_row(step) for step in steps if _worth_a_row(step)],
        }

    def _logs(self, trace: Trace, changed: list[Step]) -> dict[str, Any]:
        """By digest: the number of the first line, the lines, and the beginning of a line to come."""
        clock = time.monotonic()
        self._printed |= {step.digest: clock for step in changed if step.line_count or step.partial}
        logs: dict[str, Any] = {}
        for digest, at in self._printed.items():
            step = trace.steps[digest]
            if clock - at > _LINGER and step.line_count == self._sent.get(digest):
                continue
            fresh = step.line_count - self._sent.get(digest, 0)
            count = min(max(fresh, _TAIL), _FLOOD, len(step.lines))
            lines = [visible(line.text) for line in list(step.lines)[len(step.lines) - count :]]
            logs[digest] = [step.line_count - count, lines, visible(step.unfinished)]
            self._sent[digest] = step.line_count
        return logs


def _worth_a_row(step: Step) -> bool:
    return not step.name.startswith(INTERNAL) or step.error != "" or step.seconds(now()) >= _BRIEF


def _row(step: Step) -> dict[str, Any]:
    counters = list(step.statuses.values())
    counted = [status for status in counters if status.total > 0]
    running = [status for status in counters if not status.completed]
    current, total = sum(status.current for status in counted), sum(status.total for status in counted)
    if counted:
        note = f"{human_bytes(current)} / {human_bytes(total)}"
    else:
        note = " ".join(
            f"{shorten(status.id)} {human_bytes(status.current)}" if status.current else shorten(status.id)
            for status in running[-1:]
        )
    return {
        "digest": step.digest,
        "name": shorten(step.name),
        "state": step.state,
        "note": note if step.state == "running" else "",
        "fraction": current / total if total else None,
        "seconds": step.seconds(now()),
        "error": step.error,
        "tail": _tail(step) if step.state == "running" else "",
    }


def _tail(step: Step) -> str:
    """The line that the step is at."""
    return visible(step.unfinished or (step.lines[-1].text if step.lines else ""))[:_WIDTH]
