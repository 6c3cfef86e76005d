"""Numbers, dates and URLs from untrusted sources: headers, documents, arguments of programs. Nothing here raises.

Python's own functions are both too lenient and too strict for input from a network: `isdigit` is true for "²", which
`int` refuses; `int` refuses 5,000 digits with a ValueError and accepts "1_000" and the digits of other scripts;
`parsedate_to_datetime` raises four kinds of errors, and its result overflows; `urlsplit` raises for a bracket.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import SplitResult, urlsplit

LARGEST = (1 << 63) - 1
"""The largest number that is accepted: the limit of integers in Go and SQLite, and of the sizes of files."""
_DIGITS = re.compile(r"0*([0-9]{1,19})")
_LONGEST_DATE = 128
LATEST = 253_402_300_799
"""The last second of the year 9999, the latest time that RFC 3339 can write."""
_EPOCHS = range(-62_135_596_800, 253_402_300_800)
"""The seconds since 1970 in the years 1 to 9999."""


def number(text: str, limit: int = LARGEST) -> int | None:
    """Return the decimal number in `text`, 0 to `limit`; None for anything else: signs, blanks, other digits."""
    match = _DIGITS.fullmatch(text)
    value = int(match[1]) if match else None
    return value if value is not None and value <= limit else None


def integer(text: str, minimum: int = -LARGEST - 1, maximum: int = LARGEST) -> int | None:
    """Return the decimal number in `text`, as `number` does but with an optional sign."""
    value = number(text[1:] if text[:1] in ("+", "-") else text, LARGEST + 1)
    if value is None:
        return None
    value = -value if text.startswith("-") else value
    return value if minimum <= value <= maximum else None


def header_number(text: str | None, limit: int = LARGEST) -> int | None:
    """Return the number in a header field, which may have blanks around it; None when it is not a number."""
    return number(text.strip(" \t"), limit) if text and len(text) <= _LONGEST_DATE else None


def http_date(text: str | None) -> int | None:
    """Return a header's date as seconds since 1970; None unless it is a date in the years 1 to 9999."""
    if not text or len(text) > _LONGEST_DATE or not text.isascii():
        return None
    try:
        fields = parsedate_tz(text)
        seconds = None if fields is None else int(mktime_tz(fields))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return seconds if seconds is not None and seconds in _EPOCHS else None


def moment(seconds: int, nanoseconds: int = 0) -> datetime | None:
    """Return a time that another program sent, in UTC; None unless it is in the years 1 to 9999."""
    if seconds not in _EPOCHS:
        return None
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return time.replace(microsecond=min(max(nanoseconds, 0) // 1000, 999_999))


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL; malformed text becomes a path alone.

    Its `port` may still raise: see `port_of`.
    """
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", url, "", "")


def port_of(parts: SplitResult) -> int | None:
    """Return the port in a URL; None when it has none, and -1 when it is invalid."""
    try:
        return parts.port
    except ValueError:
        return -1


def join_url(base: str, target: str) -> str:
    """Return `target` resolved against the URL `base`; "" when it is malformed."""
    from urllib.parse import urljoin

    try:
        return urljoin(base, target)
    except ValueError:
        return ""
