"""The text after an instruction's keyword, split into flags and arguments by the rules of each instruction.

Nothing is expanded here: quotes and escapes stay in the arguments for `shell.Lexer`. Only flags lose theirs, because
BuildKit reads them before it knows any variable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn, cast

import msgspec

from ..errors import DockerfileError
from ..golang.text import SPACES, lstrip, quote, strip

BLANKS = re.compile(r"[\t\v\f\r ]+")


class Arguments(msgspec.Struct, frozen=True):
    """The arguments of an instruction; `json` when they came as a JSON array (the exec form)."""

    words: tuple[str, ...] = ()
    json: bool = False


class Pair(msgspec.Struct, frozen=True):
    """A name and a value of ENV or LABEL, before expansion."""

    key: str
    value: str
    delimited: bool


Splitter = Callable[[str, str], Arguments]


def split_instruction(line: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """Split an instruction on one line into (keyword, flags, rest)."""
    keyword, *rest = BLANKS.split(strip(line), maxsplit=1)
    if not rest:
        return keyword, (), ""
    flags, text = _split_flags(rest[0], escape)
    return keyword, flags, strip(text)


def split_arguments(keyword: str, text: str, escape: str) -> Arguments:
    """Return the arguments of the instruction `keyword` (lower case), split by its rules.

    ENV and LABEL are read by `split_pairs`. Raises DockerfileError for a JSON array that contains something other than
    strings.
    """
    splitter = _SPLITTERS.get(keyword)
    return splitter(text, escape) if splitter and text else Arguments()


def split_pairs(keyword: str, text: str, escape: str) -> tuple[Pair, ...]:
    """Return the pairs of an ENV or LABEL: `name=value …`, or `name value` when the first word has no `=`.

    Raises DockerfileError for a name without a value, or a later word without `=`.
    """
    words = _words(text, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        name, *value = BLANKS.split(text, maxsplit=1)
        if not value:
            raise DockerfileError(f"{keyword.upper()} must have two arguments")
        return (Pair(name, value[0], delimited=False),)
    pairs: list[Pair] = []
    for word in words:
        name, delimiter, value = word.partition("=")
        if not delimiter:
            raise DockerfileError(f"Syntax error - can't find = in {quote(word)}. Must be of the form: name=value")
        pairs.append(Pair(name, value, delimited=True))
    return tuple(pairs)


def _split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """Return the leading `--flags`, without quotes and escapes, and the rest; `--` alone ends the flags.

    BuildKit works on bytes here: non-ASCII text in a flag comes out as if each byte were a character, and the bytes
    0x85 and 0xA0 are white space.
    """
    text = _as_bytes(text)
    piece, escaped = _flag_patterns(escape)
    flags: list[str] = []
    rest = lstrip(text)
    while rest.startswith("--"):
        word = ""
        position = 0
        while match := piece.match(rest, position):
            word += escaped.sub(r"\1", match["inner"] or match["bare"] or "")
            position = match.end()
        rest = rest[position:]
        if word == "--":
            break
        flags.append(word)
        rest = lstrip(rest)
    return tuple(flags), _as_text(rest)


def _as_bytes(text: str) -> str:
    """Return the UTF-8 of the text, with a character for each byte."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _as_text(view: str) -> str:
    return view.encode("latin-1").decode("utf-8", "surrogateescape")


@lru_cache(maxsize=8)
def _flag_patterns(escape: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return patterns for a quoted or bare piece of a flag (never empty) and for an escape; an escape at the end is
    dropped.
    """
    e = re.escape(escape)
    quoted = rf"(?P<quote>['\"])(?P<inner>(?:{e}.|(?!(?P=quote)|{e}).)*)(?:(?P=quote)|{e}?\Z)"
    bare = rf"(?P<bare>(?:{e}.|[^{SPACES}'\"{e}])+)"
    return re.compile(rf"{quoted}|{bare}|{e}\Z", re.DOTALL), re.compile(rf"{e}(.)", re.DOTALL)


@lru_cache(maxsize=8)
def _word_pattern(escape: str) -> re.Pattern[str]:
    """Return a pattern for a word, including quotes and escapes; an escape at the end of the text is not part of it."""
    e = re.escape(escape)
    single = r"'[^']*(?:'|\Z)"
    double = rf'"(?:{e}.|[^"{e}])*(?:"|(?={e}\Z)|\Z)'
    return re.compile(rf"(?:{single}|{double}|{e}.|[^{SPACES}'\"{e}])+", re.DOTALL)


def _words(text: str, escape: str) -> list[str]:
    return _word_pattern(escape).findall(text)


def _blank_separated(text: str, _escape: str) -> Arguments:
    return Arguments(tuple(BLANKS.split(text)))


def _quotable_words(text: str, escape: str) -> Arguments:
    return Arguments(tuple(_words(text, escape)))


def _whole(text: str, _escape: str) -> Arguments:
    return Arguments((text,))


def _json_or_whole(text: str, _escape: str) -> Arguments:
    strings = _json_strings(text)
    return Arguments((text,)) if strings is None else Arguments(strings, json=True)


def _json_or_words(text: str, escape: str) -> Arguments:
    strings = _json_strings(text)
    return _blank_separated(text, escape) if strings is None else Arguments(strings, json=True)


def _health(text: str, escape: str) -> Arguments:
    """Return the type of a health check and its command, which are split byte by byte like flags."""
    view = _as_bytes(text)
    kind = re.split(f"[{SPACES}]", view, maxsplit=1)[0]
    command = _as_text(lstrip(view[len(kind) :]))
    arguments = _json_or_whole(command, escape) if command else Arguments()
    return Arguments((_as_text(kind), *arguments.words), arguments.json)


def _json_strings(text: str) -> tuple[str, ...] | None:
    """Return the strings of a JSON array; None when the text is not one, and so is the shell form."""
    if not text.startswith("["):
        return None
    try:
        values = cast("list[object]", json.loads(text, parse_float=_number, parse_int=_number, parse_constant=_refuse))
    except RecursionError:
        values = [None]
    except ValueError:
        return None
    if not all(isinstance(value, str) for value in values):
        raise DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(_LONE_SURROGATE.sub("\ufffd", cast("str", value)) for value in values)


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _number(text: str) -> float:
    """Return a number, which no exec form may contain; one too large for a float is not JSON to BuildKit."""
    value = float(text)
    return value if abs(value) != float("inf") else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


_SPLITTERS: dict[str, Splitter] = {
    "add": _json_or_words,
    "arg": _quotable_words,
    "cmd": _json_or_whole,
    "copy": _json_or_words,
    "entrypoint": _json_or_whole,
    "expose": _blank_separated,
    "from": _blank_separated,
    "healthcheck": _health,
    "maintainer": _whole,
    "run": _json_or_whole,
    "shell": _json_or_whole,
    "stopsignal": _whole,
    "user": _whole,
    "volume": _json_or_words,
    "workdir": _whole,
}
