"""Live progress as a widget: a row per step while the build runs, replaced by static HTML when it has ended.

The widget's state is all that a page needs to draw it, so that a page that comes late, or a second one, shows the same.
It has three parts, each sent only when it changes: the `plan` (the steps in the order of the page), the `state` (the
progress of each) and the ends of the `logs`. Every line has its number, so that a page knows which lines it is missing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakValueDictionary

import anywidget
import comm
import msgspec
import traitlets

from ..status.messages import VertexStatus, now
from ..status.stepname import INTERNAL, is_counted
from ..status.trace import Step, Trace
from .plan import Plan
from .protocol import BuildProgress, LogNews, LogRun, ProgressPlan, StepCounter, StepProgress
from .scripts import source
from .service import data_of
from .tail import Tail
from .terminal import visible
from .words import shorten

CHANNEL = "pybuild_magic.cancel"
"""The target of the comm that a page opens to cancel a build."""
_HEARTBEAT = 1.0
"""The seconds after which the kernel sends something even without news, so that a page notices when a kernel dies."""
_BEGIN = 3.0
"""The seconds after the first message in which a page may still be loading the widget, and is sent everything each
time.
"""
_REFRESH = 2.0
"""The seconds between messages from which a late page learns the ends of logs."""
_BUDGET = 48_000
"""The most characters of logs in a message: Jupyter's server limits the rate of all outputs, including the user's."""
_BRIEF = 0.3
"""Seconds from which an internal step gets a row."""
_COUNTERS = 12
"""The most counters of a step, such as the layers of an image, that are shown one by one."""
_NOTHING: list[Any] = [None, None, *msgspec.to_builtins(StepProgress("waiting", 0))[2:]]
"""The values of a step's last fields that are not sent: most steps are waiting, or done."""


class ProgressView(anywidget.AnyWidget):
    """The model of the page: see the module's docstring about its three parts."""

    _esm = source("progress.js")
    _css = source("progress.css")
    plan = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    logs = traitlets.Dict().tag(sync=True)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the widget's bundle, with a text for front ends that show no widgets."""
        words = visible(f"Building {self.plan.get('title', '')} …")
        bundle: Any = cast("Any", super())._repr_mimebundle_(**kwargs)
        return ({**bundle[0], "text/plain": words}, bundle[1]) if bundle else {"text/plain": words}


_views: WeakValueDictionary[str, LiveView] = WeakValueDictionary()
"""The builds that pages can cancel, by token."""


class LiveView:
    """The widget of a running build. Calls come from one thread at a time; a cancellation may come from any other."""

    def __init__(self, title: str, builder: str, cancel: Callable[[], None], *, background: bool = False) -> None:
        from IPython import display

        self._token = secrets.token_urlsafe(9)
        self._head = ProgressPlan(title, builder, background, CHANNEL, self._token, ())
        self._cancel, self._canceling = cancel, False
        self._plan = Plan()
        self._tails: dict[str, Tail] = {}
        self._began = self._beat = time.monotonic()
        trace = Trace()
        self._view: Any = ProgressView(plan=msgspec.to_builtins(self._head), state=self._state(trace))
        self._view.on_msg(self._hear)
        if not _views:
            comm.get_comm_manager().register_target(CHANNEL, _hear_channel)
        _views[self._token] = self
        self.handle: Any = cast("Any", display).display(self._view, display_id=True)

    def update(self, trace: Trace) -> None:
        """Send the page the news; between messages it counts the seconds itself."""
        clock = time.monotonic()
        changed = trace.take_changed()
        fresh = self._plan.take(step for step in trace.steps.values() if _worth_a_row(step))
        logs = self._logs(trace, changed, clock)
        with self._view.hold_sync():
            if fresh:
                self._view.plan = msgspec.to_builtins(msgspec.structs.replace(self._head, steps=self._plan.rows()))
            if changed or fresh or clock - self._beat >= _HEARTBEAT:
                self._beat = clock
                self._view.state = self._state(trace)
            if logs:
                self._view.logs = msgspec.to_builtins(logs)

    def show(self) -> Any:
        """Show the widget once more, and return the handle of that display."""
        from IPython import display

        return cast("Any", display).display(self._view, display_id=True)

    def close(self) -> None:
        """Release the page's widget."""
        _views.pop(self._token, None)
        self._view.close()

    def cancel(self) -> None:
        """Stop the build, and confirm to the page that the request arrived."""
        self._canceling = True
        self._view.send({"canceling": True})
        self._cancel()

    def _hear(self, _widget: object, content: object, _buffers: object) -> None:
        """Handle the page's button through the widget's own comm, which works while no cell runs."""
        if isinstance(content, dict) and cast("dict[str, Any]", content).get("method") == "cancel":
            self.cancel()

    def _state(self, trace: Trace) -> dict[str, Any]:
        """Return a `BuildProgress`."""
        counted = [step for step in trace.steps.values() if is_counted(step.name)]
        state: dict[str, Any] = msgspec.to_builtins(
            BuildProgress(
                canceling=self._canceling,
                elapsed=round(trace.elapsed, 3),
                done=sum(step.completed is not None for step in counted),
                total=len(counted),
                warnings=len(trace.warnings),
                steps=tuple(map(_progress, self._plan.steps)),
            )
        )
        for fields in state["steps"]:
            while fields[-1] == _NOTHING[len(fields) - 1]:
                fields.pop()
        return state

    def _logs(self, trace: Trace, changed: list[Step], clock: float) -> dict[str, LogNews]:
        """Return the new parts of logs, by the digests of their steps."""
        for step in changed:
            if step.digest not in self._tails and (step.line_count or step.partial):
                self._tails[step.digest] = Tail(clock)
        begins = clock - self._began < _BEGIN
        logs: dict[str, LogNews] = {}
        budget = _BUDGET
        for digest, tail in self._tails.items():
            step = trace.steps[digest]
            again = begins or (step.state == "running" and clock - tail.refreshed >= _REFRESH)
            if runs := tail.take(step, budget, clock, again=again):
                budget -= sum(len(line) + 8 for _, lines in runs for line in lines)
                logs[digest] = LogNews(step.line_count, [LogRun(*run) for run in runs], tail.rest)
        return logs


def _hear_channel(channel: Any, message: dict[str, Any]) -> None:
    """Handle the page's button through a comm that the page opens, which works in kernels with subshells while a cell
    runs.
    """
    view = _views.get(str(data_of(message).get("token")))
    if view:
        view.cancel()
    channel.close()


def _worth_a_row(step: Step) -> bool:
    return not step.name.startswith(INTERNAL) or step.error != "" or step.seconds(now()) >= _BRIEF


def _summed(counters: list[VertexStatus]) -> list[VertexStatus]:
    """Return the counters whose bytes are added up: blobs that come at the same time, or else the last active one."""
    sized = [counter for counter in counters if counter.total > 0]
    alone = [counter for counter in sized if not counter.completed and "sha256:" not in counter.id]
    return alone[-1:] or sized


def _progress(step: Step) -> StepProgress:
    seconds = round(step.seconds(now()), 3)
    if step.state != "running" or not step.statuses:
        return StepProgress(step.state, seconds, error=step.error)
    counters = sorted(step.statuses.values(), key=lambda counter: counter.completed is not None)
    totals = _summed(counters)
    return StepProgress(
        step.state,
        seconds,
        tuple(map(_counter, counters[:_COUNTERS])),
        (sum(counter.current for counter in totals), sum(counter.total for counter in totals)),
    )


def _counter(counter: VertexStatus) -> StepCounter:
    return StepCounter(shorten(counter.id), counter.current, counter.total, counter.completed is not None)
