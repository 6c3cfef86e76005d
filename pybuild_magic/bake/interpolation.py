"""Variables in Compose files: `$NAME`, `${NAME:-word}`, `${NAME:?message}`, `${NAME:+word}`; `$$` is a dollar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ..errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<sign>:?[-?+])(?P<word>.*))?", re.DOTALL)
_BRACES = re.compile(r"\$\{|\}")


class Marked(msgspec.Struct, frozen=True):
    """A value with `!reset` or `!override`, which takes the place of another file's instead of being merged."""

    value: Any
    gone: bool


def fill(value: Any, environ: Mapping[str, str], where: str) -> Any:
    """Return a document with its variables filled in; `where` names it in errors. Raises UsageError."""
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return {key: fill(item, environ, f"{where}.{key}" if where else str(key)) for key, item in pairs}
    if isinstance(value, Marked):
        return Marked(fill(value.value, environ, where), value.gone)
    if isinstance(value, list):
        return [fill(item, environ, f"{where}.{number}") for number, item in enumerate(cast("list[Any]", value))]
    return substitute(value, environ, where) if isinstance(value, str) else value


def substitute(text: str, environ: Mapping[str, str], where: str) -> str:
    """Return a text with its variables filled in. Raises UsageError."""
    parts: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        after = dollar + 1
        if text.startswith("$", after):
            parts.append("$")
            at = after + 1
        elif text.startswith("{", after):
            end = _closing(text, dollar, where)
            parts.append(_braced(text[after + 1 : end], environ, where, text))
            at = end + 1
        elif (name := _NAME.match(text, after)) is not None:
            parts.append(environ.get(name[0], ""))
            at = name.end()
        else:
            raise _invalid(text, where)
    return "".join([*parts, text[at:]])


def _closing(text: str, start: int, where: str) -> int:
    depth = 0
    for brace in _BRACES.finditer(text, start):
        depth += 1 if brace[0] == "${" else -1
        if not depth:
            return brace.start()
    raise _invalid(text, where)


def _braced(body: str, environ: Mapping[str, str], where: str, text: str) -> str:
    match = _BRACED.fullmatch(body)
    if match is None:
        raise _invalid(text, where)
    name, sign = match["name"], match["sign"] or ""
    value = environ.get(name)
    is_set = bool(value) if sign.startswith(":") else value is not None
    if sign.endswith("+"):
        return substitute(match["word"], environ, where) if is_set else ""
    if is_set or not sign:
        return value or ""
    word = substitute(match["word"], environ, where)
    if sign.endswith("?"):
        said = f": {word}" if word else ""
        raise UsageError(f"error while interpolating {where}: required variable {name} is missing a value{said}")
    return word


def _invalid(text: str, where: str) -> UsageError:
    return UsageError(f"invalid interpolation format for {where}: {text}", hint="Write $$ for a literal dollar sign.")
