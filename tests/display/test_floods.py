"""However much a step prints, and however it comes, it costs what it is long, and what is left out is told."""

from __future__ import annotations

import time

import pytest

from pybuild_magic.display import fold
from pybuild_magic.display.plain import Plain
from pybuild_magic.display.tail import Tail
from pybuild_magic.display.terminal import visible
from pybuild_magic.status.messages import SolveStatus, Vertex, VertexLog, now
from pybuild_magic.status.trace import KEPT_LINES, LONGEST_LINE, LastLines, Step, Trace

SECONDS = 10.0
"""What takes this long where it took minutes before is not quadratic; it takes a tenth of it, also under load."""


def feed(pieces: list[bytes]) -> tuple[Trace, Step]:
    trace, at = Trace(), now()
    trace.update(SolveStatus(vertexes=(Vertex("a", "[1/1] RUN a", started=at),)))
    for piece in pieces:
        trace.update(SolveStatus(logs=(VertexLog("a", 1, piece, at),)))
    trace.flush()
    return trace, trace.steps["a"]


@pytest.mark.parametrize("size", [16, 1 << 16, 32 << 20])
def test_a_log_without_line_ends_is_taken_in_at_once_in_pieces_of_any_size(size: int) -> None:
    total = min(32 << 20, size << 18)
    began = time.monotonic()
    trace, step = feed([b"x" * size] * (total // size))
    assert step.line_count == total // LONGEST_LINE
    assert step.lost == max(0, step.line_count - (8 << 20) // LONGEST_LINE), "what is kept is bounded"
    assert {len(line.text) for line in step.lines} == {LONGEST_LINE}
    out: list[str] = []
    Plain(out.append).finish(trace, None)
    if step.lost:
        assert f"… {step.lost} lines came too fast to be shown" in out[0]
    page = str(fold.render(trace, None))
    assert len(page) < 40_000
    assert "x…" in page
    assert time.monotonic() - began < SECONDS


def test_of_very_many_lines_the_last_ones_are_kept_and_all_are_counted() -> None:
    lines = [b"%d" % number for number in range(100_000)]
    for pieces in ([b"\n".join(lines)], [line + b"\n" for line in lines], [b"begun ", b"\n".join([b"", *lines[1:]])]):
        _, step = feed(pieces)
        assert step.line_count == 100_000
        assert step.log == b"\n".join(lines[-KEPT_LINES:]).decode()
        assert step.lost == 100_000 - KEPT_LINES
        assert step.characters == 5 * KEPT_LINES


def test_long_lines_are_cut_between_characters() -> None:
    text = "日本語" * 50_000
    for pieces in (
        [text.encode()],
        [text.encode() + b"\n"],
        [text.encode()[at : at + 999] for at in range(0, 450_000, 999)],
    ):
        _, step = feed(pieces)
        assert "".join(line.text for line in step.lines) == text
        assert step.line_count > 1


def test_a_page_is_sent_the_beginning_of_long_lines_and_the_numbers_are_right_where_lines_are_lost() -> None:
    _, step = feed([b"%07d" % number * 9000 + b"\n" for number in range(400)])
    assert 0 < len(step.lines) < 400 < KEPT_LINES
    tail, known = Tail(0), set[int]()
    for _ in range(60):
        for first, lines in tail.take(step, 10_000, 0, again=False):
            assert [line[:7] for line in lines] == [f"{first + at:07}" for at in range(len(lines))]
            assert all(len(line) == 2001 and line.endswith("…") for line in lines)
            known |= set(range(first, first + len(lines)))
    assert known == set(range(step.lost, 400))


@pytest.mark.parametrize("size", [16, 1 << 16, 8 << 20])
def test_an_error_tells_of_the_last_lines_what_can_be_read(size: int) -> None:
    began = time.monotonic()
    last = LastLines(3)
    total = min(32 << 20, size << 18)
    for _ in range(total // size):
        last.add(b"x" * size)
    [line] = last.lines()
    assert line.startswith("xxx")
    assert line.endswith("xxx")
    assert " characters … " in line
    assert len(line) < 5000
    for number in range(50_000):
        last.add(b"\nline %d\r\nand" % number)
    last.add(b" so on")
    assert last.lines() == ["and", "line 49999", "and so on"]
    last.add(b"\n" * 100 + b"1\n2\n3\n4\n")
    assert last.lines() == ["2", "3", "4"]
    assert time.monotonic() - began < SECONDS


def test_backspaces_cost_what_they_are() -> None:
    began = time.monotonic()
    assert visible("a" * 500_000 + "\x08" * 500_000 + "b") == "b"
    assert visible("a" * 100_000 + "x\x08\x08" * 100_000) == ""
    assert time.monotonic() - began < SECONDS
