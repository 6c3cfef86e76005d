"""Expansion of words: modifiers, quotes, escapes, words, names used, and refusals."""

from __future__ import annotations

import pytest

from pybuild_magic.dockerfile.shell import Lexer
from pybuild_magic.errors import DockerfileError

ENV = {
    "HOME": "/root",
    "EMPTY": "",
    "FILE": "pkg.tar.gz",
    "PATHS": "/usr/lib/x/lib",
    "SPACED": "one  two ",
    "STARS": "a*b*c",
    "GROUP": "$0$0 $$ ${0}$1",
    "ünï": "code",
}

EXPANDED = [
    ("plain", "plain"),
    ("", ""),
    ("$HOME/bin", "/root/bin"),
    ("${HOME}bin", "/rootbin"),
    ("$HOMEbin", ""),
    ("$ünï", "code"),
    ("a$", "a$"),
    ("$.x", "$.x"),
    ("$$", ""),
    ("$$$", "$"),
    ("$1x", "x"),
    ("$12x", "x"),
    ("$?-$#", "-"),
    (r"\$HOME", "$HOME"),
    (r"\\$HOME", "\\/root"),
    (r"a\bc", "abc"),
    ("end\\", "end"),
    ("'$HOME'", "$HOME"),
    ('"$HOME"', "/root"),
    ('"it\'s"', "it's"),
    (r'"a\"b\$c\\d\n"', r'a"b$c\d\n'),
    ("'a\"b'", 'a"b'),
    ("${HOME:-x}", "/root"),
    ("${EMPTY:-x}", "x"),
    ("${EMPTY-x}", ""),
    ("${UNSET:-x}", "x"),
    ("${UNSET-x}", "x"),
    ("${UNSET:-${HOME:-y}}", "/root"),
    ("${UNSET:-'a b'}", "a b"),
    ("${HOME:+x}", "x"),
    ("${EMPTY:+x}", ""),
    ("${EMPTY+x}", "x"),
    ("${UNSET+x}", ""),
    ("${HOME:?no}", "/root"),
    ("${EMPTY?no}", ""),
    ("${FILE#*.}", "tar.gz"),
    ("${FILE##*.}", "gz"),
    ("${FILE%.*}", "pkg.tar"),
    ("${FILE%%.*}", "pkg"),
    ("${FILE#x}", "pkg.tar.gz"),
    ("${FILE#pkg.t?r.}", "gz"),
    ("${FILE%}", "pkg.tar.gz"),
    ("${UNSET%x}", ""),
    (r"${STARS#a\*}", "b*c"),
    (r"${STARS%\**}", "a*b"),
    ("${PATHS/lib/LIB}", "/usr/LIB/x/lib"),
    ("${PATHS//lib/LIB}", "/usr/LIB/x/LIB"),
    (r"${PATHS//\//-}", "-usr-lib-x-lib"),
    ("${PATHS//l?b/}", "/usr//x/"),
    ("${FILE/./}", "pkgtar.gz"),
    ("${FILE//*/all}", "all"),
    ("${FILE//x/$HOME}", "pkg.tar.gz"),
    ("${FILE//./$HOME}", "pkg/roottar/rootgz"),
    ("${FILE//pkg/$GROUP}", "pkgpkg $ pkg.tar.gz"),
    ("${FILE/pkg/$GROUP}", "$0$0 $$ ${0}$1.tar.gz"),
    ("\ufeffa$EMPTY", "a"),
]

REFUSED = [
    ("'open", "unexpected end of statement while looking for matching single-quote"),
    ('"open', "unexpected end of statement while looking for matching double-quote"),
    ("${", "syntax error: missing '}'"),
    ("${HOME:-x", "syntax error: missing '}'"),
    ("${HOME/x", "syntax error: missing '/' in ${}"),
    ("${HOME/x/y", "syntax error: missing '}'"),
    ("${}", "syntax error: bad substitution"),
    ("${:-x}", "syntax error: bad substitution"),
    ("${HOME", "unsupported modifier (\ufffd) in substitution"),
    ("${HOME=x}", "unsupported modifier (=) in substitution"),
    ("${HOME:=x}", "unsupported modifier (:=) in substitution"),
    ("${HOME:#x}", "unsupported modifier (:#) in substitution"),
    ("${UNSET:?}", "UNSET: is not allowed to be unset"),
    ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
    ("${UNSET?set $HOME}", "UNSET: set /root"),
    (r"${HOME#\x}", r"invalid pattern (\x) in substitution: invalid escape '\x'"),
]

WORDS = [
    ("a b", ["a", "b"]),
    ("  a\t b\n", ["a", "b"]),
    ("$SPACED", ["one", "two"]),
    ("x$SPACED", ["xone", "two"]),
    ('"$SPACED"', ["one  two "]),
    ('a" "b c', ["a b", "c"]),
    (r"a\ b", ["a b"]),
    ("'' a", ["a"]),
    ("$UNSET", []),
    ("<< EOF x", ["<< EOF", "x"]),
    ("a${UNSET:-b}c", ["bc"]),
]


@pytest.mark.parametrize(("word", "expected"), EXPANDED)
def test_a_word_expands(word: str, expected: str) -> None:
    assert Lexer().process_word(word, ENV) == expected


@pytest.mark.parametrize(("word", "reason"), REFUSED)
def test_what_cannot_be_expanded_is_refused_with_its_reason(word: str, reason: str) -> None:
    with pytest.raises(DockerfileError) as refused:
        Lexer().process_word(word, ENV)
    assert refused.value.message.startswith('failed to process "')
    assert refused.value.message.endswith(f": {reason}")


@pytest.mark.parametrize(("word", "expected"), WORDS)
def test_a_word_splits_after_expansion(word: str, expected: list[str]) -> None:
    assert Lexer().process_words(word, ENV) == expected


def test_the_other_escape_makes_a_backslash_plain() -> None:
    assert Lexer("`").process_word(r"C:\dir\`$HOME$HOME", ENV) == r"C:\dir\$HOME/root"


def test_the_names_used_and_missed_are_reported() -> None:
    found = Lexer().expand("$HOME ${UNSET:-$OTHER} ${EMPTY+x}", ENV)
    assert found.matched == {"HOME", "EMPTY"}
    assert found.unmatched == {"UNSET", "OTHER"}


def test_raw_lexers_keep_what_the_name_of_a_step_shows() -> None:
    lexer = Lexer(raw_quotes=True, keep_unset=True)
    assert lexer.process_word("RUN echo \"$HOME\" '$HOME' $UNSET ${UNSET:-x}", ENV) == (
        "RUN echo \"/root\" '$HOME' $UNSET ${UNSET:-x}"
    )
    assert Lexer(raw_escapes=True).process_word(r"a\b", {}) == r"a\b"


def test_quotes_in_a_heredoc_are_plain_text() -> None:
    assert Lexer(plain_quotes=True).process_word('don\'t "$HOME"', ENV) == 'don\'t "/root"'


def test_a_long_word_is_expanded_in_linear_time() -> None:
    assert len(Lexer().process_word("$HOME'x'\\a" * 20_000, ENV)) == 7 * 20_000
