"""The words of an instruction, each with the kind that gives it its colour: those of the page, in static HTML too.

The page reads whole files with a mode of the editor (labextension/src/components/shared/dockerfile.ts), which is tested
with the same cases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

_INSTRUCTIONS = (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR"
)
_KEYWORDS = "if then do else elif while until for in esac fi fin fil done exit set unset export function"
_BUILTINS = (
    "ab awk bash beep cat cc cd chown chmod chroot clear cp curl cut diff echo find gawk gcc get git grep hg kill "
    "killall ln ls make mkdir openssl mv nc nl node npm ping ps restart rm rmdir sed service sh shopt shred source "
    "sort sleep ssh start stop su sudo svn tee telnet top touch vi vim wall wc wget who write yes zsh"
)
_NAMES = frozenset(_INSTRUCTIONS.split())
_COMMANDS = frozenset(("RUN", "CMD", "ENTRYPOINT"))
_LISTS = _COMMANDS | {"SHELL", "VOLUME", "COPY", "ADD"}
_SHELL: dict[str, str] = {
    **dict.fromkeys(_KEYWORDS.split(), "keyword"),
    **dict.fromkeys(_BUILTINS.split(), "builtin"),
}
"""The words that CodeMirror's mode of shells knows."""

_LONGEST = 4000
"""Characters of a line in colours."""

_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\S+")
_FLAG = re.compile(r"--[\w-]+", re.ASCII)
_EQUALS = re.compile(r"[=,]")
_PROPERTY = re.compile(r"[\w-]+(?==)", re.ASCII)
_FLAG_VALUE = re.compile(r'(?:"[^"]*"|[^\s=,$])+')
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?')
_HEREDOC = re.compile(r"(?<!<)<<-?([\"']?)[A-Za-z_][\w.-]*\1", re.ASCII)
_VARIABLE = re.compile(r"\$(?:\w+|\{[^}]*\})", re.ASCII)
_QUOTED = {quote: re.compile(rf"(?:\\.|[^\\{quote}$])*") for quote in "\"'"}
_AS = re.compile(r"as(?=\s|$)", re.IGNORECASE)
_NAME = re.compile(r"[^\s$]+")
_CHECK = re.compile(r"(?:CMD|NONE)(?=\s|$)", re.IGNORECASE)
_DEFINED = re.compile(r"[\w.\-/]+(?==)", re.ASCII)
_ARGUMENT = re.compile(r"\w+(?=\s|$)", re.ASCII)
_PORTS = re.compile(r"\d+(?:-\d+)?", re.ASCII)
_PLAIN = re.compile(r"[^\s$\"'=<]+")
_AND = re.compile(r"&&|\|\||[|;]")
_OPTION = re.compile(r"--?\w*", re.ASCII)
_HERE = re.compile(r"<<-?\s*(?:'[^']*'|\"[^\"]*\"|[^'\"\s]*)")
_NUMBER = re.compile(r"\d+(?!\w)", re.ASCII)
_SHELL_WORD = re.compile(r".[\w-]*", re.ASCII | re.DOTALL)
_LETTERS = re.compile(r"\w*", re.ASCII)


def instruction_words(text: str) -> list[tuple[str, str]]:
    """Return an instruction in one line as words with their kinds, such as `keyword`; "" for a word of no kind.

    A text that does not begin with an instruction is one word, and so is a very long one.
    """
    first = text.split(maxsplit=1)
    if not first or first[0].upper() not in _NAMES or len(text) > _LONGEST:
        return [(text, "comment" if first and first[0].startswith("#") else "")]
    pieces = _Line(text).words()
    return [("".join(word for word, _ in run), kind) for kind, run in groupby(pieces, key=lambda piece: piece[1])]


