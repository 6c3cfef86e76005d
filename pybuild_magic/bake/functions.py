# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The functions that a Bake file may call, named as in HCL's standard library. Arguments may have any of HCL's
types.
"""

from __future__ import annotations

import base64
import csv
import functools
import hashlib
import io
import itertools
import json
import math
import posixpath
import re
import textwrap
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote_plus

from ..errors import UsageError
from ..golang.duration import parse_duration
from ..golang.json import dumps
from ..golang.regex import to_python
from ..portable import user_path
from . import addresses, crypto
from .evaluate import as_list, index, same, sorted_set, to_number, to_text


def _whole(number: int | float) -> int | float:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _format(pattern: str, *values: Any) -> str:
    remaining = iter(values)

    def filled(match: re.Match[str]) -> str:
        flags, verb = match[1], match[2]
        if verb == "%":
            return "%"
        try:
            value = next(remaining)
        except StopIteration:
            raise UsageError("the format has more verbs than there are values.") from None
        if verb == "v":
            return to_text(value) if isinstance(value, str | int | float) else dumps(value).decode()
        if verb == "q":
            return json.dumps(to_text(value), ensure_ascii=False)
        if verb == "s":
            return f"%{flags}s" % to_text(value)
        if verb == "t":
            return to_text(bool(value))
        number = to_number(value)
        if verb == "b":
            return f"{int(number):b}"
        return f"%{flags}{verb}" % (int(number) if verb in "dxXo" else number)

    return re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([a-zA-Z%])", filled, pattern)


def _format_list(pattern: str, *values: Any) -> list[str]:
    length = max((len(as_list(value)) for value in values if isinstance(value, list)), default=1)
    rows = [as_list(value) if isinstance(value, list) else [value] * length for value in values]
    return [_format(pattern, *row) for row in zip(*rows, strict=True)] if rows else [pattern]


def _flatten(values: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        flat += _flatten(cast("list[Any]", value)) if isinstance(value, list) else [value]
    return flat


def _distinct(values: list[Any]) -> list[Any]:
    unique: list[Any] = []
    for value in values:
        unique += [] if any(same(value, other) for other in unique) else [value]
    return unique


def _regex(pattern: str, text: str) -> Any:
    match = _compiled(pattern).search(text)
    if match is None:
        raise UsageError("the pattern does not match anywhere in the text.")
    return _captured(match)


def _captured(match: re.Match[str]) -> Any:
    if match.re.groupindex:
        return match.groupdict()
    return list(match.groups()) if match.re.groups else match[0]


@functools.lru_cache(64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(to_python(pattern))


def _regex_replace(text: str, pattern: str, replacement: str) -> str:
    return _compiled(pattern).sub(lambda match: match.expand(re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", replacement)), text)


def _replace(text: str, old: str, new: str) -> str:
    return text.replace(old, new)


def _substr(text: str, offset: int, length: int) -> str:
    start = offset + len(text) if offset < 0 else offset
    return text[start:] if length < 0 else text[start : start + length]


def _semver(version: str) -> tuple[Any, ...]:
    match = re.fullmatch(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+.*)?", version.strip())
    if match is None:
        raise UsageError(f"{version!r} is not a version.")
    parts = (
        tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in (match[4] or "").split(".")) if match[4] else ()
    )
    return (*(int(number or 0) for number in match.groups()[:3]), not match[4], parts)


def _semvercmp(version: str, constraints: str) -> bool:
    actual = _semver(version)

    def holds(constraint: str) -> bool:
        match = re.fullmatch(r"\s*(=|!=|>=|=>|<=|=<|>|<|~|\^)?\s*(\S+)\s*", constraint)
        if match is None:
            raise UsageError(f"{constraint!r} is not a version constraint.")
        sign, bound = match[1] or "=", _semver(re.sub(r"\.[xX*]", "", match[2]))
        parts = re.sub(r"\.[xX*]", "", match[2]).count(".")
        if sign == "=" and parts < 2:
            sign = "~"
        if sign == "~":
            return bound <= actual and actual[: max(1, min(parts + 1, 2))] == bound[: max(1, min(parts + 1, 2))]
        if sign == "^":
            fixed = next((at for at in range(3) if bound[at]), 2) + 1
            return bound <= actual and actual[:fixed] == bound[:fixed]
        return {"=": actual == bound, "!=": actual != bound, ">": actual > bound, "<": actual < bound}.get(
            sign, actual >= bound if ">" in sign else actual <= bound
        )

    return any(all(holds(term) for term in re.split(r"\s*,\s*|(?<=\d)\s+(?=[<>=!~^])", part.strip()) if term)
               for part in constraints.split("||"))  # fmt: skip


def _merge(*objects: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for object_ in objects:
        merged.update(cast("Mapping[str, Any]", object_ or {}))
    return merged


def _coalesce(*values: Any) -> Any:
    for value in values:
        if value is not None:
            return value
    raise UsageError("all values are null.")


def _coalesce_list(*values: Any) -> Any:
    for value in values:
        if value:
            return value
    raise UsageError("all lists are empty.")


def _length(value: Any) -> int:
    if isinstance(value, list | dict):
        return len(cast("list[Any]", value))
    raise UsageError(f"{value!r} has no elements; strlen() counts characters.")


def _element(values: list[Any], at: int) -> Any:
    if not values:
        raise UsageError("the list is empty.")
    return values[int(at) % len(values)]


def _index_of(values: list[Any], item: Any) -> int:
    for at, value in enumerate(values):
        if same(value, item):
            return at
    raise UsageError("the item is not in the list.")


def _has_index(value: Any, key: Any) -> bool:
    try:
        index(value, key)
    except UsageError:
        return False
    return True


def _range(*limits: int) -> list[int]:
    start, end = (0, limits[0]) if len(limits) == 1 else limits[:2]
    step = limits[2] if len(limits) > 2 else (1 if end >= start else -1)
    if not step:
        raise UsageError("the step is 0.")
    if abs(end - start) / abs(step) > 1024:
        raise UsageError("the range has more than 1,024 numbers.")
    return list(range(start, end, step))


_FORMS = (
    ("YYYY", "%Y"), ("YY", "%y"), ("MMMM", "%B"), ("MMM", "%b"), ("MM", "%m"), ("DD", "%d"), ("EEEE", "%A"),
    ("EEE", "%a"), ("hh", "%H"), ("HH", "%I"), ("AA", "%p"), ("mm", "%M"), ("ss", "%S"), ("ZZZZZ", "+00:00"),
    ("ZZZZ", "+0000"), ("ZZZ", "UTC"), ("Z", "Z"),
)  # fmt: skip


def _format_date(form: str, moment: str) -> str:
    time = datetime.fromisoformat(moment).astimezone(UTC)

    def token(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1].replace("''", "'")
        for name, written in _FORMS:
            if match[0] == name:
                return time.strftime(written)
        text = {"M": time.month, "D": time.day, "h": time.hour, "H": time.hour % 12 or 12, "m": time.minute,
               "s": time.second}.get(match[0])  # fmt: skip
        if text is None:
            raise UsageError(f"the date format has an unknown verb, {match[0]!r}.")
        return str(text)

    return re.sub(r"'((?:[^']|'')*)'|([A-Za-z])\2*", token, form)


def _format_timestamp(form: str, moment: Any) -> str:
    """Return a moment in a given form. A moment is an RFC 3339 text, or seconds since 1970; the form `X` gives
    seconds.
    """
    time = datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment, UTC)
    return str(int(time.timestamp())) if form == "X" else _format_date(form, time.isoformat())


def _instant(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time_add(moment: str, duration: str) -> str:
    nanoseconds = parse_duration(duration)
    return _instant(datetime.fromisoformat(moment) + timedelta(microseconds=nanoseconds / 1000))


def _unix(moment: float) -> dict[str, Any]:
    time = datetime.fromtimestamp(moment, UTC)
    return {
        "year": time.year, "year_day": time.timetuple().tm_yday, "day": time.day, "month": time.month,
        "month_name": time.strftime("%B"), "weekday": time.isoweekday() % 7, "weekday_name": time.strftime("%A"),
        "hour": time.hour, "minute": time.minute, "second": time.second, "rfc3339": _instant(time),
        "iso_year": time.isocalendar().year, "iso_week": time.isocalendar().week,
    }  # fmt: skip


def _csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _indent(count: int, text: str) -> str:
    return textwrap.indent(text, " " * count, lambda _: True)[count:]


def _title(text: str) -> str:
    return re.sub(r"\b\w", lambda match: match[0].upper(), text)


def _chunks(values: list[Any], size: int) -> list[list[Any]]:
    return [values[at : at + size] for at in range(0, len(values), size)] if size else [values]


def _hashed(name: str) -> Callable[[str], str]:
    return lambda text: hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()


def _union(*sets: list[Any]) -> list[Any]:
    return sorted_set(list(itertools.chain.from_iterable(sets)))


def _sorted(values: list[Any]) -> list[Any]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))


def _intersection(first: list[Any], *others: list[Any]) -> list[Any]:
    return _sorted([value for value in _distinct(first) if all(value in other for other in others)])


def _namespace(text: str) -> uuid.UUID:
    return getattr(uuid, f"NAMESPACE_{text.upper()}", None) or uuid.UUID(text)


def _parse_int(text: str, base: int) -> int:
    return int(to_text(text), int(base))


def _log(number: float, base: float) -> float:
    return _whole(round(math.log(number, base), 12))


def _split(separator: str, text: str) -> list[str]:
    return text.split(separator) if separator else list(text)


def _trim(text: str, characters: str) -> str:
    return text.strip(characters)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "absolute": lambda n: abs(to_number(n)),
    "add": lambda a, b: _whole(to_number(a) + to_number(b)),
    "and": lambda a, b: a and b,
    "base64decode": lambda text: base64.b64decode(text).decode(),
    "base64encode": lambda text: base64.b64encode(text.encode()).decode(),
    "basename": posixpath.basename,
    "bcrypt": crypto.bcrypt,
    "cidrhost": addresses.host,
    "cidrnetmask": addresses.netmask,
    "cidrsubnet": addresses.subnet,
    "cidrsubnets": addresses.subnets,
    "ceil": lambda n: math.ceil(to_number(n)),
    "chomp": lambda text: text.rstrip("\r\n"),
    "chunklist": _chunks,
    "coalesce": _coalesce,
    "coalescelist": _coalesce_list,
    "compact": lambda values: [value for value in values if value],
    "concat": lambda *lists: [item for items in lists for item in as_list(items)],
    "contains": lambda values, wanted: any(same(value, wanted) for value in values),
    "csvdecode": _csv,
    "dirname": lambda path: posixpath.dirname(path) or ".",
    "distinct": _distinct,
    "divide": lambda a, b: _whole(to_number(a) / to_number(b)),
    "element": _element,
    "equal": same,
    "flatten": _flatten,
    "floor": lambda n: math.floor(to_number(n)),
    "format": _format,
    "formatdate": _format_date,
    "formatlist": _format_list,
    "formattimestamp": _format_timestamp,
    "greaterthan": lambda a, b: to_number(a) > to_number(b),
    "greaterthanorequalto": lambda a, b: to_number(a) >= to_number(b),
    "hasindex": _has_index,
    "homedir": lambda: str(user_path("~")),
    "indent": _indent,
    "index": index,
    "indexof": _index_of,
    "int": lambda n: int(to_number(n)),
    "join": lambda separator, *lists: separator.join(to_text(item) for items in lists for item in as_list(items)),
    "jsondecode": json.loads,
    "jsonencode": lambda value: dumps(value).decode(),
    "keys": lambda value: sorted(value),
    "length": _length,
    "lessthan": lambda a, b: to_number(a) < to_number(b),
    "lessthanorequalto": lambda a, b: to_number(a) <= to_number(b),
    "log": _log,
    "lookup": lambda value, key, *default: value.get(key, *default) if default else index(value, key),
    "lower": lambda text: to_text(text).lower(),
    "max": lambda *numbers: max(map(to_number, numbers)),
    "md5": _hashed("md5"),
    "merge": _merge,
    "min": lambda *numbers: min(map(to_number, numbers)),
    "modulo": lambda a, b: _whole(math.fmod(to_number(a), to_number(b))),
    "multiply": lambda a, b: _whole(to_number(a) * to_number(b)),
    "negate": lambda n: -to_number(n),
    "not": lambda value: not value,
    "notequal": lambda a, b: not same(a, b),
    "or": lambda a, b: a or b,
    "parseint": _parse_int,
    "pow": lambda a, b: _whole(to_number(a) ** to_number(b)),
    "range": _range,
    "regex": _regex,
    "regex_replace": _regex_replace,
    "regexall": lambda pattern, text: [_captured(match) for match in _compiled(pattern).finditer(text)],
    "replace": _replace,
    "reverse": lambda text: text[::-1],
    "reverselist": lambda values: values[::-1],
    "rsadecrypt": crypto.rsadecrypt,
    "sanitize": lambda text: re.sub(r"[^a-zA-Z0-9_-]", "_", text),
    "semvercmp": _semvercmp,
    "sethaselement": lambda values, wanted: wanted in values,
    "setintersection": _intersection,
    "setproduct": lambda *lists: [list(row) for row in itertools.product(*lists)],
    "setsubtract": lambda a, b: _sorted([value for value in _distinct(a) if value not in b]),
    "setsymmetricdifference": lambda a, b: _sorted([v for v in _distinct([*a, *b]) if (v in a) != (v in b)]),
    "setunion": _union,
    "sha1": _hashed("sha1"),
    "sha256": _hashed("sha256"),
    "sha512": _hashed("sha512"),
    "signum": lambda n: (to_number(n) > 0) - (to_number(n) < 0),
    "slice": lambda values, start, end: values[start:end],
    "sort": sorted,
    "split": _split,
    "strlen": len,
    "substr": _substr,
    "subtract": lambda a, b: _whole(to_number(a) - to_number(b)),
    "timeadd": _time_add,
    "timestamp": lambda: _instant(datetime.fromtimestamp(time.time(), UTC)),
    "title": _title,
    "trim": _trim,
    "trimprefix": lambda text, prefix: text.removeprefix(prefix),
    "trimspace": lambda text: text.strip(),
    "trimsuffix": lambda text, suffix: text.removesuffix(suffix),
    "unixtimestampparse": _unix,
    "upper": lambda text: to_text(text).upper(),
    "urlencode": lambda text: quote_plus(text, safe=""),
    "uuidv4": lambda: str(uuid.uuid4()),
    "uuidv5": lambda space, name: str(uuid.uuid5(_namespace(space), name)),
    "values": lambda value: [value[key] for key in sorted(value)],
    "zipmap": lambda keys, values: dict(zip(keys, values, strict=True)),
}  # fmt: skip

MISSING = {
    "byteslen": "It counts bytes, which no function returns.",
    "bytesslice": "It cuts bytes, which no function returns.",
}
"""Functions of buildx that are not here, and why nobody can call them there either."""
