"""White space, quoting and suggestions by BuildKit's rules, which differ from Python's in details."""

from __future__ import annotations

from collections.abc import Iterable

SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's White_Space. `str.isspace` and `\\s` also include the separators U+001C to U+001F."""

_SUGGEST_WITHIN = 3
_SHORT_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


def strip(text: str) -> str:
    """Return the text without white space at its ends."""
    return text.strip(SPACES)


def lstrip(text: str) -> str:
    """Return the text without white space at its start."""
    return text.lstrip(SPACES)


def quote(text: str) -> str:
    r"""Return the text in double quotes with escapes, as BuildKit's messages show values (Go's `%q`)."""
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if char == " " or (char.isprintable() and not char.isspace()):
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def nearest(word: str, options: Iterable[str], *, case_sensitive: bool) -> str:
    """Return the option fewer than three edits away from `word`, in the case of `word`, or "".

    The first of several that are as near. When `word` is one of the options its spelling was not the fault:
    "". The rule is that of BuildKit's `util/suggest`.
    """
    needle = word if case_sensitive else word.lower()
    candidates = [option if case_sensitive else option.lower() for option in options]
    if not candidates or needle in candidates:
        return ""
    best = min(candidates, key=lambda candidate: _edit_distance(needle, candidate))
    if _edit_distance(needle, best) >= _SUGGEST_WITHIN:
        return ""
    return best.upper() if not case_sensitive and word == word.upper() != word.lower() else best


def alike(word: str, options: Iterable[str]) -> list[str]:
    """Return the options, those with the same letters or prefix first: an order where BuildKit has none."""
    letters, word = sorted(word.lower()), word.lower()
    return sorted(options, key=lambda option: (sorted(option) != letters, option[:1] != word[:1]))


def did_you_mean(word: str, options: Iterable[str], *, case_sensitive: bool) -> str:
    """Return ` (did you mean X?)` for the end of a message, or ""."""
    match = nearest(word, options, case_sensitive=case_sensitive)
    return f" (did you mean {match}?)" if match else ""


def _edit_distance(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]
