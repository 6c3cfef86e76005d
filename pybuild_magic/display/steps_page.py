"""The steps of a build as static HTML: the dependencies of the stages, and when each step ran."""

from __future__ import annotations

from datetime import datetime

from ..status.stepname import INTERNAL, parse_name
from ..summary import Summary, VertexSummary
from .markup import Markup, join, tag, text
from .parts import ENDINGS, ICONS, bar, section, table
from .words import count_steps, instruction, plural, seconds


def graph_section(summary: Summary) -> Markup | None:
    """Return the stages with their steps, and what each used from another, as a list, which every page can show."""
    steps = [vertex for vertex in summary.vertexes if vertex.stage]
    stages: dict[str, list[VertexSummary]] = {}
    for vertex in steps:
        stages.setdefault(vertex.stage, []).append(vertex)
    if not stages:
        return None
    known = {vertex.digest: vertex for vertex in steps}
    items = [
        tag.li(tag.strong(stage), tag.ul(*(_node(vertex, known) for vertex in members), cls="pb-graph"))
        for stage, members in stages.items()
    ]
    note = f"{plural(len(stages), 'stage')}, {plural(len(steps), 'step')}"
    return section("Graph", note, tag.ul(*items, cls="pb-graph"))


def _node(vertex: VertexSummary, known: dict[str, VertexSummary]) -> Markup:
    others = [known[digest] for digest in vertex.inputs if digest in known]
    sources = [_label(other) for other in others if other.stage != vertex.stage and other.kind != "source"]
    state = "error" if vertex.error else "cached" if vertex.cached else "done"
    return tag.li(
        tag.span(ICONS[state], cls=f"pb-icon pb-{state}", aria_hidden="true"),
        " ",
        tag.code(instruction(parse_name(vertex.name).text)),
        tag.span(" CACHED" if vertex.cached else "", cls="pb-note"),
        tag.span(f" ← {', '.join(sources)}", cls="pb-note") if sources else None,
    )


def _label(vertex: VertexSummary) -> str:
    return f"{vertex.stage} {parse_name(vertex.name).number or ''}".strip()


def timeline_section(summary: Summary) -> Markup:
    """Return a row per step, with the time and duration of its work."""
    vertexes = [vertex for vertex in summary.vertexes if vertex.started and not vertex.name.startswith(INTERNAL)]
    start = min((vertex.started for vertex in summary.vertexes if vertex.started), default=None)
    rows = [_row(vertex, summary, start) for vertex in vertexes]
    counted = count_steps(summary.vertexes)
    duration = f"{seconds(summary.seconds)} on {summary.builder}"
    note = f"{counted} in {duration}" if counted else duration
    note += f"; RUN on rung {summary.rung.number}, {summary.rung.name}" if summary.rung else ""
    if omitted := summary.omitted.get("vertexes"):
        note += f"; {plural(omitted, 'more step')} not shown"
    return section("Timeline", note, table("Timeline", ("Step", "Took", "From", "When"), rows))


def _row(vertex: VertexSummary, summary: Summary, start: datetime | None) -> Markup:
    ending = ENDINGS["error"] if vertex.error else ENDINGS["cached"] if vertex.cached else seconds(vertex.seconds)
    after = (vertex.started - start).total_seconds() if vertex.started and start else 0.0
    text = parse_name(vertex.name).text
    name = vertex.name.removesuffix(text) + instruction(text)
    error = tag.pre(vertex.error, tabindex="0") if vertex.error else None
    return tag.tr(
        tag.td(tag.code(name, title=vertex.name), error, cls="pb-text"),
        tag.td(ending, cls="pb-num"),
        tag.td(f"+{seconds(after)}", cls="pb-num"),
        tag.td(_span(vertex, after, summary.seconds), cls="pb-when"),
    )


def _span(vertex: VertexSummary, after: float, whole: float) -> Markup:
    """Return a bar for the time of a step's work within the time of the build."""
    if whole <= 0:
        return text("")
    left = min(100.0, max(0.0, 100 * after / whole))
    width = min(100 - left, 100 * vertex.seconds / whole)
    return bar(left, max(width, 0.5))


def request_section(summary: Summary) -> Markup:
    """Return the request, the equivalent docker command, and the Dockerfile."""
    parts: list[Markup] = [
        section("SolveRequest", "", tag.pre(summary.request, tabindex="0")),
        section("Command", "the same with docker", tag.pre(summary.command, tabindex="0"), is_open=True),
    ]
    if summary.dockerfile:
        parts.append(section("Dockerfile", "", tag.pre(summary.dockerfile, tabindex="0")))
    return section("Request", "as BuildKit takes it, and the same with docker", join(*parts))
