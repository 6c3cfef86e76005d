"""Live progress as a widget: a row a step while the build runs, folded into static HTML when it has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import anywidget
import traitlets

from ..errors import BuildError
from ..options import BuildOptions
from ..status import SolveStatus, now
from ..trace import Step, Trace
from . import fold
from .words import human_bytes, seconds

_STATIC = Path(__file__).parent / "static"
_LINES_A_TICK = 2000
"""Log lines of one step that are sent at once; of a flood, the page gets the last ones."""


class ProgressView(anywidget.AnyWidget):
    """What the page shows: `state` has a header and the rows; logs come as messages, each line once."""

    _esm = _STATIC / "progress.js"
    _css = _STATIC / "progress.css"
    state = traitlets.Dict().tag(sync=True)


class WidgetProgress:
    """The display of one build. Every call comes from the thread that runs the cell."""

    def __init__(self, options: BuildOptions) -> None:
        from IPython import display

        self._title = ", ".join(options.tags) or options.target or "Build"
        self._trace = Trace()
        self._sent: dict[str, int] = {}
        self._began = now()
        self._view: Any = ProgressView()
        self._handle = cast("Any", display).display(self._view, display_id=True)

    def update(self, status: SolveStatus) -> None:
        """Take one message in."""
        self._trace.update(status)

    def tick(self) -> None:
        """Send the page what is new."""
        steps = [self._row(step) for step in self._trace.steps.values()]
        done = sum(step.completed is not None for step in self._trace.steps.values())
        elapsed = seconds((now() - self._began).total_seconds())
        running = ", ".join(step.name for step in self._trace.running()[:1])
        self._view.state = {
            "header": {
                "title": self._title,
                "text": f"{done} of {len(steps)} steps · {elapsed}" + (f" · {running}" if running else ""),
                "done": done,
                "total": len(steps),
                "state": "running",
            },
            "steps": steps,
        }
        fresh: dict[str, list[str]] = {}
        for step in self._trace.steps.values():
            if new := min(step.line_count - self._sent.get(step.digest, 0), len(step.lines), _LINES_A_TICK):
                fresh[step.digest] = [line.text for line in list(step.lines)[-new:]]
                self._sent[step.digest] = step.line_count
        if fresh:
            self._view.send({"type": "logs", "lines": fresh})

    def finish(self, trace: Trace, error: BuildError | None) -> None:
        """Put the folded steps in the widget's place, so that a saved notebook shows them without a kernel."""
        elapsed = (now() - self._began).total_seconds()
        folded = {"text/html": str(fold.render(trace, elapsed, error)), "text/plain": fold.line(trace, elapsed, error)}
        if self._handle is not None:
            self._handle.update(folded, raw=True)
        self._view.close()

    def _row(self, step: Step) -> dict[str, Any]:
        counters = [status for status in step.statuses.values() if not status.completed]
        counted = [status for status in counters if status.total > 0]
        current, total = sum(status.current for status in counted), sum(status.total for status in counted)
        if counted:
            note = f"{human_bytes(current)} / {human_bytes(total)}"
        else:
            note = " ".join(
                f"{status.id} {human_bytes(status.current)}" if status.current else status.id
                for status in counters[-1:]
            )
        return {
            "digest": step.digest,
            "name": step.name,
            "state": step.state,
            "note": note if step.state == "running" else "",
            "fraction": current / total if total else None,
            "seconds": round(step.seconds(now()), 1),
        }
