"""Times in image documents: RFC 3339 text with up to nine digits of fraction, as Go reads and writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:[.,](\d{1,}))?(?:(Z)|([+-])(\d\d):(\d\d))", re.ASCII)
_SECOND = 1_000_000_000

EPOCHS = range(-62_135_596_800, 253_402_300_800)
"""Seconds since 1970 that RFC 3339 can write: the years 1 to 9999."""


def parse_time(text: str) -> int:
    """Return an RFC 3339 time as nanoseconds since 1970. Raises ValueError for any other text."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    date, clock, fraction, _, sign, hours, minutes = match.groups()
    moment = datetime.fromisoformat(f"{date}T{clock}+00:00")
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1))
    if sign:
        offset = int(hours) * 3600 + int(minutes) * 60
        seconds += -offset if sign == "+" else offset
    return seconds * _SECOND + int((fraction or "")[:9].ljust(9, "0"))


def format_time(nanoseconds: int) -> str:
    """Return nanoseconds since 1970 as RFC 3339 text in UTC, without trailing zeros in the fraction."""
    seconds, fraction = divmod(nanoseconds, _SECOND)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    digits = f"{fraction:09d}".rstrip("0")
    text = moment.replace(tzinfo=None).isoformat(timespec="seconds")
    return text + (f".{digits}" if digits else "") + "Z"


def normal_time(text: str) -> str:
    """Return `text` as Go writes it after reading it: fraction trimmed, a zero offset as Z, others kept."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    date, clock, fraction, _, sign, hours, minutes = match.groups()
    digits = (fraction or "")[:9].rstrip("0")
    zone = f"{sign}{hours}:{minutes}" if sign and (hours, minutes) != ("00", "00") else "Z"
    return f"{date}T{clock}" + (f".{digits}" if digits else "") + zone
