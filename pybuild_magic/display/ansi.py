"""A line of terminal output with its colours, as HTML: the static counterpart of the live log.

Each colour is given as two properties, for light and for dark pages, with sufficient contrast in both. If a sanitizer
removes them, the text is still readable.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby

import msgspec

from .markup import Markup, join, tag
from .terminal import visible

RGB = tuple[int, int, int]
CONTRAST = 4.5
"""The contrast of text and background: WCAG 2.2 AA."""
PAPER: dict[str, RGB] = {"l": (246, 248, 250), "d": (38, 38, 38)}
"""The background of logs, in light pages and in dark ones."""
INK: dict[str, RGB] = {"l": (31, 35, 40), "d": (230, 230, 230)}

_SIXTEEN: tuple[RGB, ...] = (
    *((40, 44, 52), (205, 49, 49), (13, 150, 80), (180, 130, 0)),
    *((36, 114, 200), (180, 60, 180), (17, 150, 180), (160, 160, 160)),
    *((110, 110, 110), (235, 80, 80), (35, 180, 110), (215, 165, 20)),
    *((70, 145, 235), (210, 100, 210), (40, 180, 210), (220, 220, 220)),
)
_LEVELS = (0, 95, 135, 175, 215, 255)
_CELLS = re.compile(r"\x1b\[([0-?]*)[ -/]*([@-~])|(\r)|(\x08)|\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|.?)|(.)", re.DOTALL)
_GRAPHIC = re.compile(r"\x1b\[([0-?]*)[ -/]*m")
_MOVES = re.compile(r"[\r\x08]|\x1b\[[0-?]*[CDGKP]")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that change the direction of surrounding text, and could make a log show something else than it says."""
_WIDEST = 4096
"""The largest column to which a cursor can be sent."""
_ON = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike", 21: "underline"}
_OFF = {22: {"bold", "dim"}, 23: {"italic"}, 24: {"underline"}, 27: {"inverse"}, 29: {"strike"}}


class Style(msgspec.Struct, frozen=True):
    """The style of text: its colours, and `flags` for bold, dim, italic, underline, strike, inverse."""

    fg: RGB | None = None
    bg: RGB | None = None
    flags: frozenset[str] = frozenset()


PLAIN = Style()


def render(line: str, style: Style = PLAIN) -> tuple[Markup, Style]:
    """Return one line as HTML, and the style in which the next one begins."""
    spans, style = pieces(line, style)
    return join(*(_span(text, look) for text, look in spans)), style


def pieces(line: str, style: Style = PLAIN) -> tuple[list[tuple[str, Style]], Style]:
    """Return the pieces of one line with their styles, and the style in which the next one begins.

    The cases in tests/display/data/ansi.json are also run against the page's parser.
    """
    line = _DIRECTION.sub("\N{REPLACEMENT CHARACTER}", line)
    if "\x1b" not in line and not _MOVES.search(line):
        visible_text = visible(line)
        return [(visible_text, style)] if visible_text else [], style
    if not _MOVES.search(line):
        return _colored(line, style)
    cells: list[tuple[str, Style]] = []
    column = 0
    for parameters, final, back, rub, char in _CELLS.findall(line):
        if final == "m":
            style = _graphic(style, parameters)
        elif final and final in "CDGKP":
            cells, column = _moved(cells, column, parameters, final)
        elif back:
            column = 0
        elif rub:
            column = max(0, column - 1)
        elif char == "\t" or (char >= " " and char != "\x7f"):
            cells += [(" ", PLAIN)] * (column - len(cells))
            cells[column : column + 1] = [(char, style)]
            column += 1
    groups = groupby(cells, key=lambda cell: cell[1])
    return [("".join(char for char, _ in group), look) for look, group in groups], style


def _colored(line: str, style: Style) -> tuple[list[tuple[str, Style]], Style]:
    parts: list[tuple[str, Style]] = []
    at = 0
    for match in [*_GRAPHIC.finditer(line), None]:
        if text := visible(line[at : match.start() if match else len(line)]):
            if parts and parts[-1][1] == style:
                text = parts.pop()[0] + text
            parts.append((text, style))
        if match:
            style, at = _graphic(style, match[1]), match.end()
    return parts, style


