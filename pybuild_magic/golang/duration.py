"""Durations in Go's notation (`1m30s`, `1.5h`), which HEALTHCHECK's flags take."""

from __future__ import annotations

import re
from fractions import Fraction

from ..errors import DockerfileError
from .text import quote

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]*)(\.?)([0-9]*)([^0-9.]*)")
_LARGEST = 2**63
_MOST_DIGITS = 19
_FRACTION = 40
"""Digits after the point, enough for a difference of a nanosecond."""


def parse_duration(text: str) -> int:
    """Return nanoseconds. Raises DockerfileError for an invalid duration."""
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    if not rest:
        raise _invalid(text)
    total = 0
    while rest:
        match = _PART.match(rest)
        if match is None or not (match[1] or match[3]):
            raise _invalid(text)
        unit = match[4]
        if not unit:
            raise DockerfileError(f"time: missing unit in duration {quote(text)}")
        if unit not in _NANOSECONDS:
            raise DockerfileError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        if len(match[1].lstrip("0")) > _MOST_DIGITS:
            raise _invalid(text)
        total += int(Fraction(f"{match[1].lstrip('0') or 0}.{match[3][:_FRACTION] or 0}") * _NANOSECONDS[unit])
        if total > _LARGEST - (not negative):
            raise _invalid(text)
        rest = rest[match.end() :]
    return -total if negative else total


def _invalid(text: str) -> DockerfileError:
    return DockerfileError(f"time: invalid duration {quote(text)}")
