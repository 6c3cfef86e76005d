"""The steps of a finished build as static HTML: a line that unfolds; after an error, unfolded at the fault."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from importlib.resources import files
from itertools import islice

from ..errors import BuildError, SourceRange
from ..status.stepname import INTERNAL, StepName, parse_name
from ..status.trace import Step, Trace
from . import ansi
from .advice import advice
from .code import instruction_words
from .markup import Markup, join, tag
from .parts import ENDINGS, ICONS, ROOT, style
from .plan import group_of, in_order
from .words import abridged, clipped, count_steps, instruction, plural, seconds

_LINES = 200
"""The most log lines of a step in the page; the store's history has all of them."""
_LOG = 16_000
"""Characters of one step's log that are kept."""
_LOGS = 40_000
"""The approximate number of HTML characters for all logs; faults come first."""
_LONGEST = 1000
"""Characters of one line that are kept."""
_ROWS = 80
"""The most steps in the page: the faulty ones, and the longest of the others."""
_NOT_RUN = 20
"""The most steps of a failed build that are shown although they did not run."""
_NAME = 240
"""Characters of an instruction that are kept."""
_MESSAGE = 400
"""Characters of an error's message that are kept; the Dockerfile's lines have all of a long command."""
_CLEAR = 12
"""The number of steps from which successful ones are hidden beside a failed one."""
_AROUND = 2
"""Lines of the Dockerfile shown before and after the marked ones."""
_BRIEF = 0.05
"""Seconds from which an internal step gets a line."""
_LANES = 3
"""The rows of the timeline in the header: as many simultaneous steps can be told apart."""


def line(trace: Trace, error: BuildError | None) -> str:
    """Return the outcome in one line."""
    how = {"": "Built in", "interrupted": "Canceled after"}.get(error.kind if error else "", "Failed after")
    counted = count_steps(trace.steps.values())
    return f"{how} {seconds(trace.elapsed)}" + (f" · {counted}" if counted else "")


def plain(trace: Trace, error: BuildError | None) -> str:
    """Return the same for front ends that only show text, with the full report of an error."""
    return "\n".join([line(trace, error), *([error.render()] if error else [])])


def render(trace: Trace, error: BuildError | None) -> Markup:
    """Return the steps; after an error, followed by the place in the Dockerfile and the next step."""
    whole = steps_of(trace, error)
    failed = next((step for step in trace.visible() if step.state == "error"), None)
    report = _report(error, failed) if error else None
    return join(fold_style(), tag.div(whole, report, cls=f"{ROOT} pb-fold"))


def steps_of(trace: Trace, error: BuildError | None = None) -> Markup:
    """Return the course of the build as a line that unfolds to the steps and their logs."""
    how, _, facts = line(trace, error).partition(" · ")
    icon = "done" if error is None else "canceled" if error.kind == "interrupted" else "error"
    started = [step for step in trace.visible() if _worth_a_line(step)]
    left_out = [step for step in trace.steps.values() if not step.index and not step.name.startswith(INTERNAL)]
    listed = _most(started)
    steps = in_order([*listed, *(left_out[:_NOT_RUN] if error else ())])
    span = _Span(steps)
    head = tag.summary(
        _icon(icon),
        " ",
        tag.strong(how),
        tag.span(" · ", facts, cls="pb-note") if facts else None,
        span.strip(steps),
        cls="pb-fold-head",
        data_lm_suppress_shortcuts="true",
    )
    hidden = len(started) - len(listed)
    body = _body(steps, span, _Logs(steps), put_away=error is not None and len(steps) > _CLEAR)
    rest = (
        tag.p(f"… {plural(hidden, 'more step')}, which took less time (see %build history)", cls="pb-note")
        if hidden
        else None
    )
    return tag.details(head, *body, rest, open=error is not None and not _is_calm(error))


@cache
def fold_style() -> Markup:
    """Return the style sheet of pages with steps."""
    css = files(__package__ or "").joinpath("fold.css").read_text("utf-8").partition("*/")[2]
    return Markup(style().replace("</style>", "".join(row.strip() for row in css.splitlines()) + "</style>"))


