"""Symbolic modes, as in `COPY --chmod=u+x,go-w`: those of chmod(1), with a umask of 0."""

from __future__ import annotations

import re
from collections.abc import Callable

from .upper import FileOpError

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])(?=[-+=]|$)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


def parse_mode(text: str) -> Callable[[int, bool], int]:
    """Return a function from (mode, is a directory) to the new mode. Raises `FileOpError` for an invalid mode."""
    steps: list[tuple[str, str, str]] = []
    for clause in text.split(","):
        match = _CLAUSE.fullmatch(clause)
        if not match:
            raise FileOpError(f"invalid mode: {text!r}")
        classes = "ugo" if "a" in match[1] or not match[1] else match[1]
        steps.extend((classes, action[1], action[2]) for action in _ACTION.finditer(match[2]))

    def apply(mode: int, directory: bool) -> int:
        for classes, operator, permissions in steps:
            mode = _step(mode, directory, classes, operator, permissions)
        return mode

    return apply


def _step(mode: int, directory: bool, classes: str, operator: str, permissions: str) -> int:
    mask = bits = 0
    if permissions in _SHIFT:
        copied = mode >> _SHIFT[permissions] & 7
        for name in classes:
            mask |= 7 << _SHIFT[name]
            bits |= copied << _SHIFT[name]
    else:
        execute = "x" in permissions or ("X" in permissions and (directory or mode & 0o111 != 0))
        value = sum(_BITS[name] for name in set(permissions) & {"r", "w"}) + execute
        for name in classes:
            mask |= 7 << _SHIFT[name]
            bits |= value << _SHIFT[name]
        special = (0o4000 if "u" in classes else 0) | (0o2000 if "g" in classes else 0)
        mask |= special
        if "s" in permissions:
            bits |= special
        if "o" in classes:
            mask |= 0o1000
        if "t" in permissions:
            bits |= 0o1000
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    return (mode & ~mask) | bits
