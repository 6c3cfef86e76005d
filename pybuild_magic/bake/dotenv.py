"""Files of variables, `.env` and those of `env_file`, as compose-go reads them."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping

from ..errors import UsageError
from .interpolation import substitute

_KEY = re.compile(r"(?:export[ \t]+)?(?P<key>[\w.\-\[\]]+)[ \t]*(?P<sign>[=:]|(?=\n|\Z))")
_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_QUOTED = re.compile(r"""'(?P<plain>(?:\\'|[^'])*)'|"(?P<double>(?:\\.|[^"\\])*)\"""", re.DOTALL)
_COMMENT = re.compile(r"\s#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "$": "$$"}


def parse(text: str, name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a file; values may use earlier ones, and those of `environ`. Raises UsageError."""
    variables: dict[str, str] = {}
    known = ChainMap(variables, dict(environ))
    text = text.replace("\r\n", "\n")
    at = _skipped(text, 0)
    while at < len(text):
        match = _KEY.match(text, at)
        if match is None:
            line = text[at:].partition("\n")[0]
            raise UsageError(f"failed to read {name}: {line!r} is not NAME=VALUE")
        key, at = match["key"], match.end()
        if not match["sign"]:  # the value that it has already
            if key in environ:
                variables[key] = environ[key]
        else:
            value, at = _value(text, at, known, name)
            variables[key] = value
        at = _skipped(text, at)
    return variables


def _skipped(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    return blank.end() if blank else at


def _value(text: str, at: int, known: Mapping[str, str], name: str) -> tuple[str, int]:
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    if text[at : at + 1] in ("'", '"'):
        quoted = _QUOTED.match(text, at)
        if quoted is None:
            raise UsageError(f"failed to read {name}: unterminated quoted value {text[at:].partition(chr(10))[0]}")
        if quoted["double"] is None:
            return quoted["plain"], quoted.end()
        value = _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[1]), quoted["double"])
        return substitute(value, known, name), quoted.end()
    line = text[at:].partition("\n")[0]
    value = _COMMENT.sub("", line, count=1).rstrip()
    return substitute("" if value.startswith("#") else value, known, name), at + len(line)
