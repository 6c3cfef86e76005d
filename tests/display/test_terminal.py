"""Log lines are shown as a terminal would leave them."""

from __future__ import annotations

import pytest

from pybuild_magic.display.terminal import visible


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

    began = time.monotonic()
    visible("\x1b[" * 100_000)
    visible("\x1b]" * 100_000)
    visible("a" + "\x08" * 3 + "a\x08" * 100_000)
    visible("\x1bP" + "x" * 1_000_000)
    assert time.monotonic() - began < 2
