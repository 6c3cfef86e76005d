"""The steps of a build that has ended, folded into one line of static HTML with the logs inside."""

from __future__ import annotations

from ..errors import BuildError
from ..trace import Step, Trace
from .html import style
from .markup import Markup, join, tag
from .words import seconds

_LINES = 200
"""Log lines of a step that are kept in the page; the store's history has them all."""


def line(trace: Trace, elapsed: float, error: BuildError | None) -> str:
    """How it ended, in one line."""
    steps = list(trace.visible())
    cached = sum(step.cached for step in steps)
    how = {"": "Built", "interrupted": "Interrupted"}.get(error.kind if error else "", "Failed")
    return f"{how} after {seconds(elapsed)}: {len(steps)} steps, {cached} cached"


def render(trace: Trace, elapsed: float, error: BuildError | None) -> Markup:
    """The folded steps; those that failed are open."""
    head = tag.summary(
        tag.span("✕" if error else "✓", cls="pb-bad" if error else "pb-ok", aria_hidden="true"),
        line(trace, elapsed, error),
    )
    body = tag.details(head, *(_step(step) for step in trace.visible()), open=error is not None)
    return join(style(), tag.div(body, cls="pybuild"))


def _step(step: Step) -> Markup:
    ending = {"cached": "CACHED", "error": "ERROR", "canceled": "CANCELED", "running": "stopped"}.get(
        step.state, seconds(step.seconds())
    )
    head = (tag.code(step.name), tag.span(ending, cls="pb-num"))
    if not step.lines and not step.error:
        return tag.div(*head, cls="pb-step")
    lines = [entry.text for entry in list(step.lines)[-_LINES:]]
    if step.line_count > len(lines):
        lines.insert(0, f"… {step.line_count - len(lines)} earlier lines are in the history")
    if step.state == "error":
        lines.append(f"ERROR: {step.error}")
    return tag.details(
        tag.summary(*head, cls="pb-step"),
        tag.pre("\n".join(lines)),
        open=step.state == "error",
    )
