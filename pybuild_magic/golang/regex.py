r"""Translation of regular expressions from Go's syntax to Python's, as far as path patterns contain them.

A path pattern becomes a regular expression in which `[…]` and `\x` are copied unchanged, so they have the meaning of
Go's `regexp`: `[[:alpha:]]` is letters and `\d` is a digit. Python reads both differently.
"""

from __future__ import annotations

import re

from ..errors import ContextError
from ..untrusted.foreign import number

_PERL = {"d": "0-9", "s": r"\t\n\f\r ", "w": "0-9A-Za-z_"}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTION = {"A": r"\A", "z": r"\Z", "b": r"(?a:\b)", "B": r"(?a:\B)"}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_NUMBER = re.compile(r"x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|(0[0-7]{0,2}|[1-7][0-7]{1,2})")
_REPEAT = re.compile(r"\{(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}")
_MOST_REPEATS = 1000
_NAMED = re.compile(r"\[:(\^?)(.*?):\]", re.DOTALL)


def to_python(expression: str) -> str:
    r"""Translate. Raises ContextError for expressions that Go rejects, and for its Unicode classes and `\Q`."""
    translated = _Translation(expression).run()
    try:
        re.compile(translated)
    except re.error:
        raise _bad_pattern() from None
    return translated


class _Translation:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def run(self) -> str:
        out: list[str] = []
        while self.position < len(self.text):
            char = self._take()
            if char == "\\":
                out.append(self._escape())
            elif char == "[":
                out.append(self._class())
            elif char == "{":
                out.append(self._repeat())
            elif char == "^":
                # Go allows repeating an anchor; Python only allows it in a group.
                out.append("(?:^)" if self.text.startswith("{", self.position) else "^")
            elif char == "$":
                out.append(r"\Z")
            else:
                out.append(char)
        return "".join(out)

    def _repeat(self) -> str:
        """Translate `{2,3}` after its `{`; a `{` that begins no repetition stands for itself."""
        match = _REPEAT.match(self.text, self.position - 1)
        if match is None:
            return r"\{"
        least, most = number(match[1], _MOST_REPEATS), number(match[3] or match[1], _MOST_REPEATS)
        if least is None or most is None or most < least:
            raise _bad_pattern()
        self.position = match.end()
        return match[0]

    def _take(self) -> str:
        char = self.text[self.position : self.position + 1]
        self.position += 1
        if not char:
            raise _bad_pattern()
        return char

    def _escape(self) -> str:
        """Translate an escape outside of brackets, after its backslash."""
        following = self.text[self.position : self.position + 1]
        if following in _ASSERTION:
            self.position += 1
            return _ASSERTION[following]
        if following.lower() in _PERL:
            self.position += 1
            return f"[{'^' if following.isupper() else ''}{_PERL[following.lower()]}]"
        return re.escape(self._escaped_char())

    def _escaped_char(self) -> str:
        if written := _NUMBER.match(self.text, self.position):
            self.position = written.end()
            code = int(written[1] or written[2], 16) if written[3] is None else int(written[3], 8)
            if code > 0x10FFFF:
                raise _bad_pattern()
            return chr(code)
        char = self._take()
        if char in _CONTROL:
            return _CONTROL[char]
        if char.isascii() and not char.isalnum():
            return char
        raise _bad_pattern()

    def _class(self) -> str:
        """Translate a bracket expression, after its `[`."""
        negated = self.text.startswith("^", self.position)
        self.position += negated
        out: list[str] = []
        first = True
        while first or not self.text.startswith("]", self.position):
            first = False
            out.append(self._named() or self._range())
        self.position += 1
        return f"[{'^' if negated else ''}{''.join(out)}]"

    def _named(self) -> str:
        r"""Translate `[:alpha:]` or `\d`; return "" before a character or a range."""
        if match := _NAMED.match(self.text, self.position):
            if match[2] not in _POSIX:
                raise _bad_pattern()
            self.position = match.end()
            return _complement(_POSIX[match[2]]) if match[1] else _POSIX[match[2]]
        following = self.text[self.position + 1 : self.position + 2]
        if self.text.startswith("\\", self.position) and following and following.lower() in _PERL:
            self.position += 2
            members = _PERL[following.lower()]
            return _complement(members) if following.isupper() else members
        return ""

    def _range(self) -> str:
        low = self._member()
        if self.text.startswith("-", self.position) and not self.text.startswith("-]", self.position):
            self.position += 1
            high = self._member()
            if high < low:
                raise _bad_pattern()
            return f"{re.escape(low)}-{re.escape(high)}"
        return re.escape(low)

    def _member(self) -> str:
        char = self._take()
        return self._escaped_char() if char == "\\" else char


def _bad_pattern() -> ContextError:
    """Return the error for an invalid pattern, in BuildKit's words."""
    return ContextError("syntax error in pattern")


def _complement(members: str) -> str:
    """Return the ranges of everything outside of the ASCII ranges `members`."""
    inside = re.compile(f"[{members}]")
    outside = "".join(re.escape(c) for c in map(chr, range(128)) if not inside.match(c))
    return outside + "\\x80-\U0010ffff"