def _is_calm(error: BuildError) -> bool:
    return error.kind == "interrupted"


def _worth_a_line(step: Step) -> bool:
    internal = step.name.startswith(INTERNAL)
    return not internal or bool(step.error or step.lines) or step.seconds() >= _BRIEF


def _most(steps: list[Step]) -> list[Step]:
    ranked = sorted(steps, key=lambda step: (not step.error, step.completed is not None, -step.seconds()))
    return sorted(ranked[:_ROWS], key=lambda step: step.index)


class _Span:
    """The time from the start of the first step to the end of the last, in which each step has a position."""

    def __init__(self, steps: list[Step]) -> None:
        self._began = min((step.started for step in steps if step.started), default=None)
        ended = [step.completed or step.started for step in steps]
        self._ended = max((moment for moment in ended if moment), default=None)

    def place(self, step: Step) -> tuple[float, float]:
        """Return the start and the width of a step, in percent."""
        if not (self._began and self._ended and step.started) or self._ended <= self._began:
            return 0.0, 0.0
        left = self._percent(step.started)
        return left, max(0.6, self._percent(step.completed or self._ended) - left)

    def _percent(self, moment: datetime) -> float:
        assert self._began
        assert self._ended
        return 100 * (moment - self._began) / (self._ended - self._began)

    def strip(self, steps: list[Step]) -> Markup | None:
        """Return all steps in a few rows, which show when each ran, and what ran at the same time.

        The list of steps below says the same in words.
        """
        ends = [0.0] * _LANES
        marks: list[Markup] = []
        for step in sorted(steps, key=lambda step: step.started.timestamp() if step.started else 0.0):
            left, width = self.place(step)
            if not width:
                continue
            lane = next((lane for lane, end in enumerate(ends) if end <= left + 0.01), _LANES - 1)
            ends[lane] = left + width
            marks.append(_mark(step, left, width, top=lane * 4))
        return tag.span(*marks, cls="pb-strip", aria_hidden="true") if marks else None

    def track(self, step: Step) -> Markup:
        """Return one step on the time axis of all."""
        left, width = self.place(step)
        return tag.span(_mark(step, left, width) if width else None, cls="pb-track", aria_hidden="true")


def _mark(step: Step, left: float, width: float, top: int = 0) -> Markup:
    left = min(left, 99.4)
    where = f"left:{left:.1f}%;width:{min(width, 100 - left):.1f}%" + (f";top:{top}px" if top else "")
    return tag.i(cls=f"pb-is-{_ended(step)}", style=where)


