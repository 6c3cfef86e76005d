r"""The patterns of `.dockerignore`, matched against paths as by moby/patternmatcher.

A pattern matches a path and everything below it; `!pattern` makes an exception; the last match counts. `*` and `?` do
not match `/`, `**` does. The same patterns are used for COPY's `--exclude` and the include and exclude patterns of a
local source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from ..errors import ContextError
from .automaton import DEEP, REST, STAR, Automaton
from .path import clean_path
from .regex import to_python
from .text import quote, strip

_ITEM = r"(?:\\.|[^\-\]\\])"
_ELEMENT = rf"(?:\\.|[^\\\[]|\[\^?+(?:{_ITEM}(?:-{_ITEM})?)+\])"
_WELL_FORMED = re.compile(f"{_ELEMENT}*", re.DOTALL)
_ONE_ELEMENT = re.compile(_ELEMENT, re.DOTALL)
_RANGE = re.compile(rf"({_ITEM})(?:-({_ITEM}))?", re.DOTALL)
_PART = re.compile(r"(\**)((?:\\.|\\\Z|\[(?:\\.|[^\]\\])*(?:\]|\\?\Z)|[^*\\\[])*)", re.DOTALL)
"""The parts of a pattern: text between stars, and the stars before it."""
_TOKEN = re.compile(r"(?P<deep>\*\*/?)|(?P<escaped>\\.)|.", re.DOTALL)
_PIECE = re.compile(r"(?P<deep>\*\*/?)|\\.|\[(?:\\.|\[:\^?\w*:\]|[^\]\\])*\]|.", re.DOTALL)
"""Like _TOKEN, but with a class as a single piece."""
_REPETITION = re.compile(r"(?<!\\)\{\d+,\d*\}")
"""A repetition without a fixed count, which costs as much as a star."""
_MANY_STARS, _MANY_DEEP = 4, 3
_MEANS_ITSELF = frozenset(".+()$")
"""Characters escaped in the translation to a regular expression. `|`, `{` and `}` should be, but are not: moby's table
has no room for them, so in a pattern with a wildcard they have their meaning in a regular expression.
"""
_NAME_ENDING = re.compile(r"\*\*/\*([^*?\[\]\\^/{|}]+)")
_NAME = re.compile(r"\*\*/((?:[^*?\[\]\\^/{|}]|\?|\*(?!\*)|\[[0-9A-Za-z][0-9A-Za-z-]*\])+)")
"""Patterns that depend only on the last element of a path: a suffix of it, or all of it."""


def read_ignore(text: str) -> list[str]:
    """Return the patterns of a `.dockerignore`, cleaned; `!` stays in front. Comments and blank lines are skipped."""
    patterns: list[str] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#") or not (pattern := strip(line)):
            continue
        mark = "!" if pattern.startswith("!") else ""
        if pattern := strip(pattern.removeprefix("!")):
            pattern = clean_path(pattern)
        if len(pattern) > 1:
            pattern = pattern.removeprefix("/")
        patterns.append(mark + pattern)
    return patterns


class PatternMatcher:
    """Matches paths (`a/b`, without a leading slash) against patterns in the form of `read_ignore`.

    Adjacent patterns of the same kind are matched together, because it makes no difference which of them matched. So
    the state of a directory, which is kept for its contents, is one bit for each such group.

    Raises ContextError for a malformed pattern.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns: list[str] = []
        """The patterns in use, cleaned, each with its `!`."""
        runs: list[tuple[bool, list[str]]] = []
        for text in patterns:
            if not (pattern := strip(text)):
                continue
            pattern = clean_path(pattern)
            if pattern == "!":
                raise ContextError('illegal exclusion pattern: "!"')
            self.patterns.append(pattern)
            exclusion = pattern.startswith("!")
            if not runs or runs[-1][0] != exclusion:
                runs.append((exclusion, []))
            runs[-1][1].append(pattern.removeprefix("!"))
        self.exclusions = any(exclusion for exclusion, _ in runs)
        """Whether any pattern is an exception."""
        self._groups = [(exclusion, 1 << n, _Group(texts)) for n, (exclusion, texts) in enumerate(runs)]

    def matches(self, path: str) -> bool:
        """Return whether the patterns, applied in order to the path and its parents, match it."""
        return self.match(path)[0]

    def match(self, path: str, parent: int | None = None) -> tuple[bool, int]:
        """Return whether the path matches, and the state to pass for its contents.

        `parent` is the state of the path's directory, 0 at the root, as passed by walks. Without it the parents are
        matched one by one, which can give another result: in a walk, a `!pattern` is not applied to a directory that
        nothing has matched, and then does not affect its contents.
        """
        matched, state = False, 0
        for exclusion, bit, group in self._groups:
            if parent is not None and parent & bit:
                hit = True
            elif exclusion != matched:
                continue
            else:
                hit = group.matches(path) or (parent is None and any(map(group.matches, _above(path))))
            if hit:
                state |= bit
                matched = not exclusion
        return matched, state


def _above(path: str) -> list[str]:
    """Return the parents of a path, outermost first."""
    return [path[:n] for n, char in enumerate(path) if char == "/"]


