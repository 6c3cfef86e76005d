"""Sizes and durations in the words of people."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB")


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
