"""What page and kernel both say: each runs the cases of tests/display/data, the page in labextension/test."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pybuild_magic.display import ansi
from pybuild_magic.display.tree import mode_string
from pybuild_magic.display.words import (
    abridged,
    clipped,
    count_steps,
    familiar,
    human_bytes,
    instruction,
    left_out,
    place,
    plural,
    seconds,
    shorten,
)
from pybuild_magic.summary import FileSummary, OutputSummary, VertexSummary

DATA = Path(__file__).parent / "data"
WORDS: dict[str, list[list[Any]]] = json.loads((DATA / "words.json").read_text("utf-8"))
LABEXTENSION = Path(__file__).parents[2] / "labextension"


def test_sizes_durations_counts_and_names_are_those_that_the_page_says() -> None:
    assert [[value, human_bytes(value)] for value, _ in WORDS["bytes"]] == WORDS["bytes"]
    assert [[value, seconds(value)] for value, _ in WORDS["seconds"]] == WORDS["seconds"]
    assert [[count, noun, plural(count, noun)] for count, noun, _ in WORDS["plural"]] == WORDS["plural"]
    assert [[name, familiar([name])] for name, _ in WORDS["familiar"]] == WORDS["familiar"]
    assert [[name, shorten(name)] for name, _ in WORDS["shorten"]] == WORDS["shorten"]
    assert [[text, instruction(text)] for text, _ in WORDS["instruction"]] == WORDS["instruction"]
    assert [[names, count_steps(map(_vertex, names))] for names, _ in WORDS["steps"]] == WORDS["steps"]
    assert [[out, on, place(OutputSummary(**out), on)] for out, on, _ in WORDS["place"]] == WORDS["place"]
    assert [[text, most, abridged(text, most)] for text, most, _ in WORDS["abridged"]] == WORDS["abridged"]
    assert [[omitted, left_out(omitted)] for omitted, _ in WORDS["left_out"]] == WORDS["left_out"]
    shown = [[kind, mode, mode_string(FileSummary("x", kind, mode))] for kind, mode, _ in WORDS["modes"]]
    assert shown == WORDS["modes"]


def _vertex(words: str) -> VertexSummary:
    """A vertex of a case: its name, after `cached: ` or `not run: `."""
    how, _, name = words.rpartition(": ")
    started = None if how == "not run" else datetime.now(UTC)
    return VertexSummary(digest="", name=name, cached=how == "cached", started=started)


def test_a_text_is_cut_between_words() -> None:
    assert clipped("one two three", 13) == "one two three"
    assert clipped("one two three", 9) == "one two…"
    assert clipped("one two three", 8) == "one two…"
    assert clipped("a" * 20, 8) == "a" * 7 + "…"


def test_what_a_terminal_shows_of_a_line_is_what_the_page_shows() -> None:
    for case in json.loads((DATA / "ansi.json").read_text("utf-8")):
        style, shown = ansi.PLAIN, list[list[tuple[str, ansi.Style]]]()
        for line in case["lines"]:
            found, style = ansi.pieces(line, style)
            shown.append(found)
        assert shown == [[(text, _style(look)) for text, look in line] for line in case["pieces"]], case["lines"]


def _style(look: dict[str, Any]) -> ansi.Style:
    """A style of a case, whose colours are one of 256, or red, green and blue."""
    fg, bg = (ansi.color(value) if (value := look.get(name)) is not None else None for name in ("fg", "bg"))
    return ansi.Style(fg, bg, frozenset(look) - {"fg", "bg"})


def test_the_types_of_the_page_are_those_of_the_structs() -> None:
    checked = subprocess.run([sys.executable, LABEXTENSION / "models.py", "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