class _Group:
    """Patterns of the same kind, of which one must match.

    Most patterns in real ignore files are a name, a suffix or a prefix, and are looked up as such; the others form one
    regular expression.
    """

    def __init__(self, patterns: Sequence[str], *, by_name: bool = True) -> None:
        self._patterns = patterns
        self._by_name = by_name
        exact: set[str] = set()
        prefixes: list[str] = []
        suffixes: list[str] = []
        names: list[str] = []
        paths: list[str] = []
        anywhere: list[str] = []
        automata: list[Automaton] = []
        for pattern in patterns:
            kind, expression = _translate(pattern)
            if kind == "exact":
                exact.add(pattern)
            elif kind == "prefix":
                prefixes.append(pattern[:-2])
            elif kind == "suffix":
                suffixes.append(pattern[2:])
                if pattern[2:3] == "/":
                    exact.add(pattern[3:])
            elif (automaton := _automaton(pattern)) is not None:
                automata.append(automaton)
            elif by_name and (ending := _NAME_ENDING.fullmatch(pattern)):
                suffixes.append(ending[1])
            elif by_name and (name := _NAME.fullmatch(pattern)):
                names.append(_translate(name[1])[1])
            elif "|" in pattern:
                anywhere.append(expression)
            else:
                paths.append(expression)
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._suffixes = tuple(suffixes)
        self._names = _union(names)
        self._paths = _union(paths)
        self._anywhere = _union(anywhere)
        self._automata = tuple(automata)

    def matches(self, path: str) -> bool:
        """Return whether a pattern matches this exact path."""
        if self._by_name and "\n" in path:
            # `.` in the full expression does not match a newline, so matching only the name would not be enough.
            return self._whole_paths.matches(path)
        return (
            path in self._exact
            or path.startswith(self._prefixes)
            or path.endswith(self._suffixes)
            or (self._names is not None and self._names.match(path[path.rfind("/") + 1 :]) is not None)
            or (self._paths is not None and self._paths.match(path) is not None)
            or (self._anywhere is not None and self._anywhere.search(path) is not None)
            or any(automaton.matches(path) for automaton in self._automata)
        )

    @cached_property
    def _whole_paths(self) -> _Group:
        return _Group(self._patterns, by_name=False)


def _union(expressions: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{expression})" for expression in expressions)) if expressions else None


def _translate(pattern: str) -> tuple[str, str]:
    """Return how to match a pattern: ("exact" | "prefix" | "suffix" | "regex", the regular expression).

    The first three compare the text literally; a prefix ends in `**`, a suffix begins with it.
    """
    _check(pattern)
    kind, out = "exact", ""
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if token["deep"]:
            last = token.end() == len(pattern)
            kind = "prefix" if last and kind == "exact" else "regex"
            out += ".*" if last else "(.*/)?"
            if token.start() == 0:
                kind = "suffix"
        elif text in ("*", "?"):
            kind = "regex"
            out += "[^/]*" if text == "*" else "[^/]"
        elif token["escaped"] or text in "[]":
            kind = "regex"
            out += text
        else:
            out += f"\\{text}" if text in _MEANS_ITSELF else text
    if kind != "regex":
        return kind, ""
    try:
        return kind, to_python(f"^{out}$")
    except ContextError:
        raise _malformed(pattern) from None


def _automaton(pattern: str) -> Automaton | None:
    """Return an automaton for a pattern with too many wildcards for `re`; None for other patterns.

    Raises ContextError when such a pattern has `{`, `}` or `|`, which only mean something in a regular expression.
    """
    tokens = [*_PIECE.finditer(pattern)]
    deep = sum(token["deep"] is not None for token in tokens)
    stars = sum(token[0] == "*" for token in tokens) + len(_REPETITION.findall(pattern))
    if deep < _MANY_DEEP and stars < _MANY_STARS and not (deep and stars >= _MANY_STARS - deep):
        return None
    if any(token[0] in ("{", "}", "|", "^") for token in tokens):
        raise ContextError(f"the pattern {quote(pattern[:100])} has too many wildcards for one with {{, }}, | or ^")
    items: list[str | re.Pattern[str]] = []
    for token in tokens:
        text = token[0]
        if token["deep"]:
            items.append(REST if token.end() == len(pattern) else DEEP)
        elif text == "*":
            items.append(STAR)
        elif text == "?":
            items.append(re.compile("[^/]", re.DOTALL))
        else:
            literal = len(text) == 1
            items.append(re.compile(re.escape(text) if literal else to_python(text)))
    return Automaton(items)


def _check(pattern: str) -> None:
    """Reject patterns that moby rejects at once: the part before the first star and, only if "." matches that, more.

    moby checks whether the pattern matches ".", and Go looks no further into a pattern than necessary.
    """
    parts = [part for part in _PART.finditer(pattern) if part[0]]
    for part in parts[:2]:
        if part[2] and not _WELL_FORMED.fullmatch(part[2]):
            raise _malformed(pattern)
        if not (_ONE_ELEMENT.fullmatch(part[2]) and _matches_dot(part[2])):
            return


def _matches_dot(element: str) -> bool:
    if not element.startswith("["):
        return element in (".", "?", r"\.")
    members = element[1:-1].removeprefix("^")
    ranges = ((low[-1], (high or low)[-1]) for low, high in _RANGE.findall(members))
    return any(low <= "." <= high for low, high in ranges) != element.startswith("[^")


def _malformed(pattern: str) -> ContextError:
    return ContextError(f"syntax error in pattern {quote(pattern)}")
