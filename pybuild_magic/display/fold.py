"""The steps of a build that has ended as static HTML: one line that opens; after an error, open at what went wrong."""

from __future__ import annotations

from ..errors import BuildError, SourceRange
from ..trace import Step, Trace
from .markup import Markup, join, tag
from .parts import ENDINGS, ICONS, ROOT, style
from .terminal import visible
from .words import INTERNAL, count_steps, seconds, shorten

_LINES = 200
"""Log lines of a step that are kept in the page; the store's history has them all."""
_AROUND = 2
"""Lines of the Dockerfile shown before and after the marked ones."""
_BRIEF = 0.05
"""Seconds that an internal step took to be worth a line."""


def line(trace: Trace, error: BuildError | None) -> str:
    """How it ended, in one line."""
    how = {"": "Built in", "interrupted": "Interrupted after"}.get(error.kind if error else "", "Failed after")
    counted = count_steps([(step.name, step.cached) for step in trace.visible()])
    return f"{how} {seconds(trace.elapsed)}" + (f" · {counted}" if counted else "")


def plain(trace: Trace, error: BuildError | None) -> str:
    """The same for front ends that show only text, with the whole report of an error."""
    return "\n".join([line(trace, error), *([error.render()] if error else [])])


def render(trace: Trace, error: BuildError | None) -> Markup:
    """The steps; after an error, with the place in the Dockerfile and the next step below them."""
    how, _, facts = line(trace, error).partition(" · ")
    icon = "done" if error is None else "canceled" if error.kind == "interrupted" else "error"
    head = tag.summary(_icon(icon), " ", how, tag.span(" · ", facts, cls="pb-note") if facts else None)
    shown = [step for step in trace.visible() if _worth_a_line(step)]
    steps = tag.ul(*(_step(step) for step in shown), cls="pb-steps") if shown else None
    report = _report(error) if error else None
    return join(style(), tag.div(tag.details(head, steps, open=error is not None), report, cls=ROOT))


def _worth_a_line(step: Step) -> bool:
    internal = step.name.startswith(INTERNAL)
    return not internal or bool(step.error or step.lines) or step.seconds() >= _BRIEF


def _icon(state: str) -> Markup:
    return tag.span(ICONS.get(state, ""), cls=f"pb-icon pb-{state}", aria_hidden="true")


def _step(step: Step) -> Markup:
    state = "canceled" if step.state == "running" else step.state
    ending = ENDINGS.get(state) or seconds(step.seconds())
    head = (
        _icon(state),
        " ",
        tag.code(shorten(step.name), cls="pb-name", title=step.name),
        " ",
        tag.span(ending, cls="pb-num"),
    )
    if not step.lines:
        return tag.li(tag.div(*head, cls="pb-step"))
    lines = [visible(entry.text) for entry in list(step.lines)[-_LINES:]]
    if step.line_count > len(lines):
        lines.insert(0, f"… {step.line_count - len(lines):,} earlier lines are in the build's log (%build history)")
    return tag.li(
        tag.details(
            tag.summary(*head, cls="pb-step"),
            tag.pre("\n".join(lines), tabindex="0"),
            open=state == "error",
        )
    )


def _report(error: BuildError) -> Markup:
    return tag.div(
        tag.p(tag.strong(error.message)),
        excerpt(error.location),
        tag.p(error.hint) if error.hint else None,
        cls="pb-report" if error.kind != "interrupted" else "pb-report pb-calm",
    )


def excerpt(where: SourceRange | None) -> Markup | None:
    """The lines of the Dockerfile that something is about, marked, among their neighbours."""
    if where is None:
        return None
    lines = where.text.splitlines()
    if not 1 <= where.start <= len(lines):
        return tag.p(tag.code(str(where)))
    last = max(where.start, where.end)
    rows: list[Markup] = []
    for number in range(max(1, where.start - _AROUND), min(len(lines), last + _AROUND) + 1):
        marked = where.start <= number <= last
        row = join(f"{'>' if marked else ' '}{number:4d}  ", lines[number - 1])
        rows.append(tag.mark(row) if marked else row)
    return join(tag.p(tag.code(str(where)), cls="pb-note"), tag.pre(join(*rows, separator="\n"), cls="pb-source"))