class _Logs:
    """The ends of the logs, up to the limit of a page."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._made: dict[str, Markup] = {}
        budget = _LOGS
        for step in sorted((step for step in steps if step.lines), key=lambda step: (not step.error, -step.index)):
            self._made[step.digest] = log = _log(step, min(budget, _LOG))
            budget = max(0, budget - len(log))

    def of(self, step: Step) -> Markup | None:
        """Return the log of a step, or None when it printed nothing."""
        return self._made.get(step.digest)


def _log(step: Step, budget: int) -> Markup:
    entries: list[str] = []
    for entry in islice(reversed(step.lines), _LINES):
        entries.append(entry.text if len(entry.text) <= _LONGEST else f"{entry.text[:_LONGEST]}…")
        budget -= len(join(entries[-1])) + 1
        if budget < 0:
            entries.pop()
            break
    rows: list[Markup] = []
    look = ansi.PLAIN
    for text in reversed(entries):
        row, look = ansi.render(text, look)
        rows.append(row)
    if step.line_count > len(rows):
        words = f"… {step.line_count - len(rows):,} earlier lines are in the build's log (%build history)"
        rows.insert(0, tag.span(words, cls="pb-note"))
    return join(*rows, separator="\n")


def _body(steps: list[Step], span: _Span, logs: _Logs, *, put_away: bool) -> list[Markup]:
    """Return the steps, under the names of their stages if there are several."""
    if put_away:
        well = [step for step in steps if _ended(step) in ("done", "cached")]
        rest = [step for step in steps if step not in well]
        head = tag.summary(plural(len(well), "step"), " went well", cls="pb-note", data_lm_suppress_shortcuts="true")
        return [tag.details(head, *_body(well, span, logs, put_away=False)), *_body(rest, span, logs, put_away=False)]
    parts: list[Markup] = []
    groups: dict[tuple[int, str, str], list[Step]] = {}
    for step in steps:
        groups.setdefault(group_of(parse_name(step.name)), []).append(step)
    for (phase, stage, platform), members in groups.items():
        title = " · ".join(word for word in (stage, platform) if word) or ("Preparation", "Steps", "Export")[phase]
        parts += [tag.div(title, cls="pb-stage")] if len(groups) > 1 else []
        parts.append(tag.ul(*(_step(step, span, logs) for step in members), cls="pb-steps", aria_label=title))
    return parts


def _icon(state: str) -> Markup:
    return tag.span(ICONS.get(state, ""), cls=f"pb-icon pb-{state}", aria_hidden="true")


def _ended(step: Step) -> str:
    return "canceled" if step.state == "running" else step.state


def _step(step: Step, span: _Span, logs: _Logs) -> Markup:
    state = _ended(step)
    name = parse_name(step.name)
    head = (
        _icon(state),
        " ",  # If styles are removed, spaces and a dot keep the columns apart.
        tag.span(f"{name.number}/{name.count}" if name.number else "", cls="pb-place"),
        " ",
        colored(name),
        tag.i(" · "),
        span.track(step),
        tag.span(ENDINGS.get(state) or seconds(step.seconds()), cls=f"pb-num pb-{state}"),
    )
    log = logs.of(step)
    if log is None:
        return tag.li(tag.div(*head, cls="pb-step"))
    return tag.li(
        tag.details(
            tag.summary(*head, cls="pb-step", data_lm_suppress_shortcuts="true"),
            # Errors are at the end, to which the box is scrolled: its children are laid out from there.
            tag.div(
                tag.pre(log),
                cls="pb-log pb-from-end" if state == "error" else "pb-log",
                tabindex="0",
                role="region",
                aria_label=f"Log of {name.text[:80]}",
            ),
            open=state == "error",
        )
    )


def colored(name: StepName) -> Markup:
    """Return a step's instruction in colours."""
    command = clipped(instruction(name.text), _NAME)
    if not name.number:
        return tag.code(command, cls="pb-name")
    return tag.code(code(command), cls="pb-name", title=name.text[:_NAME] if len(command) > 60 else None)


def code(text: str) -> Markup:
    """Return an instruction, or a line of one, in colours."""
    return join(*(tag.span(word, cls=f"pb-{kind}") if kind else word for word, kind in instruction_words(text)))


def _report(error: BuildError, failed: Step | None) -> Markup:
    hint = advice(error, (entry.text for entry in failed.lines) if failed else ())
    return tag.div(
        tag.p(tag.strong(abridged(error.message, _MESSAGE))),
        excerpt(error.location),
        tag.p(None if _is_calm(error) else tag.span("→ ", aria_hidden="true"), _with_code(hint)) if hint else None,
        cls="pb-report pb-calm" if _is_calm(error) else "pb-report",
    )


def _with_code(sentence: str) -> Markup:
    """Return a sentence in which text between backticks is marked as code."""
    return join(*(tag.code(part) if number % 2 else part for number, part in enumerate(sentence.split("`"))))


def excerpt(where: SourceRange | None) -> Markup | None:
    """Return the marked lines of the Dockerfile that the error is about, with neighbouring lines."""
    if where is None:
        return None
    lines = where.text.splitlines()
    if not 1 <= where.start <= len(lines):
        return tag.p(tag.code(str(where)))
    last = max(where.start, where.end)
    rows: list[Markup] = []
    for number in range(max(1, where.start - _AROUND), min(len(lines), last + _AROUND) + 1):
        marked = where.start <= number <= last
        row = join(f"{'>' if marked else ' '}{number:4d}  ", code(lines[number - 1]))
        rows.append(tag.mark(row) if marked else row)
    source = tag.pre(join(*rows, separator="\n"), cls="pb-source", tabindex="0", role="region", aria_label=str(where))
    return join(tag.p(tag.code(str(where)), cls="pb-note"), source)
