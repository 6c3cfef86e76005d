"""What a page is told of a running build: in which order, how much of a log, and what it says in the end."""

from __future__ import annotations

import contextlib
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.display import ansi, fold
from pybuild_magic.display.advice import advice
from pybuild_magic.display.plan import Plan, in_order
from pybuild_magic.display.tail import Tail
from pybuild_magic.display.widget import LiveView
from pybuild_magic.errors import BuildError, RunError, SourceError
from pybuild_magic.status.messages import SolveStatus, Vertex, VertexLog, now
from pybuild_magic.status.stepname import StepName, parse_name
from pybuild_magic.status.trace import KEPT_LINES, Step, Trace

from .test_markup import Page

NAMES = json.loads((Path(__file__).parent / "data" / "stepnames.json").read_text("utf-8"))
"""Names with their parts; the page's parser has the same cases (labextension/test)."""


@pytest.mark.parametrize("case", NAMES, ids=lambda case: case["name"])
def test_the_name_of_a_vertex_in_its_parts(case: dict[str, Any]) -> None:
    name = case["name"]
    assert parse_name(name) == StepName(**{key: value for key, value in case.items() if key != "name"})


def test_a_stage_of_ten_steps_and_more_without_a_name_is_one_group() -> None:
    """BuildKit pads the numbers: the first nine were strangers in a group of their own, and uncoloured."""
    names = [f"[{number:2d}/31] RUN step {number}" for number in range(1, 32)]
    plan = Plan()
    plan.take(steps(*((name,) for name in reversed(names))))
    assert [row.place for row in plan.rows()] == [f"{number}/31" for number in range(1, 32)]
    assert {(row.stage, row.kind) for row in plan.rows()} == {("", "exec")}


def test_a_step_counts_while_the_build_runs_and_afterwards_or_never() -> None:
    """Exports are announced last: "2 of 4 steps" ended as 6."""
    names = ["[internal] load metadata", "[auth] hub pull", "[1/2] FROM x", "[2/2] RUN y", "exporting to image"]
    trace = Trace()
    trace.update(SolveStatus(vertexes=tuple(Vertex(name, name, started=now(), completed=now()) for name in names)))
    with contextlib.redirect_stdout(io.StringIO()):
        view = LiveView("title", "embedded", lambda: None)
    view.update(trace)
    assert (view._view.state["done"], view._view.state["total"]) == (2, 2)
    view.close()
    assert "2 steps" in fold.line(trace, None).split(" · ")


def test_a_failed_build_counts_the_steps_that_it_did_not_come_to_as_it_lists_them() -> None:
    """Four rows were below "3 steps"."""
    trace = Trace()
    ran = (
        Vertex("a", "[1/3] FROM x", started=now(), completed=now()),
        Vertex("b", "[2/3] RUN y", started=now(), error="no"),
    )
    trace.update(SolveStatus(vertexes=(*ran, Vertex("c", "[3/3] RUN z"))))
    assert fold.line(trace, BuildError("no")).split(" · ")[1] == "2 of 3 steps"


def steps(*names: tuple[str, ...]) -> list[Step]:
    """Steps by name, each with the names of its inputs."""
    return [Step(name, name, inputs) for name, *inputs in names]


def test_stages_come_in_the_order_in_which_they_use_each_other() -> None:
    last, first = "[web 1/1] COPY --from=build /a /b", "[build 1/2] FROM x"
    mixed = steps(
        ("exporting to image", last),
        (last, "[build 2/2] RUN make"),
        ("[build 2/2] RUN make", first),
        (first,),
        ("[internal] load metadata",),
    )
    ordered = [step.name for step in in_order(mixed)]
    assert ordered == ["[internal] load metadata", first, "[build 2/2] RUN make", last, "exporting to image"]


def test_stages_that_share_steps_and_a_thousand_of_them_are_ordered_too() -> None:
    shared = steps(("[a 1/2] FROM x",), ("[b 2/2] RUN y", "[a 1/2] FROM x"), ("[a 2/2] COPY z", "[b 2/2] RUN y"))
    assert len(in_order(shared)) == 3
    chain = steps(*((f"[s{n} 1/1] RUN x", f"[s{n - 1} 1/1] RUN x") for n in range(1500, 0, -1)))
    assert in_order(chain)[0].name == "[s1 1/1] RUN x"


