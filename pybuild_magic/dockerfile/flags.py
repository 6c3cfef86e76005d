"""The flags of an instruction (`--name=value`), validated against the flags that it supports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

import msgspec

from ..errors import DockerfileError
from ..golang.text import alike, did_you_mean


class Kind(Enum):
    """The kinds of values: an optional boolean, a single value, or a value per occurrence."""

    BOOL = auto()
    STRING = auto()
    STRINGS = auto()


Table = Mapping[str, Kind]


class Flags(msgspec.Struct, frozen=True):
    """The given flags by name, each with its values in order."""

    values: Mapping[str, tuple[str, ...]]

    def text(self, name: str, default: str = "") -> str:
        """Return the value of a STRING."""
        return self.values.get(name, (default,))[0]

    def all(self, name: str) -> tuple[str, ...]:
        """Return the values of a STRINGS."""
        return self.values.get(name, ())

    def boolean(self, name: str) -> bool | None:
        """Return the value of a BOOL; None when it was not given."""
        return self.text(name) == "true" if name in self.values else None


NO_FLAGS: Table = {}


def parse_flags(words: Sequence[str], table: Table) -> Flags:
    """Parse flags. Raises DockerfileError for an unknown or repeated flag, and for a wrong value."""
    values: dict[str, tuple[str, ...]] = {}
    for word in words:
        flag, delimiter, value = word.partition("=")
        name = flag.removeprefix("--")
        if name not in table:
            raise DockerfileError(f"unknown flag: {flag}{did_you_mean(name, alike(name, table), case_sensitive=True)}")
        kind = table[name]
        if name in values and kind is not Kind.STRINGS:
            raise DockerfileError(f"duplicate flag specified: {flag}")
        if kind is Kind.BOOL:
            value = _boolean(flag, delimiter, value)
        elif not delimiter:
            raise DockerfileError(f"missing a value on flag: {flag}")
        values[name] = (*values.get(name, ()), value)
    return Flags(values)


def _boolean(flag: str, delimiter: str, value: str) -> str:
    if delimiter and not value:
        raise DockerfileError(f"missing a value on flag: {flag}")
    if value.lower() not in ("", "true", "false"):
        raise DockerfileError(f"expecting boolean value for flag {flag}, not: {value}")
    return value.lower() or "true"
