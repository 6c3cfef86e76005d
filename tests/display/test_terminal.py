"""Log lines are shown as a terminal would leave them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybuild_magic.display.terminal import colored, printable_json, visible, visible_lines

LEFT = re.compile(r"\x1b\[[0-9;:]*m")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
PIECES = st.lists(
    st.sampled_from(
        [*"\x1b\x1b\x1b\x1b[[]PX^_\\;:0123458mmJcnh\x07\x08\r\t\x00\x9b\x9d\x84\x7f a", "38;5;", "48;2;1;"]
    ),
    max_size=40,
).map("".join)
HOSTILE = st.one_of(PIECES, st.text())


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain", "plain"),
        ("tab\tand naïve 日本語", "tab\tand naïve 日本語"),
        ("\x1b[1;32mgreen\x1b[0m text", "green text"),
        ("\x1b[38;5;208morange\x1b[m", "orange"),
        ("\x1b[38:2::1:2:3mcolons\x1b[0m", "colons"),
        ("\x1b[2K\x1b[1Gline", "line"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPquery\x1b\\after", "after"),
        ("\x1b(Bcharset \x1b=keys \x1b7save", "charset keys save"),
        ("cut \x1b[3", "cut "),
        ("cut \x1b", "cut "),
        (" 10%\r 50%\r100%", "100%"),
        ("100%\r", "100%"),
        ("\x1b[32m 10%\r\x1b[32m done\x1b[0m\r", " done"),
        ("abc\x08\x08\x08xyz", "xyz"),
        ("\x08\x08x", "x"),
        ("nul\x00 bell\x07 c1\x9b del\x7f", "nul bell c1 del"),
        ("", ""),
    ],
)
def test_escape_sequences_and_overprinting(printed: str, shown: str) -> None:
    assert visible(printed) == shown


def test_a_hostile_line_takes_no_time() -> None:
    import time

    began = time.process_time()
    visible("\x1b[" * 100_000)
    visible("\x1b]" * 100_000)
    visible("a" + "\x08" * 3 + "a\x08" * 100_000)
    visible("\x1bP" + "x" * 1_000_000)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[1;32mgreen\x1b[0m text", "\x1b[1;32mgreen\x1b[0m text"),
        ("\x1b[32mgreen", "\x1b[32mgreen\x1b[0m"),
        ("\x1b[38;5;8mgrey\x1b[m", "\x1b[38;5;8mgrey\x1b[m"),
        ("\x1b[38;2;8;5;6mrgb\x1b[m", "\x1b[38;2;8;5;6mrgb\x1b[m"),
        ("\x1b[38:5:8mcolons\x1b[m", "\x1b[38:5:8mcolons\x1b[m"),
        ("\x1b[8mhidden", "hidden"),
        ("\x1b[31;08;5mhidden\x1b[0m", "\x1b[31mhidden\x1b[0m"),
        ("\x1b]52;c;aGk=\x07clipboard", "clipboard"),
        ("\x1b[2J\x1b[Hscreen", "screen"),
        ("\x1b[6n\x1b[c\x1b[>c\x1bP$qm\x1b\\queries", "queries"),
        ("\x1b[32m 10%\r\x1b[32m done\x1b[0m\r", "\x1b[32m done\x1b[0m"),
        ("a\x1b[31m\x08\x082J", "a"),
    ],
)
def test_only_colours_stay(printed: str, shown: str) -> None:
    assert colored(printed)[0] == shown


def test_colours_go_on_in_the_next_line_and_end_with_each() -> None:
    first, colors = colored("\x1b[31mred \x1b[1mbold")
    second, colors = colored("still", colors)
    third, colors = colored("to here\x1b[0m and on", colors)
    assert (first, second) == ("\x1b[31mred \x1b[1mbold\x1b[0m", "\x1b[31m\x1b[1mstill\x1b[0m")
    assert third == "\x1b[31m\x1b[1mto here\x1b[0m and on"
    assert colors == ""
    for _ in range(100):
        _, colors = colored("\x1b[32m\x1b[1m", colors)
    assert len(colors) < 100


@settings(derandomize=True, deadline=None)
@given(st.lists(HOSTILE, max_size=4))
def test_no_text_commands_a_terminal(lines: list[str]) -> None:
    colors = ""
    for line in lines:
        shown, colors = colored(line, colors)
        assert not CONTROL.search(LEFT.sub("", shown)), ascii(shown)
        assert not CONTROL.search(visible(line))
        if LEFT.search(shown):
            last = LEFT.findall(shown)[-1]
            assert not colors or last == "\x1b[0m"
    text = "\n".join(lines)
    assert not CONTROL.search(visible_lines(text).replace("\n", ""))
    document = json.dumps(lines, ensure_ascii=False)
    assert json.loads(printable_json(document)) == lines
    assert not CONTROL.search(printable_json(document))