def test_a_plan_is_told_when_there_is_something_new_in_it() -> None:
    plan = Plan()
    both = steps(("[1/2] FROM x",), ("[2/2] RUN y",))
    assert plan.take(both[:1])
    assert not plan.take(both[:1])
    assert plan.take(both)
    assert [row.place for row in plan.rows()] == ["1/2", "2/2"]
    assert plan.take(both[1:]) is False, "a row stays"


def printed(trace: Trace, count: int, text: bytes = b"line %d\n") -> Step:
    first = trace.steps["a"].line_count if "a" in trace.steps else 0
    data = b"".join(text % number for number in range(first, first + count))
    at = now()
    trace.update(SolveStatus(vertexes=(Vertex("a", "a", started=at),), logs=(VertexLog("a", 1, data, at),)))
    return trace.steps["a"]


def test_a_page_gets_each_line_once_and_again_when_it_may_be_new() -> None:
    trace, tail = Trace(), Tail(0)
    step = printed(trace, 300)
    assert tail.take(step, 100_000, 0, again=False) == [(0, [f"line {number}" for number in range(300)])]
    assert tail.take(step, 100_000, 0, again=False) == []
    assert tail.take(printed(trace, 1), 100_000, 0, again=False) == [(300, ["line 300"])]
    [(first, lines)] = tail.take(step, 100_000, 9, again=True)
    assert (first, len(lines), tail.refreshed) == (101, 200, 9)


def test_of_a_flood_the_newest_lines_come_first_and_the_others_when_there_is_room() -> None:
    trace, tail = Trace(), Tail(0)
    known: set[int] = set()
    for _ in range(20):
        runs = tail.take(printed(trace, 2000), 10_000, 0, again=False)
        assert sum(len(line) + 8 for _, lines in runs for line in lines) < 10_100
        assert runs[0][0] + len(runs[0][1]) == trace.steps["a"].line_count, "the end is always there"
        known |= {first + at for first, lines in runs for at in range(len(lines))}
    for _ in range(20):
        for first, lines in tail.take(trace.steps["a"], 10_000, 0, again=False):
            assert lines[0] == f"line {first}"
            known |= set(range(first, first + len(lines)))
    assert set(range(40_000 - KEPT_LINES, 40_000)) <= known
    assert tail.take(trace.steps["a"], 10_000, 0, again=False) == []


def test_a_bar_that_overprints_itself_for_hours_stays_small() -> None:
    trace = Trace()
    at = now()
    for percent in range(5000):
        bar = b"\r%5d of 5000 ########" % percent
        trace.update(SolveStatus(logs=(VertexLog("a", 1, bar, at),)))
    assert trace.steps["a"].unfinished.endswith(" 4999 of 5000 ########")
    assert len(trace.steps["a"].unfinished) < 5000
    assert trace.steps["a"].line_count == 0


def test_colours_are_readable_and_text_stays_text() -> None:
    markup, style = ansi.render("\x1b[1;31m<b>red\x1b[0m \x1b[48;5;226mback\x1b[38;2;9;9;9m\x1b[2K")
    assert str(markup) == "", "the line was taken back"
    assert style.fg == (9, 9, 9)
    markup, _ = ansi.render("\x1b[1;31m<b>red\x1b[0m then\rRED")
    page = Page(str(markup))
    assert page.text == "REDred then"
    for number in range(256):
        color = ansi.render(f"\x1b[38;5;{number}mx")[1].fg
        assert color
        for theme in ("l", "d"):
            assert ansi.contrast(ansi.readable(color, ansi.PAPER[theme]), ansi.PAPER[theme]) >= ansi.CONTRAST


@pytest.mark.parametrize(
    "line",
    [
        "\x1b",
        "\x1b[",
        "\x1b[38;5m",
        "\x1b[38;2;1m",
        "\x1b[99999999999999999999C",
        "\x1b[\x1b[31mx",
        "\x1b]8;;x",
        "\b\b\r",
    ],
)
def test_broken_sequences_break_nothing(line: str) -> None:
    assert "x" in Page(str(ansi.render(f"{line}\x07\rx")[0])).text or line == "\x1b]8;;x"


