"""The functions of Go's templates, and how Go prints values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, cast

import msgspec

from ..errors import UsageError
from .json import dumps

_HINT = "Use {{json .}} and a program that reads JSON, such as jq."
_VERB = re.compile(r"%([-+ 0]*)(\d{0,3})((?:\.\d{1,3})?)(.?)")


class Method(msgspec.Struct, frozen=True):
    """A member that is called with one text, as in `{{.Label "name"}}`; it is no part of the document."""

    call: Callable[[str], str]


def functions(*, indent: bool) -> dict[str, Callable[[list[Any]], Any]]:
    """Return the functions by name; each takes its operands. Unless `indent`, `json` writes a single line."""
    return {
        "json": partial(_json, indent=indent),
        "index": _index,
        "len": _len,
        "slice": _slice,
        "printf": _printf,
        "print": lambda operands: "".join(_spaced(operands)),
        "println": lambda operands: " ".join(shown(value, "println") for value in operands) + "\n",
        "eq": lambda operands: any(operands[0] == other for other in _some(operands, "eq")),
        "ne": lambda operands: operands[0] != _other(operands, "ne"),
        "lt": lambda operands: _less(operands[0], _other(operands, "lt")),
        "le": lambda operands: not _less(_other(operands, "le"), operands[0]),
        "gt": lambda operands: _less(_other(operands, "gt"), operands[0]),
        "ge": lambda operands: not _less(operands[0], _other(operands, "ge")),
        "and": lambda operands: reduce(lambda one, other: other if is_true(one) else one, operands),
        "or": lambda operands: reduce(lambda one, other: one if is_true(one) else other, operands),
        "not": lambda operands: not is_true(operands[0]),
    }


def is_true(value: Any) -> bool:
    """Return whether a value counts as true in Go's templates: whether it is not the zero value of its type."""
    return bool(value)


def shown(value: Any, action: str) -> str:
    """Return a value as Go prints it. Raises UsageError for one with members, which Go prints without their names."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Sequence):
        return f"[{' '.join(shown(item, action) for item in cast('Sequence[Any]', value))}]"
    if isinstance(value, Mapping) and not value:
        return "map[]"
    raise UsageError(f"{action} has more than one value.", hint="Write {{json …}} to show them all.")


def _is_method(value: Any) -> bool:
    return callable(value) or isinstance(value, Method)


def _json(operands: list[Any], *, indent: bool) -> str:
    if len(operands) != 1:
        raise UsageError(f"json takes one value, not {len(operands)}.", hint=_HINT)
    (value,) = operands
    if isinstance(value, Mapping):  # like a method of Go's, a function is no part of the document
        value = {key: item for key, item in cast("Mapping[str, Any]", value).items() if not _is_method(item)}
    return dumps(value, indent=indent).decode()


def _index(operands: list[Any]) -> Any:
    value, *keys = operands
    for key in keys:
        try:
            value = value[key]
        except (LookupError, TypeError):
            known = (
                f"It has {', '.join(map(str, cast('Mapping[str, Any]', value)))}." if isinstance(value, Mapping) else ""
            )
            raise UsageError(f"index: there is no {key!r}.", hint=known) from None
    return value


def _len(operands: list[Any]) -> int:
    (value, *more) = operands
    if more or not isinstance(value, Mapping | Sequence):
        raise UsageError("len takes a text, a list or a mapping.")
    return len(value.encode()) if isinstance(value, str) else len(cast("Sequence[Any]", value))


def _slice(operands: list[Any]) -> Any:
    (value, *ends) = operands
    if not isinstance(value, Sequence) or len(ends) > 2 or not all(isinstance(end, int) for end in ends):
        raise UsageError("slice takes a text or a list, and up to two numbers.")
    items = value.encode() if isinstance(value, str) else cast("Sequence[Any]", value)
    start, end = [*ends, *(0, len(items))[len(ends) :]]
    if not 0 <= start <= end <= len(items):
        raise UsageError(f"slice: there is no part from {start} to {end} of {len(items)}.")
    part = items[start:end]
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else part


def _printf(operands: list[Any]) -> str:
    (form, *values) = operands
    if not isinstance(form, str):
        raise UsageError("printf begins with a text.")

    def one(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if verb not in "vsdqx" or not verb:
            raise UsageError(f"printf: {match[0]} is not known.", hint="It knows %v, %s, %d, %q, %x and %%.")
        if not values:
            raise UsageError(f"printf: there is no value for {match[0]}.")
        value = values.pop(0)
        number = isinstance(value, int) and not isinstance(value, bool)
        if verb == "d" and not number:
            raise UsageError(f"printf: {value!r} is not a number, for which {match[0]} is.")
        if verb == "q":
            value = json.dumps(shown(value, match[0]), ensure_ascii=False)
        elif verb == "x" and not number:
            value = shown(value, match[0]).encode().hex()
        elif not number:
            value = shown(value, match[0])
        kind = ("x" if verb == "x" else "d") if isinstance(value, int) else "s"
        return f"%{flags}{width}{precision}{kind}" % value

    text = _VERB.sub(one, form)
    if values:
        raise UsageError(f"printf: {len(values)} more values than the text has places for.")
    return text


def _spaced(operands: list[Any]) -> list[str]:
    """Return texts with a space between two values neither of which is a text, as Go's Sprint puts it."""
    parts: list[str] = []
    for number, value in enumerate(operands):
        if number and not isinstance(value, str) and not isinstance(operands[number - 1], str):
            parts.append(" ")
        parts.append(shown(value, "print"))
    return parts


def _some(operands: list[Any], name: str) -> list[Any]:
    if len(operands) < 2:
        raise UsageError(f"{name} compares one value with others.")
    return operands[1:]


def _other(operands: list[Any], name: str) -> Any:
    if len(operands) != 2:
        raise UsageError(f"{name} compares two values, not {len(operands)}.")
    return operands[1]


def _less(one: Any, other: Any) -> bool:
    if type(one) is not type(other) or not isinstance(one, int | float | str):
        raise UsageError(f"{one!r} and {other!r} cannot be compared.")
    return one < other