class _Line:
    """A line, and the place up to which it is read."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._instruction, self._part, self._quote = "", "flags", ""
        self._open: list[str] = []
        """What the shell is inside of, innermost last: a quote or a bracket, `$`, `<` after a heredoc's name, or `^`
        with a quote that begins here.
        """

    def words(self) -> Iterator[tuple[str, str]]:
        """Yield the words with their kinds; a word may come in pieces."""
        while self._at < len(self._text):
            begin, kind = self._at, ""
            if self._text[begin:].rstrip() == "\\":
                kind, self._at = "operator", len(self._text)  # the line continues
            elif not self._match(_SPACE):
                kind = self._word()
                if self._at == begin:
                    continue  # what was open is closed, or something opens; the same place is read again
            yield self._text[begin : self._at], kind

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _rest(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> str:
        self._at += 1
        return ""

    def _word(self) -> str:
        if not self._instruction:
            return self._keyword()
        if self._part == "flags":
            if self._match(_FLAG):
                self._part = "value"
                return "flag"
            self._part = (
                "json"
                if self._instruction in _LISTS and self._rest() == "["
                else "shell"
                if self._instruction in _COMMANDS
                else "words"
            )
        if self._part == "value":
            return self._flag_value()
        if self._part == "json":
            return "string" if self._match(_JSON_STRING) else self._skip()
        if self._instruction in ("RUN", "COPY", "ADD") and not self._quote and not self._open and self._match(_HEREDOC):
            return "string"
        return self._shell() if self._part == "shell" else self._plain()

    def _keyword(self) -> str:
        name = self._match(_WORD).upper()
        self._instruction = "" if name == "ONBUILD" else name
        return "keyword" if name in _NAMES else ""

    def _flag_value(self) -> str:
        if self._match(_EQUALS):
            kind = "operator"
        elif self._match(_VARIABLE):
            kind = "variable"
        elif self._match(_PROPERTY):
            return ""
        else:
            kind = "string"
            if not self._match(_FLAG_VALUE):
                self._skip()
        if not self._rest() or self._rest().isspace():
            self._part = "flags"
        return kind

    def _plain(self) -> str:
        if self._match(_VARIABLE):
            return "variable"
        if self._quote:
            self._match(_QUOTED[self._quote])
            if self._rest() == self._quote:
                self._at += 1
                self._quote = ""
            elif self._rest() and not _VARIABLE.match(self._text, self._at):
                self._at += 1
            return "string"
        if self._rest() in ('"', "'"):
            self._quote = self._rest()
            self._at += 1
            return "string"
        return self._argument()

    def _argument(self) -> str:
        if self._instruction == "FROM":
            if self._match(_AS):
                self._part = "stage"
                return "keyword"
            if self._match(_NAME):
                return "def" if self._part == "stage" else "string"
        if self._instruction == "HEALTHCHECK" and self._match(_CHECK):
            self._instruction, self._part = "CMD", "flags"
            return "keyword"
        if self._instruction in ("ENV", "ARG", "LABEL"):
            if self._match(_DEFINED) or (self._instruction == "ARG" and self._match(_ARGUMENT)):
                return "def"
            if self._rest() == "=":
                self._at += 1
                return "operator"
        if self._instruction == "EXPOSE" and self._match(_PORTS):
            return "number"
        return "" if self._match(_PLAIN) else self._skip()

    def _shell(self) -> str:
        if self._open:
            return self._parameter() if self._open[-1] == "$" else self._inside()
        if self._match(_AND):
            return "operator"
        letter = self._rest()
        if letter == "\\":
            self._at = min(self._at + 2, len(self._text))
            return ""
        if letter in "'\"`":
            self._open.append(letter)
            self._at += 1
            return self._inside()
        if letter == "#":
            self._at = len(self._text)
            return "comment"
        if letter == "$":
            self._open.append("$")
            self._at += 1
            return self._parameter()
        return self._shell_word(letter)

    def _shell_word(self, letter: str) -> str:
        if letter in "+=":
            self._at += 1
            return "operator"
        if self._match(_OPTION):
            return "flag"
        if self._text.startswith("<<<", self._at):
            self._at += 3
            return "operator"
        if self._match(_HERE):
            self._open.append("<")
            return "string"
        if self._match(_NUMBER):
            return "number"
        word = self._match(_SHELL_WORD)
        if self._rest() == "=" and re.search(r"\w", word, re.ASCII):
            return "def"
        return _SHELL.get(word, "")

    def _inside(self) -> str:
        """Read a string, a command or a parameter up to its end, or to what is inside of it."""
        opening = self._open[-1]
        if opening == "<":
            self._at = len(self._text)
            return "string"
        if opening.startswith("^"):
            opening = self._open[-1] = opening[1]
            self._at += 1
        closing = {"(": ")", "{": "}"}.get(opening, opening)
        is_escaped = False
        while letter := self._rest():
            self._at += 1
            if is_escaped:
                is_escaped = False
            elif letter == closing:
                self._open.pop()
                break
            elif letter == "$" and opening != "'" and self._rest() != closing:
                self._at -= 1
                self._open.append("$")
                break
            elif letter == opening:
                self._open.append(letter)
            elif letter in "'\"" and opening not in "'\"":
                self._at -= 1
                self._open.append(f"^{letter}")
                break
            else:
                is_escaped = letter == "\\"
        return "def" if opening == "{" else "string"

    def _parameter(self) -> str:
        """Read what follows a `$`, which may be a command or a parameter in brackets."""
        self._at += self._rest() == "$" and len(self._open) > 1
        letter = self._rest()
        self._at += len(letter)
        if letter and letter in "'\"({":
            self._open[-1] = letter
            return self._inside()
        if not letter.isdigit():
            self._match(_LETTERS)
        self._open.pop()
        return "def"