@pytest.mark.parametrize(
    ("log", "code", "words"),
    [
        ("/bin/sh: pipp: not found", 127, "Install “pipp” in an earlier RUN"),
        ("bash: line 1: gcc: command not found", 127, "Install “gcc” in an earlier RUN"),
        ("E: Unable to locate package curl", 100, "apt-get update"),
        ("fetch failed: Temporary failure in name resolution", 1, "--network=host"),
        ("write: No space left on device", 1, "%build prune"),
        ("cp: error writing 'x': Disk quota exceeded", 1, "%build prune"),
        ("OSError: [Errno 28] No space left on device: '/dev/shm/psm_1'", 1, "--shm-size"),
        ("dd: error writing '/dev/shm/x': No space left on device", 1, "--shm-size"),
        ("Bus error (core dumped)", 135, "--shm-size"),
        ("", 135, "--shm-size"),
        ("It is possible that dataloader's workers are out of shared memory. (shm)", 1, "--shm-size"),
        ("OSError: [Errno 24] Too many open files: 'x'", 1, "--ulimit nofile"),
        ("E: setgroups 65534 failed - setgroups (1: Operation not permitted)", 100, "%build doctor"),
        ("chown: changing ownership of '/srv': Invalid argument", 1, "%build doctor"),
        ("chown: x: Invalid argument", 1, "%build doctor"),
        ("mount: /mnt: must be superuser to use mount.", 32, "RUN --mount=type=tmpfs"),
        ("mount: permission denied (are you root?)", 1, "RUN --mount=type=tmpfs"),
        ("mount: mounting tmpfs on /mnt failed: Operation not permitted", 1, "RUN --mount=type=tmpfs"),
        ("sh: 0: Cannot fork", 2, "%build doctor"),
        ("bash: fork: retry: Resource temporarily unavailable", 254, "%build doctor"),
        ("/bin/sh: can't fork: Resource temporarily unavailable", 2, "%build doctor"),
        ("RuntimeError: can't start new thread", 1, "%build doctor"),
        ("OpenBLAS blas_thread_init: pthread_create failed for thread 3 of 4", 1, "%build doctor"),
        ("read: Resource temporarily unavailable", 1, ""),
        ("", 137, "memory"),
        ("ls: missing.txt: No such file or directory", 1, "“missing.txt” does not exist in the image"),
        ("all is well", 1, ""),
    ],
)
def test_a_failed_step_says_what_to_do_next(log: str, code: int, words: str) -> None:
    said = advice(RunError("exit", code), ["before", log])
    assert words in said
    assert bool(said) == bool(words)
    assert advice(SourceError("x", hint="Look."), [log]) == "Look."


def test_the_timeline_has_each_step_where_and_as_long_as_it_ran() -> None:
    trace, at = Trace(), now()
    later = at + timedelta(seconds=1)
    end = at + timedelta(seconds=4)
    trace.update(SolveStatus(vertexes=(Vertex("a", "[1/2] RUN a", started=at, completed=later),)))
    trace.update(SolveStatus(vertexes=(Vertex("b", "[2/2] RUN b", started=later, completed=end),)))
    trace.flush()
    page = str(fold.render(trace, None))
    assert page.count("left:0.0%;width:25.0%") == 2, "in the head and in its row"
    assert page.count("left:25.0%;width:75.0%") == 2


def test_a_page_of_any_build_is_bounded() -> None:
    trace, at = Trace(), now()
    for number in range(600):
        name = f"[stage-{number // 20} {number % 20 + 1}/20] RUN " + "very long " * 200
        vertex = Vertex(f"{number}", name, started=at, completed=at + timedelta(seconds=1))
        log = ("\x1b[31m" + "<" * 50 + "\x1b[0m<\n") * 300
        trace.update(SolveStatus(vertexes=(vertex,), logs=(VertexLog(f"{number}", 1, log.encode(), at),)))
    trace.flush()
    page = str(fold.render(trace, None))
    assert len(page) < 150_000
    assert "520 more steps" in page
