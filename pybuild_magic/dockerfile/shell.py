"""Expansion of variables and quotes in the words of a Dockerfile, as BuildKit's shell lexer does it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal

import msgspec

from ..errors import DockerfileError
from ..golang.text import SPACES, quote
from . import shellpattern

_SPECIAL_PARAMETERS: Final = frozenset("@*#?-$!0")
_HEREDOC_SPACE: Final = "\t\r "
_END: Final = "\ufffd"
"""The sign in messages for text that ends too early."""


class Expansion(msgspec.Struct, frozen=True):
    """An expanded word.

    `words` is the result split at unquoted white space; `matched` and `unmatched` are the variable names in the word
    that the environment has, or lacks.
    """

    text: str
    words: tuple[str, ...]
    matched: frozenset[str]
    unmatched: frozenset[str]


class ExpansionError(DockerfileError):
    """A word that cannot be expanded, with the names used up to that point that the environment lacks."""

    def __init__(self, message: str, unmatched: frozenset[str]) -> None:
        super().__init__(message)
        self.unmatched = unmatched


class Lexer(msgspec.Struct, frozen=True):
    r"""Expands `$x`, `${x…}`, quotes and escapes. `escape` is the Dockerfile's: `\` or a backquote.

    `raw_quotes` keeps quotes in the result; `raw_escapes` keeps escapes; `keep_unset` keeps references to variables
    that are not set; `plain_quotes` gives quotes no special meaning (here-documents).

    Every method raises ExpansionError with BuildKit's message for words that cannot be expanded: an unclosed quote or
    brace, an unknown modifier, `${x:?message}`.
    """

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    keep_unset: bool = False
    plain_quotes: bool = False

    def expand(self, word: str, env: Mapping[str, str]) -> Expansion:
        """Expand a word, and return the names that it uses."""
        if not _special(self.escape).search(word):
            return Expansion(word, tuple(_split(word)), frozenset(), frozenset())
        reading = _Reading(self, word, env)
        try:
            text = reading.until("", self.raw_escapes)
        except DockerfileError as error:
            message = f"failed to process {quote(word)}: {error.message}"
            raise ExpansionError(message, frozenset(reading.unmatched)) from None
        except RecursionError:
            raise ExpansionError("a word has substitutions that are nested too deep", frozenset()) from None
        return Expansion(text, tuple(reading.words), frozenset(reading.matched), frozenset(reading.unmatched))

    def process_word(self, word: str, env: Mapping[str, str]) -> str:
        """Return the expanded word; white space in it is kept."""
        return self.expand(word, env).text

    def process_words(self, word: str, env: Mapping[str, str]) -> list[str]:
        """Return the expanded word, split at unquoted white space."""
        return list(self.expand(word, env).words)


@lru_cache(maxsize=8)
def _special(escape: str) -> re.Pattern[str]:
    """Return the characters that are special in a word; `<` is one because space after `<<` does not split."""
    return re.compile(rf"[$'\"<\ufeff{re.escape(escape)}]")


_WORD = re.compile(f"[^{SPACES}]+")


def _split(text: str) -> list[str]:
    return _WORD.findall(text)


class _Reading:
    """One pass over a word."""

    def __init__(self, lexer: Lexer, text: str, env: Mapping[str, str]) -> None:
        self.lexer = lexer
        self.text = text.removeprefix("\ufeff")
        self.position = 0
        self.env = env
        self.raw_escapes = lexer.raw_escapes
        self.words: list[str] = []
        self.word: list[str] = []
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def next(self) -> str:
        char = self.peek()
        self.position += 1
        return char

    def until(self, stop: str, raw_escapes: bool, *, nested: bool = False) -> str:
        """Read up to and including `stop`, or to the end when it is ""; return the expanded text."""
        outer_raw, self.raw_escapes = self.raw_escapes, raw_escapes
        outer_words = self.words
        if nested:
            # The text inside `${x:-…}` is not a separate word, and BuildKit, which has one buffer for both, loses the
            # part of the outer word before it: `a${x:-b}c` is the word `bc`.
            self.words, self.word = [], []
        out: list[str] = []
        while char := self.peek():
            if char == stop:
                self.position += 1
                break
            out.append(self._piece(char))
        else:
            if stop:
                raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        self.raw_escapes = outer_raw
        if nested:
            self.words, self.word = outer_words, []
        else:
            self._end_word()
        return "".join(out)

    def _piece(self, char: str) -> str:
        """Read the next character, or the construct that it begins."""
        if char == "$":
            value = self._dollar()
            for part in re.findall(f"[{SPACES}]+|[^{SPACES}]+", value):
                self._end_word() if part[0] in SPACES else self.word.append(part)
            return value
        if char == "<":
            return self._add(self._less_than())
        if char == "'" and not self.lexer.plain_quotes:
            return self._add(self._single_quoted())
        if char == '"' and not self.lexer.plain_quotes:
            return self._add(self._double_quoted())
        self.position += 1
        if char == self.lexer.escape:
            backslash = char if self.raw_escapes else ""
            return self._add(backslash + self.next())
        if char in SPACES:
            self._end_word()
            return char
        return self._add(char)

    def _add(self, text: str) -> str:
        self.word.append(text)
        return text

    def _end_word(self) -> None:
        if word := "".join(self.word):
            self.words.append(word)
            self.word = []

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            self.position = len(self.text)
            raise DockerfileError("unexpected end of statement while looking for matching single-quote")
        quoted = self.text[self.position : end + 1]
        self.position = end + 1
        return quoted if self.lexer.raw_quotes else quoted[1:-1]

    def _double_quoted(self) -> str:
        escape = self.lexer.escape
        mark = '"' if self.lexer.raw_quotes else ""
        self.position += 1
        out = [mark]
        while (char := self.peek()) != '"':
            if not char:
                raise DockerfileError("unexpected end of statement while looking for matching double-quote")
            if char == "$":
                out.append(self._dollar())
                continue
            self.position += 1
            if char == escape:
                if self.raw_escapes:
                    out.append(char)
                following = self.peek()
                if not following:
                    continue
                if following in ('"', "$", escape):
                    char = self.next()
            out.append(char)
        self.position += 1
        out.append(mark)
        return "".join(out)

    def _less_than(self) -> str:
        """Read `<`, or `<<` with the space after it: `<< EOF` is one word."""
        self.position += 1
        if self.peek() != "<":
            return "<"
        start = self.position - 1
        self.position += 1
        while (char := self.peek()) and char in _HEREDOC_SPACE:
            self.position += 1
        return self.text[start : self.position]

    def _dollar(self) -> str:
        self.position += 1
        if self.peek() != "{":
            if not (name := self._name()):
                return "$"
            value = self._lookup(name)
            return f"${name}" if value is None and self.lexer.keep_unset else value or ""
        self.position += 1
        match self.peek():
            case "":
                raise DockerfileError("syntax error: missing '}'")
            case "{" | "}" | ":":
                raise DockerfileError("syntax error: bad substitution")
            case _:
                return self._substitution(self._name())

    def _substitution(self, name: str) -> str:
        """Read the rest of a substitution after `${name`."""
        operator = self.next() or _END
        if operator == "}":
            value = self._lookup(name)
            return f"${{{name}}}" if value is None and self.lexer.keep_unset else value or ""
        if operator == "/":
            return self._replacement(name)
        if operator == ":":
            kind = self.next() or _END
            operator += kind
            if kind in "#%":
                raise _unsupported(operator)
        elif operator in "+-?#%":
            kind = operator
        else:
            raise _unsupported(operator)
        word = self._operand("}", "syntax error: missing '}'", raw_escapes=kind in "#%")
        value = self._lookup(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}{operator}{word}}}"
        missing = value is None or (value == "" and operator[0] == ":")
        match kind:
            case "-":
                return word if missing else value or ""
            case "+":
                return "" if missing else word
            case "?":
                if missing:
                    lacks = "unset" if value is None else "empty"
                    raise DockerfileError(f"{name}: {word or f'is not allowed to be {lacks}'}")
                return value or ""
            case "#" | "%":
                longest = word.startswith(kind)
                remove = shellpattern.remove_prefix if kind == "#" else shellpattern.remove_suffix
                return remove(value or "", word[longest:], longest=longest)
            case _:
                raise _unsupported(operator)

    def _replacement(self, name: str) -> str:
        everywhere = self.peek() == "/"
        self.position += everywhere
        pattern = self._operand("/", "syntax error: missing '/' in ${}", raw_escapes=True)
        replacement = self._operand("}", "syntax error: missing '}'", raw_escapes=True)
        value = self._lookup(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        return shellpattern.replace(value or "", pattern, replacement, everywhere=everywhere)

    def _operand(self, stop: Literal["}", "/"], missing: str, *, raw_escapes: bool) -> str:
        try:
            return self.until(stop, raw_escapes, nested=True)
        except DockerfileError:
            if not self.peek():
                raise DockerfileError(missing) from None
            raise

    def _name(self) -> str:
        """Return a name, a number, a special parameter, or ""."""
        start = self.position
        char = self.peek()
        if char.isdecimal():
            while self.peek().isdecimal():
                self.position += 1
        elif char and char in _SPECIAL_PARAMETERS:
            self.position += 1
        else:
            while (char := self.peek()) and (char == "_" or char.isalpha() or char.isdecimal()):
                self.position += 1
        return self.text[start : self.position]

    def _lookup(self, name: str) -> str | None:
        value = self.env.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value


def _unsupported(operator: str) -> DockerfileError:
    return DockerfileError(f"unsupported modifier ({operator}) in substitution")
