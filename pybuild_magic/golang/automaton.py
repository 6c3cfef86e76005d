"""Path patterns with many wildcards, matched in time linear in the path, as by Go's `regexp`.

Python's `re` tries one possibility after the other: for `*a*a*a*a*a` and a long name there are too many to wait for.
Here all possibilities are followed at once, one character of the path after the other, and transitions are remembered.
A state is a number with a bit for each position in the pattern that the path may have reached.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

STAR, DEEP, REST = "*", "**/", "**"
"""Any characters except `/`; nothing, or everything up to a `/` (without newlines, as for `.`); everything (without
newlines).
"""
_MOST_STATES = 1000


class Automaton:
    """A pattern as a list of items: STAR, DEEP, REST, or a compiled expression that matches one character."""

    def __init__(self, items: Sequence[str | re.Pattern[str]]) -> None:
        self._items: list[str | re.Pattern[str]] = []
        for item in items:
            if item == DEEP:
                self._items += [DEEP, "/"]  # the position before the wildcard, and the one inside it
            elif not (item == STAR and self._items[-1:] == [STAR]):
                self._items.append(item)
        self._end = 1 << len(self._items)
        self._start = self._closed(1)
        self._steps: dict[int, dict[str, int]] = {}

    def matches(self, path: str) -> bool:
        """Return whether the pattern matches the whole `path`."""
        state = self._start
        for char in path:
            known = self._steps.get(state)
            if known is None:
                if len(self._steps) >= _MOST_STATES:
                    self._steps.clear()
                known = self._steps[state] = {}
            following = known.get(char)
            if following is None:
                following = known[char] = self._step(state, char)
            if not following:
                return False
            state = following
        return bool(state & self._end)

    def _step(self, state: int, char: str) -> int:
        """Return the positions reached by `char`."""
        following = 0
        for place, item in enumerate(self._items):
            if not state >> place & 1:
                continue
            if item == STAR:
                following |= (char != "/") << place
            elif item == "/":
                following |= (char != "\n") << place | (char == "/") << place + 1
            elif item == REST:
                following |= (char != "\n") << place
            elif isinstance(item, re.Pattern):
                following |= (item.fullmatch(char) is not None) << place + 1
        return self._closed(following)

    def _closed(self, state: int) -> int:
        """Return the positions with those reached without a character: after a wildcard that may match nothing."""
        for place, item in enumerate(self._items):
            if state >> place & 1:
                if item in (STAR, REST):
                    state |= 1 << place + 1
                elif item == DEEP:
                    state |= 1 << place + 1 | 1 << place + 2
        return state
