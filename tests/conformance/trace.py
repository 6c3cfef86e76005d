"""What a build says of its vertices: names, inputs, CACHED and order; and what two builders say differently."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .pair import Pair


class Step(msgspec.Struct, frozen=True, order=True):
    """A vertex, as it ended."""

    name: str
    cached: bool
    inputs: tuple[str, ...] = ()
    """The names of what it reads."""
    error: str = ""


class Trace(msgspec.Struct, frozen=True):
    """What a build said of its vertices."""

    steps: list[Step]
    """Sorted."""
    order: list[str]
    """The vertices of the front end and of the exporters as they started, with one entry for all steps between."""
    early: list[str]
    """Steps that ran before what they read was done."""


def read_trace(messages: Iterable[Mapping[str, Any]], hide: Mapping[str, str]) -> Trace:
    """The trace that SolveStatus messages tell, each text of `hide` in it replaced."""
    last: dict[str, dict[str, Any]] = {}
    started: dict[str, str] = {}
    for message in messages:
        for vertex in message.get("vertexes", ()):
            digest = vertex["digest"]
            last[digest] = {**last.get(digest, {}), **vertex}
            if "started" in vertex:
                started.setdefault(digest, _time(vertex["started"]))
    cached = {digest for digest, vertex in last.items() if vertex.get("cached")}
    pattern = re.compile("|".join(map(re.escape, sorted(hide, key=len, reverse=True))) + "|sha256:[0-9a-f]{64}")

    def shown(digest: str) -> str:
        return pattern.sub(lambda found: hide.get(found[0], "sha256:*"), last[digest].get("name", ""))

    def is_step(digest: str) -> bool:
        return not re.match(r"\[(internal|.*\] load (metadata|\.dockerignore))|exporting", last[digest].get("name", ""))

    early = [
        f"{shown(digest)} before {shown(read)}"
        for digest, vertex in last.items()
        for read in vertex.get("inputs", ())
        if digest not in cached and "started" in vertex and _time(vertex["started"]) < _time(last[read]["completed"])
    ]
    order = [
        "steps" if is_step(digest) or shown(digest).endswith("load build context") else shown(digest)
        for digest in sorted(started, key=lambda each: started[each])
    ]
    for what in (r".* load metadata for|\[context .* load \.dockerignore", "exporting to"):  # at once, in no order
        together = [name for name in order if re.match(what, name)]
        places = [place for place, name in enumerate(order) if name in together]
        for place, name in zip(places, sorted(together), strict=True):
            order[place] = name
    steps = [
        Step(
            shown(digest),
            digest in cached,
            tuple(sorted(map(shown, vertex.get("inputs", ())))),
            vertex.get("error", "") and "error",
        )
        for digest, vertex in last.items()
        if digest
    ]
    return Trace(sorted(steps), list(dict.fromkeys(order)), sorted(early))


def _time(text: str) -> str:
    """A time that sorts as text: fractions of a second to nine digits."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return f"{whole}.{fraction:0<9}"


Traces = tuple[Trace, Trace]
"""Of the first and the second build."""


def differing(pair: Pair, theirs: Traces, ours: Traces) -> list[str]:
    """What the two builders say differently of a pair's vertices, as a diff."""
    diff: list[str] = []
    for number, (their, our) in enumerate(zip(theirs, ours, strict=True), 1):
        found = [set(_own(pair, trace)) for trace in (their, our)]
        for sign, steps in (("-", found[0] - found[1]), ("+", found[1] - found[0])):
            diff += [
                f"{sign} build {number}: {'CACHED ' * s.cached}{s.name} {list(s.inputs)} {s.error}"
                for s in sorted(steps)
            ]
        if pair.alone and their.order != our.order:
            diff += [f"- build {number}: {their.order}", f"+ build {number}: {our.order}"]
        diff += [f"+ build {number}: {text}" for text in our.early]
    return diff


def _own(pair: Pair, trace: Trace) -> list[Step]:
    if pair.alone:
        return trace.steps
    return [step for step in trace.steps if re.search(rf"\b{pair.name}(_\w+)?\b", step.name)]
