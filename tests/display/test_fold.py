"""What stays in a notebook of the progress of a build."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec

from pybuild_magic.display import fold
from pybuild_magic.display.code import instruction_words
from pybuild_magic.errors import Interrupted, RunError, SourceRange
from pybuild_magic.status.messages import SolveStatus, Vertex, VertexLog, now
from pybuild_magic.status.trace import Trace

from .test_markup import Page

DOCKERFILE = "FROM base\nWORKDIR /a\nRUN one\nRUN two \\\n  three\nCOPY . .\nCMD x\n"


def trace(error: str = "", lines: int = 3, cached: bool = False) -> Trace:
    at = now()
    made = Trace()
    step = Vertex("sha256:1", "[1/1] RUN two", started=at, completed=at, error=error, cached=cached)
    log = "".join(f"line {number}\n" for number in range(lines)).encode()
    internal = Vertex("sha256:2", "[internal] load build definition", started=at, completed=at)
    made.update(SolveStatus(vertexes=(internal, msgspec.structs.replace(step, completed=None, error=""))))
    made.update(SolveStatus(logs=(VertexLog("sha256:1", 1, log, at),)))
    made.update(SolveStatus(vertexes=(step,)))
    made.flush()
    return made


def test_a_build_that_went_well_is_one_line_that_opens() -> None:
    page = str(fold.render(trace(), None))
    assert fold.line(trace(), None).startswith("Built in ")
    assert fold.line(trace(cached=True), None).endswith(" · 1 step, 1 cached")
    assert " open" not in page
    assert "line 2" in page
    assert "[internal]" not in page, "what took no time and said nothing is left out"


def test_a_failed_step_is_open_and_its_lines_are_marked() -> None:
    where = SourceRange("Dockerfile", 4, 5, DOCKERFILE)
    error = RunError("exit code: 3", 3, location=where, hint="Look at it.")
    page = str(fold.render(trace("exit code: 3"), error))
    assert page.count("<details open>") == 2
    assert page.count("<mark>") == 2
    text = Page(page).text
    assert ">   4  RUN two \\\n>   5    three" in text
    assert "   3  RUN one\n" in text
    assert "   1  FROM" not in text
    assert "Dockerfile:4" in text
    assert "exit code: 3" in text
    assert "Look at it." in text
    assert fold.line(trace("x"), error).startswith("Failed after ")


def test_a_static_page_has_the_colours_of_the_live_one() -> None:
    """The page's mode is tested with the same instructions (labextension/test)."""
    for case in json.loads((Path(__file__).parent / "data" / "instructions.json").read_text("utf-8")):
        assert [list(word) for word in instruction_words(case["text"])] == case["words"], case["text"]
    ours = Path(fold.__file__).with_name("fold.css").read_text("utf-8")
    live = Path(__file__).parents[2].joinpath("labextension/style/shared/base.css").read_text("utf-8")
    live_light, _, live_dark = live.partition("}")
    light, _, dark = ours.partition("data-jp-theme-light=false")
    for name in ("keyword", "string", "variable", "flag", "def", "builtin", "number", "operator"):
        for page, static in ((live_light, light), (live_dark, dark)):
            colours = [re.findall(rf"--{name}: *([^;]+);", css)[0].replace(" ", "") for css in (page, static)]
            assert colours[0] == colours[1], name
    marked = fold.excerpt(SourceRange("Dockerfile", 1, 1, DOCKERFILE))
    assert marked
    assert '<span class="pb-string">base</span>' in marked


def test_text_has_the_whole_report_for_front_ends_without_html() -> None:
    error = RunError("exit code: 3", 3, location=SourceRange("Dockerfile", 3, 3, DOCKERFILE), logs=["last line"])
    shown = fold.plain(trace("exit code: 3"), error)
    assert " > last line" in shown
    assert "   3 | >>> RUN one" in shown
    assert "ERROR: exit code: 3" in shown


def test_an_interrupted_step_is_canceled_and_is_no_error() -> None:
    page = str(fold.render(trace("context canceled"), Interrupted("The build was interrupted in [1/1] RUN two.")))
    assert "CANCELED" in page
    assert "Canceled after " in page
    assert "pb-error" not in page.partition("</style>")[2]


def test_a_long_log_is_kept_at_its_end_and_says_where_the_rest_is() -> None:
    page = str(fold.render(trace(lines=1000), None))
    assert "line 999" in page
    assert "line 700\n" not in page
    assert "800 earlier lines" in page
    assert "%build history" in page


def test_a_flood_keeps_the_page_small() -> None:
    assert len(fold.render(trace(lines=100_000), None)) < 20_000


def test_steps_that_were_not_run_are_none_of_those_that_are_left_out() -> None:
    at, failed = now(), Trace()
    steps = (
        Vertex("sha256:1", "[1/3] RUN a", started=at, completed=at, error="exit code: 1"),
        Vertex("sha256:2", "[2/3] RUN b"),
        Vertex("sha256:3", "[3/3] RUN c"),
    )
    failed.update(SolveStatus(vertexes=steps))
    failed.flush()
    page = str(fold.render(failed, RunError("exit code: 1", 1)))
    assert "not run" in page
    assert "more step" not in page