def _moved(
    cells: list[tuple[str, Style]], column: int, parameters: str, final: str
) -> tuple[list[tuple[str, Style]], int]:
    count = min(_WIDEST, max(1, int(parameters) if parameters.isdecimal() and len(parameters) < 6 else 1))
    match final:
        case "C":
            return cells, min(_WIDEST, column + count)
        case "D":
            return cells, max(0, column - count)
        case "G":
            return cells, count - 1
        case "P":
            return cells[:column] + cells[column + count :], column
        case _ if parameters == "2":
            return [], column
        case _ if parameters == "1":
            return [(" ", PLAIN)] * (column + 1) + cells[column + 1 :], column
        case _:
            return cells[:column], column


def _graphic(style: Style, parameters: str) -> Style:
    """Return the style after `CSI parameters m`; unknown parameters are ignored."""
    codes = [int(word) if word.isdecimal() and len(word) < 6 else 0 for word in re.split("[;:]", parameters)]
    fg, bg, flags = style.fg, style.bg, style.flags
    while codes:
        code = codes.pop(0)
        if code == 0:
            fg, bg, flags = None, None, frozenset[str]()
        elif code in _ON:
            flags |= {_ON[code]}
        elif code in _OFF:
            flags -= _OFF[code]
        elif code in (38, 48):
            many = codes[:1] == [2]
            channels = codes[1:4] if many else codes[1:2]
            if codes[:1] not in ([2], [5]) or len(channels) < (3 if many else 1):
                break
            color = (
                (min(channels[0], 255), min(channels[1], 255), min(channels[2], 255)) if many else _indexed(channels[0])
            )
            codes = codes[4:] if many else codes[2:]
            fg, bg = (color, bg) if code == 38 else (fg, color)
        elif code in (39, 49):
            fg, bg = (None, bg) if code == 39 else (fg, None)
        elif 30 <= code <= 37 or 90 <= code <= 97:
            fg = _indexed(code - 30 if code < 90 else code - 82)
        elif 40 <= code <= 47 or 100 <= code <= 107:
            bg = _indexed(code - 40 if code < 100 else code - 92)
    return Style(fg, bg, flags)


def color(value: int | list[int]) -> RGB:
    """Return one of a terminal's 256 colours, or a colour given as red, green and blue."""
    if isinstance(value, int):
        return _indexed(value)
    red, green, blue = value
    return (red, green, blue)


def _indexed(number: int) -> RGB:
    number = min(number, 255)
    if number < 16:
        return _SIXTEEN[number]
    if number >= 232:
        grey = 8 + (number - 232) * 10
        return (grey, grey, grey)
    number -= 16
    return (_LEVELS[number // 36], _LEVELS[number // 6 % 6], _LEVELS[number % 6])


def _luminance(color: RGB) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in color)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(color: RGB, against: RGB) -> float:
    """Return the contrast of two colours as WCAG defines it, 1 to 21."""
    low, high = sorted((_luminance(color), _luminance(against)))
    return (high + 0.05) / (low + 0.05)


def readable(color: RGB, paper: RGB) -> RGB:
    """Return `color`, moved towards black or white just enough to be readable on `paper`."""
    target = 0 if _luminance(paper) > 0.18 else 255
    for step in range(21):
        red, green, blue = (round(value + (target - value) * step / 20) for value in color)
        if contrast((red, green, blue), paper) >= CONTRAST:
            return (red, green, blue)
    return (target, target, target)


@lru_cache(maxsize=1024)
def _look(style: Style) -> tuple[str, str]:
    """Return the classes and the properties of a style; see display/html.css."""
    properties: list[str] = []
    for theme in ("l", "d"):
        fg, bg = style.fg, style.bg
        if "inverse" in style.flags:
            fg, bg = bg or PAPER[theme], fg or INK[theme]
        if fg or bg:
            properties.append(f"--{theme}:rgb{readable(fg or INK[theme], bg or PAPER[theme])}")
        if bg:
            properties.append(f"--{theme}b:rgb{bg}")
    classes = [f"pb-{flag}" for flag in sorted(style.flags - {"inverse"})]
    classes += ["pb-fg"] if properties else []
    classes += ["pb-bg"] if any("b:" in name[:5] for name in properties) else []
    return " ".join(classes), ";".join(properties).replace(" ", "")


def _span(text: str, style: Style) -> Markup:
    if style == PLAIN or not text:
        return join(text)
    classes, properties = _look(style)
    return tag.span(text, cls=classes or None, style=properties or None)
