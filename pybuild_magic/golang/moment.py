"""Points in time as `docker logs --since` takes them: a date, the seconds since 1970, or a duration before now."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime

from ..errors import DockerfileError, UsageError
from .duration import parse_duration

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_SECONDS = re.compile(r"-?\d+(\.\d{1,9})?", re.ASCII)


def parse_moment(text: str, now: float, flag: str) -> float:
    """Return seconds since 1970; a date without a zone is a local one. Raises UsageError that names `flag`."""
    with suppress(DockerfileError):
        return now - parse_duration(text) / 1e9
    if match := _DATE.fullmatch(text):
        date, clock, zone = match.groups()
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(f"{date}{clock or 'T00'}{zone or ''}").timestamp()
    if _SECONDS.fullmatch(text):
        return float(text)
    raise UsageError(f"{flag} {text!r} is not a time.", hint="Write 10m, 2026-01-31T12:00:00, or seconds since 1970.")
