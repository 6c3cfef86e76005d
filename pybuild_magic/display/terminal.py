"""What a terminal would show of a line that a program printed: escape sequences and overprinting resolved to text."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]?"  # colours, cursor: CSI
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links: OSC
    r"|[PX^_][^\x1b]*(?:\x1b\\)?"  # other strings
    r"|[ -/]*[0-~]?"  # everything else
    r")"
)
"""Escape sequences by their classes in ECMA-48, so that also unknown ones are taken whole."""
_RUBS = re.compile(r"(\x08+)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def visible(line: str) -> str:
    """`line` without escape sequences and control characters; of a line that overprints itself, what remains."""
    if line.isprintable():
        return line
    line = _SEQUENCE.sub("", line)
    if "\r" in line:
        # A progress bar: each return begins the line anew, and the last state is the one that stays.
        line = next((part for part in reversed(line.split("\r")) if part), "")
    if "\x08" in line:
        line = _rubbed_out(line)
    return _CONTROL.sub("", line)


def _rubbed_out(line: str) -> str:
    """`line` after its backspaces."""
    kept: list[str] = []
    for run in _RUBS.split(line):
        if run.startswith("\x08"):
            left = len(run)
            while left and kept:
                last = kept.pop()
                if len(last) > left:
                    kept.append(last[:-left])
                left -= min(left, len(last))
        elif run:
            kept.append(run)
    return "".join(kept)
