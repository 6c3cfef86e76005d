"""Go's `filepath.Match`, the syntax of LLB's wildcards: `*`, `?` and classes, which do not match `/`."""

from __future__ import annotations

import re
from functools import lru_cache


class BadPatternError(ValueError):
    """A pattern that Go considers malformed: an unclosed or empty class, or a trailing backslash."""


def has_wildcards(pattern: str) -> bool:
    """Return whether `pattern` has an unescaped wildcard."""
    return re.match(r"(?:[^\\*?\[]|\\.)*+[*?\[]", pattern, re.DOTALL) is not None


def match(pattern: str, name: str) -> bool:
    """Return whether `pattern` matches the whole `name`; a malformed pattern matches nothing."""
    try:
        return compile_pattern(pattern).fullmatch(name) is not None
    except BadPatternError:
        return False


@lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return `pattern` as a regular expression. Raises `BadPatternError`.

    The text between two stars is matched only where it first occurs: from there, the second star matches everything
    that it could from a later position. So no pattern causes much backtracking.
    """
    pieces: list[list[str]] = [[]]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            pieces.append([])
            at += 1
        elif character == "?":
            pieces[-1].append("[^/]")
            at += 1
        elif character == "[":
            text, at = _class(pattern, at + 1)
            pieces[-1].append(text)
        else:
            literal, at = _literal(pattern, at)
            pieces[-1].append(re.escape(literal))
    head, *rest = ["".join(piece) for piece in pieces]
    stars = [f"(?>[^/]*?{piece})" for piece in rest[:-1]] + [f"[^/]*{piece}" for piece in rest[-1:]]
    return re.compile("".join([head, *stars]), re.DOTALL)


def _literal(pattern: str, at: int) -> tuple[str, int]:
    if pattern[at] == "\\":
        at += 1
        if at == len(pattern):
            raise BadPatternError(pattern)
    return pattern[at], at + 1


def _class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while True:
        if pattern.startswith("]", at) and ranges:
            break
        low, at = _bound(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _bound(pattern, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            ranges.append("")
    body = "".join(ranges)
    if not body:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{body}]", at + 1


def _bound(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern) or pattern[at] in "-]":
        raise BadPatternError(pattern)
    character, at = _literal(pattern, at)
    if at >= len(pattern):
        raise BadPatternError(pattern)
    return character, at
