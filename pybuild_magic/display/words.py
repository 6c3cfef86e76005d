"""Sizes, durations and names in the words of people."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import UsageError
from ..oci import reference

_UNITS = ("B", "kB", "MB", "GB", "TB")
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")
INTERNAL = "[internal]"
"""How the names of vertices begin that are no step of the Dockerfile."""


def human_bytes(count: float) -> str:
    """A size as BuildKit prints it: decimal units, two digits."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f}{_UNITS[unit]}" if unit == 0 else f"{count:.2f}{_UNITS[unit]}"


def seconds(value: float) -> str:
    """A duration as people say it."""
    if value < 0.0005:
        return "0 s"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def plural(count: int, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def familiar(names: Iterable[str]) -> str:
    """Names of images as people write them: `hello:latest` for `docker.io/library/hello:latest`."""
    return ", ".join(_familiar(name) for name in names)


def _familiar(name: str) -> str:
    try:
        return reference.parse(name).familiar
    except UsageError:
        return name  # a builder's answer is shown as it is


def shorten(name: str) -> str:
    """A vertex's name with its digests cut to the twelve digits that people read."""
    return _DIGEST.sub(r"\1…", name)


def count_steps(names_cached: list[tuple[str, bool]]) -> str:
    """`9 steps, 4 cached`, of (name, cached) of each vertex; internal ones are not counted. "" when there are none."""
    counted = [cached for name, cached in names_cached if not name.startswith(INTERNAL)]
    if not counted:
        return ""
    cached = sum(counted)
    return plural(len(counted), "step") + (f", {cached:,} cached" if cached else "")
