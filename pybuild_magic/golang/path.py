"""Go's formatting of values and handling of paths, as they appear in BuildKit's histories, names and definitions."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from .text import quote

_UNITS = ((3_600_000_000_000, "h"), (60_000_000_000, "m"), (1_000_000_000, "s"))


def quoted_list(texts: Iterable[str]) -> str:
    """Return a `[]string` as `%q` prints it: `["a" "b"]`."""
    return "[" + " ".join(quote(text) for text in texts) + "]"


def quoted_number(number: int) -> str:
    r"""Return an `int` as `%q` prints it: the character of that number, `'\x03'` for 3, `'A'` for 65."""
    if not 0 <= number <= 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        return "'\ufffd'"
    character = chr(number)
    escaped = {"'": "\\'", '"': '"'}.get(character, quote(character)[1:-1])
    return f"'{escaped}'"


def plain_list(texts: Iterable[str]) -> str:
    """Return a `[]string` as `%v` prints it: `[a b]`."""
    return "[" + " ".join(texts) + "]"


def duration(nanoseconds: int) -> str:
    """Return a `time.Duration` as it prints itself: `1m30s`, `1.5s`, `20ms`, `0s`."""
    if nanoseconds < 0:
        return "-" + duration(-nanoseconds)
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 1_000_000_000:
        for size, unit in ((1_000_000, "ms"), (1_000, "µs"), (1, "ns")):
            if nanoseconds >= size:
                return _decimal(nanoseconds, size) + unit
    hours, rest = divmod(nanoseconds, _UNITS[0][0])
    minutes, rest = divmod(rest, _UNITS[1][0])
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return text + _decimal(rest, _UNITS[2][0]) + "s"


def _decimal(value: int, unit: int) -> str:
    whole, fraction = divmod(value, unit)
    digits = f"{fraction:0{len(str(unit)) - 1}d}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


def clean_path(path: str) -> str:
    """Return the shortest equivalent path, as `path.Clean`; "." for an empty path."""
    cleaned = posixpath.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def join_path(*parts: str) -> str:
    """Join the non-empty parts and clean the result, as `path.Join`; an absolute part does not start over."""
    joined = "/".join(part for part in parts if part)
    return clean_path(joined) if joined else ""


def base_name(path: str) -> str:
    """Return the last element of a path, as `path.Base`; "." for an empty path, "/" for the root."""
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"
