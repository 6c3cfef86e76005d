"""The page of the places: how RUN is run in each, and what the tests do there."""

from __future__ import annotations

from collections.abc import Iterable

from pybuild_magic.builders.embedded.sandbox import rungs

from .expected import reason
from .image import ROOT
from .place import PLACES, Place
from .task import TASKS

PAGE = ROOT / "docs/reference/places.md"
BEGIN, END = "<!-- what `python -m tests.places --page` writes -->", "<!-- end -->"


def lines() -> Iterable[str]:
    """Yield the table of places, the table of rungs, and the list of tasks."""
    yield "| in a container | started with | `RUN` on | works |"
    yield "|---|---|---|---|"
    for place in PLACES.values():
        yield f"| {place.about} | {_flags(place)} | {_rung(place)} | {_missing(place)} |"
    yield from ("", "| rung | name | what is different for a process |", "|---|---|---|")
    masked = rungs.Place(proc="refused", single=True, tracer="", root=True)
    for rung in rungs.climb(masked):
        yield f"| {rung.number} | {rung.name} | {rung.lacks or 'nothing'} |"
    yield from ("", "CI and `make places` do this in each place:", "")
    often = sum(place.often for place in PLACES.values())
    for task in TASKS.values():
        where = "" if task.quick else f" (by CI in {often} of them)"
        yield f"- {task.about}{' (only by `make places`, in one place for each rung)' if task.slow else where}"


def _flags(place: Place) -> str:
    flags = " ".join(flag for flag in place.flags if not flag.startswith("--user"))
    return f"`{flags}`" if flags else "no options"


def _rung(place: Place) -> str:
    return f"rung {place.rung}" if place.rung else "refused"


def _missing(place: Place) -> str:
    missing = {task.about: why for task in TASKS.values() if (why := reason(place, task))}
    if not place.rung:
        return f"without `RUN`: {'; '.join(dict.fromkeys(missing.values()))}"
    reasons = {why: "; ".join(about for about, other in missing.items() if other == why) for why in missing.values()}
    return f"partly: {'; '.join(f'{why} ({tasks})' for why, tasks in reasons.items())}" if missing else "yes"


def written() -> str:
    """Return the page with current tables."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{BEGIN}", *lines(), f"{END}{after}"])
