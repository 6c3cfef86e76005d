"""Numbers, dates and URLs that others wrote: headers, documents, arguments of programs. Nothing here raises.

Python's own readers are too generous and too strict at once for what comes from a network: `isdigit` is true for "²",
which `int` refuses; `int` refuses 5,000 digits with a ValueError and takes "1_000" and other scripts' digits;
`parsedate_to_datetime` raises four kinds of errors, and its result overflows; `urlsplit` raises for a bracket.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import SplitResult, urlsplit

LARGEST = (1 << 63) - 1
"""The largest number that is one: what Go's and SQLite's integers, and sizes of files, can be."""
_DIGITS = re.compile(r"0*([0-9]{1,19})")
_LONGEST_DATE = 128
LATEST = 253_402_300_799
"""The last second of the year 9999, the last that texts can say."""
_EPOCHS = range(-62_135_596_800, 253_402_300_800)
"""Seconds since 1970 that are in the years 1 to 9999."""


def number(text: str, most: int = LARGEST) -> int | None:
    """Return the decimal number that `text` is, 0 to `most`; None for everything else: signs, blanks, other digits."""
    match = _DIGITS.fullmatch(text)
    value = int(match[1]) if match else None
    return value if value is not None and value <= most else None


def integer(text: str, least: int = -LARGEST - 1, most: int = LARGEST) -> int | None:
    """As `number`, with a sign or without."""
    value = number(text[1:] if text[:1] in ("+", "-") else text, LARGEST + 1)
    if value is None:
        return None
    value = -value if text.startswith("-") else value
    return value if least <= value <= most else None


def header_number(text: str | None, most: int = LARGEST) -> int | None:
    """Return the number of a header field, which may have blanks around it; None when it says none."""
    return number(text.strip(" \t"), most) if text and len(text) <= _LONGEST_DATE else None


def http_date(text: str | None) -> int | None:
    """Return seconds since 1970 of a header's date; None for what is none, or lies outside of the years 1 to 9999."""
    if not text or len(text) > _LONGEST_DATE or not text.isascii():
        return None
    try:
        fields = parsedate_tz(text)
        seconds = None if fields is None else int(mktime_tz(fields))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if seconds is not None and seconds in _EPOCHS else None


def moment(seconds: int, nanoseconds: int = 0) -> datetime | None:
    """Return a time that another program sent, in UTC; None for what lies outside of the years 1 to 9999."""
    if seconds not in _EPOCHS:
        return None
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return when.replace(microsecond=min(max(nanoseconds, 0) // 1000, 999_999))


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL; of what cannot be read as one, a path alone.

    Its `port` may still raise: see `port_of`.
    """
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", url, "", "")


def port_of(parts: SplitResult) -> int | None:
    """Return the port that a URL says; None when it says none, and -1 for what is no port."""
    try:
        return parts.port
    except ValueError:
        return -1


def join_url(base: str, target: str) -> str:
    """`target` as it is meant on the page `base`; "" when it is no URL."""
    from urllib.parse import urljoin

    try:
        return urljoin(base, target)
    except ValueError:
        return ""
