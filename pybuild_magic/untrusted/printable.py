"""Untrusted text, made safe for a terminal: no sequence in it moves the cursor, queries the terminal or writes to it.

The output of a build, and every name in it, is untrusted. A terminal that got it unchanged could be made to type into
the user's shell, to replace the clipboard, and to draw over its own lines.
"""

from __future__ import annotations

import re

_SEQUENCE = (
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]?"  # colours, cursor: CSI
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links: OSC
    r"|[PX^_][^\x1b]*(?:\x1b\\)?"  # other strings
    r"|[ -/]*[0-~]?"  # everything else
    r")"
)
"""Escape sequences by their classes in ECMA-48, so that unknown ones are matched whole too."""
_SEQUENCES = re.compile(_SEQUENCE)
_COLORS = re.compile(r"\x1b\[([0-9;:]*)m")
_OTHER_SEQUENCES = re.compile(rf"(?!{_COLORS.pattern}){_SEQUENCE}")
_RUBS = re.compile(r"(\x08+)")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_OTHER_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f-\x9f]")
"""All control characters except tabs and the escape character, with which colours begin."""
_C1 = re.compile(r"[\x7f-\x9f]")
_RESET = "\x1b[0m"
_UNSEEN = frozenset({"5", "6", "8"})
"""Parameters that hide text, or make it blink."""
_MOST = 64
"""The most characters of colour sequences that a line may pass on to the next one."""


def visible(line: str) -> str:
    """Return `line` without escape sequences and control characters; if it overprints itself, what remains of it."""
    if line.isprintable():
        return line
    return _CONTROL.sub("", _overprinted(_SEQUENCES.sub("", line)))


def visible_lines(text: str) -> str:
    """Return each line of `text` as `visible` leaves it."""
    return text if text.isprintable() else "\n".join(map(visible, text.split("\n")))


def colored(line: str, colors: str = "") -> tuple[str, str]:
    """Return `line` as `visible` does but with its colours, and the colours with which the next line begins.

    `colors` are those from the line before. All colours are reset at the end of the line, so that they do not affect
    our own text.
    """
    if not colors and line.isprintable():
        return line, ""
    line = _overprinted(_OTHER_SEQUENCES.sub("", line))
    # Again, because backspaces may have removed characters from within a sequence.
    line = _COLORS.sub(_seen, _OTHER_CONTROL.sub("", _OTHER_SEQUENCES.sub("", line)))
    after = colors
    for match in _COLORS.finditer(line):
        resets = match[1].partition(";")[0].strip("0") == ""
        after = match[0] if resets or len(after) > _MOST else after + match[0]
        after = "" if match[1].strip("0;:") == "" else after
    return colors + line + (_RESET if after else ""), after


def printable_json(document: str) -> str:
    """Return a JSON document in which the control characters that JSON allows in strings are escaped."""
    return document if document.isprintable() else _C1.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def _overprinted(line: str) -> str:
    if "\r" in line:
        # A progress bar: each return starts the line again, and only its last state stays.
        line = next((part for part in reversed(line.split("\r")) if _COLORS.sub("", part)), "")
    return _rubbed_out(line) if "\x08" in line else line


def _rubbed_out(line: str) -> str:
    """Return `line` with its backspaces applied."""
    runs: list[str] = []
    for run in _RUBS.split(line):
        if run.startswith("\x08"):
            remaining = len(run)
            while remaining and runs:
                last = runs.pop()
                if len(last) > remaining:
                    runs.append(last[:-remaining])
                remaining -= min(remaining, len(last))
        elif run:
            runs.append(run)
    return "".join(runs)


def _seen(match: re.Match[str]) -> str:
    """Return a sequence of colours without the parameters that hide text."""
    codes: list[str] = []
    words = match[1].split(";")
    while words:
        word = words.pop(0)
        if word in ("38", "48", "58"):
            count = {"5": 2, "2": 4}.get(words[0] if words else "", 0)
            codes += [word, *words[:count]]
            del words[:count]
        elif word.partition(":")[0].lstrip("0") not in _UNSEEN:
            codes.append(word)
    return f"\x1b[{';'.join(codes)}m" if codes else ""
