r"""`.dockerignore`: its patterns, and which paths they match, as moby/patternmatcher has it.

A pattern matches a path, or everything under a path that it matches; `!pattern` takes back; the last that
matches wins. `*` and `?` stop at `/`, `**` does not. The same patterns serve COPY's `--exclude` and the include
and exclude patterns of a local source.
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
"""As _TOKEN, with a class as one."""
_MANY_STARS, _MANY_DEEP = 4, 3
_MEANS_ITSELF = frozenset(".+()$")
"""Characters escaped on the way to a regular expression. `|`, `{` and `}` are meant to be, and are not: moby's
table has no room for them, so in a pattern that has a wildcard they mean what they mean to a regular expression."""
_NAME_ENDING = re.compile(r"\*\*/\*([^*?\[\]\\^/{|}]+)")
_NAME = re.compile(r"\*\*/((?:[^*?\[\]\\^/{|}]|\?|\*(?!\*)|\[[0-9A-Za-z][0-9A-Za-z-]*\])+)")
"""Patterns that only the last part of a path decides: an ending of it, or all of it."""


def read_ignore(text: str) -> list[str]:
    """Return the patterns of a `.dockerignore`, cleaned; `!` stays in front. Comments and blank lines are left out."""
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
    """Matches paths (`a/b`, no leading slash) against patterns, given as `read_ignore` gives them.

    Neighbouring patterns of one kind are matched together: which of them matched makes no difference to what
    follows. So the state of a directory, kept for what is in it, is one bit for each such group.

    Raises ContextError for a pattern that is malformed.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns: list[str] = []
        """The patterns in use, cleaned, each with its `!`."""
        runs: list[tuple[bool, list[str]]] = []
        for given in patterns:
            if not (pattern := strip(given)):
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
        """Whether any pattern takes back what another matched."""
        self._groups = [(exclusion, 1 << n, _Group(texts)) for n, (exclusion, texts) in enumerate(runs)]

    def matches(self, path: str) -> bool:
        """Return whether the patterns, applied in order to the path and the directories above it, match it."""
        return self.match(path)[0]

    def match(self, path: str, parent: int | None = None) -> tuple[bool, int]:
        """Return whether the path matches, and the state to give for what is in it.

        `parent` is the state of the directory that the path is in, 0 at the root: so walks ask. Without it the
        directories above are looked at one by one, which can differ: going down, a `!pattern` is not asked
        about a directory that nothing has matched, and then says nothing about what is in it.
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
    """Return the directories above a path, outermost first."""
    return [path[:n] for n, char in enumerate(path) if char == "/"]


class _Group:
    """Patterns of one kind, of which one must match.

    Most patterns of real ignore files are a name, an ending or a beginning, and are looked up as such; the
    others are one regular expression.
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
        """Return whether one of the patterns matches this very path."""
        if self._by_name and "\n" in path:
            # `.` in the full expression matches no newline, so looking at the name alone would be too little.
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

    The first three compare the text as it stands; a prefix ends in `**`, a suffix begins with it.
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
    """For a pattern with so many wildcards that `re` would try too many ways; None for one that it can match.

    Raises ContextError when such a pattern has `{`, `}` or `|`, which mean something only to an expression.
    """
    tokens = [*_PIECE.finditer(pattern)]
    deep = sum(token["deep"] is not None for token in tokens)
    stars = sum(token[0] == "*" for token in tokens)
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
    """Refuse what moby refuses at once: the part before the first star, and more only if "." matches that.

    moby asks whether the pattern matches ".", and Go looks no further into a pattern than it must.
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
