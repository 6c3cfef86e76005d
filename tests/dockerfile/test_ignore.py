"""Ignore files and pattern matching: single patterns, order, parents, what leaks into a regular expression."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybuild_magic.errors import ContextError
from pybuild_magic.golang import match as gomatch
from pybuild_magic.golang import patternmatcher as ignore
from pybuild_magic.golang.patternmatcher import PatternMatcher, _automaton, _translate, read_ignore

MATCHES = [
    ("a", "a", True),
    ("a", "a/b", True),
    ("a", "b/a", False),
    ("a/", "a", True),
    ("/a", "a", False),
    ("./a", "a", True),
    ("a/../b", "b", True),
    ("*", "a", True),
    ("*", "a/b", True),
    ("*.txt", "a.txt", True),
    ("*.txt", "d/a.txt", False),
    ("*.txt", "d.txt/a", True),
    ("d/*", "d", False),
    ("d/*", "d/a/b", True),
    ("d?", "d", False),
    ("d?", "d/", False),
    ("d?", "dé", True),
    ("**", "a/b", True),
    ("**/a", "a", True),
    ("**/a", "x/y/a/z", True),
    ("**/a", "ba", False),
    ("**a", "x/ba", True),
    ("a/**", "a", False),
    ("a/**", "a/b/c", True),
    ("a**", "ab/c", True),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("a/**/b", "ab", False),
    ("**/*.py", "m.py", True),
    ("**/*.py", "x/y/m.py", True),
    ("**/*.py", "x/y/m.pyc", False),
    ("**/t?st_*", "x/test_1/y", True),
    ("**/t?st_*", "x/tst_", False),
    ("**/[Bb]in", "x/Bin/y", True),
    ("**/[Bb]in", "x/in", False),
    ("**/[^a]x", "/x", True),
    ("**/*.py", "new\nline/m.py", False),
    ("[a-c]x", "bx", True),
    ("[^a-c]x", "bx", False),
    (r"[\]]", "]", True),
    (r"a\*b", "a*b", True),
    (r"a\*b", "axb", False),
    ("a.b", "axb", False),
    ("a.b*", "axb", False),
    ("a+b?", "a+bc", True),
    ("(a)$*", "(a)$b", True),
    ("a|b", "a|b", True),
    ("a|b*", "xbc", True),
    ("a{2}*", "aax", True),
    ("a{2}", "a{2}", True),
    ("*.{js,ts}", "x.{js,ts}", True),
    ("*.{js,ts}", "x.js", False),
    ("[[:alpha:]]*", "é", False),
    ("[[:alpha:]]*", "x", True),
    (r"\d*", "7", True),
    (r"\d*", "d", False),
    ("^a*", "ab", True),
    ("b^a*", "b^a", False),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_a_pattern_matches_a_path_or_what_is_under_it(pattern: str, path: str, expected: bool) -> None:
    assert PatternMatcher([pattern]).matches(path) is expected


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (["docs", "!docs/keep.md"], "docs/keep.md", False),
        (["docs", "!docs/keep.md"], "docs/other.md", True),
        (["!docs/keep.md", "docs"], "docs/keep.md", True),
        (["**", "!src"], "src/a/b", False),
        (["**", "!src", "src/a"], "src/a/b", True),
        (["*", "!a", "!b", "a/x", "b/y"], "b/x", False),
        (["*", "!a", "!b", "a/x", "b/y"], "b/y", True),
        (["a", "", "  !a/b  "], "a/b", False),
        ([], "a", False),
    ],
)
def test_the_last_pattern_that_matches_wins(patterns: list[str], path: str, expected: bool) -> None:
    assert PatternMatcher(patterns).matches(path) is expected


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (["a"], "a/b/c", [True, True, True]),
        (["*", "!a"], "a/b/c", [False, False, False]),
        (["a", "!a/b", "a/b/c"], "a/b/c/d", [True, False, True, True]),
        (["a/b", "!a/b/c", "!a/b/d"], "a/b/d/e", [False, True, False, False]),
        (["**/c"], "a/c/d", [False, True, True]),
        # `!*` is not asked about `a`, which nothing has matched, and so does not speak for what is in it.
        (["**/c", "!*"], "a/c", [False, True]),
    ],
)
def test_a_walk_hands_the_state_of_each_directory_down(patterns: list[str], path: str, expected: list[bool]) -> None:
    matcher = PatternMatcher(patterns)
    names = path.split("/")
    state, found = 0, []
    for depth in range(len(names)):
        matched, state = matcher.match("/".join(names[: depth + 1]), state)
        found.append(matched)
    assert found == expected


@pytest.mark.parametrize("pattern", ["[", "[]a]", "[-a]", "[a-]", "a[", "[^", "[^-a]", "\\", "[z-a]", "*[", r"x\q*"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ContextError, match="syntax error in pattern"):
        PatternMatcher([pattern])


def test_an_exclamation_mark_alone_is_refused() -> None:
    with pytest.raises(ContextError, match='illegal exclusion pattern: "!"'):
        PatternMatcher(["!"])


def test_only_patterns_that_take_back_count_as_exclusions() -> None:
    assert PatternMatcher(["a", "!a/b"]).exclusions
    assert not PatternMatcher(["a", "b!"]).exclusions


def test_an_ignore_file_is_read_into_clean_patterns() -> None:
    text = "\ufeff# comment\n #not a comment\n\n  a/b/ \r\n/abs\n/\n! /kept/../x\n!\n./y//z\n**/*.o"
    assert read_ignore(text) == ["#not a comment", "a/b", "abs", "/", "!x", "!", "y/z", "**/*.o"]


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 40, "a" * 250 + "b"),
        ("**/" + "*a" * 40, "a" * 250 + "b"),
        ("**/a" * 30 + "z", "a/" * 1500 + "b"),
        ("**a" * 30 + "z", "a/" * 1500 + "b"),
        ("[a-c]*?[a]*" * 20 + "x", "a" * 250),
        (r"\*".join(["**", "*a", "**/*", "*?"] * 5), "a/" * 1000),
    ],
    ids=["stars", "name", "deep", "no slash", "classes", "escaped"],
)
def test_many_wildcards_take_no_longer_than_the_path_is_long(pattern: str, path: str) -> None:
    assert not PatternMatcher([pattern]).matches(path)  # `re` would not come back


@given(st.text("ab/*?", max_size=12), st.lists(st.text("ab/\n", max_size=12), max_size=20))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_many_wildcards_match_what_few_do(text: str, paths: list[str]) -> None:
    """The automaton and the regular expression are two ways to the same answer."""
    pattern = re.sub(r"\*{3,}", "**", text)
    expression = re.compile(_translate(pattern)[1] or "(?!)")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(ignore, "_MANY_STARS", 0)
        automaton = _automaton(pattern)
    assert automaton is not None
    if _translate(pattern)[0] == "regex":
        for path in paths:
            assert automaton.matches(path) == (expression.match(path) is not None), path


@pytest.mark.parametrize("pattern", ["*a*b*c*d{2}", "*a{0,60}a{0,60}a{0,60}b", "?a{1,}a{1,}a{1,}a{1,}b"])
def test_many_wildcards_beside_what_only_an_expression_knows_are_refused(pattern: str) -> None:
    with pytest.raises(ContextError, match="too many wildcards"):
        PatternMatcher([pattern])


def test_counts_are_no_wildcards() -> None:
    assert PatternMatcher(["*-[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}"]).matches("log-2026-11-28-07")


@given(st.text("ab/*?", max_size=12), st.text("ab/", max_size=12))
@settings(derandomize=True, max_examples=500, deadline=None)
def test_wildcards_of_copy_match_as_all_ways_tried_would(pattern: str, name: str) -> None:
    def all_ways(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return all_ways(pattern[1:], name) or (name[:1] not in ("", "/") and all_ways(pattern, name[1:]))
        return (
            bool(name)
            and (name[0] == pattern[0] or (pattern[0] == "?" and name[0] != "/"))
            and all_ways(pattern[1:], name[1:])
        )

    assert gomatch.match(pattern, name) == all_ways(pattern, name)


def test_wildcards_of_copy_take_no_longer_than_the_name_is_long() -> None:
    assert not gomatch.match("*a" * 40, "a" * 250 + "b")
