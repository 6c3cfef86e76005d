"""Rows of a table of options: a flag, the field of a struct that it sets, and how its words become the value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from .flags import Flag, Kind, truth


class RowInput(msgspec.Struct, frozen=True):
    """The input from which a row reads the value of its field."""

    words: Sequence[str]
    """The values of the flag, in order; empty when only an environment variable sets the field."""
    environ: Mapping[str, str]
    field: Any
    """The value of the field so far: its default, or the value from an earlier row."""

    @property
    def last(self) -> str:
        """The last word, which is the one that counts."""
        return self.words[-1]

    @property
    def on(self) -> bool:
        """Whether a boolean flag is on."""
        return truth(self.last, "It")


Parse = Callable[[RowInput], Any]
"""From words to the value of the field. Raises UsageError."""


class Row(Flag, frozen=True, kw_only=True):
    """A flag, and the field that it sets."""

    field: str
    parse: Parse
    variables: tuple[str, ...] = ()
    """Environment variables that set the field too, without the flag."""


def row(
    name: str,
    kind: Kind,
    metavar: str,
    doc: str,
    field: str = "",
    parse: Parse | None = None,
    short: str = "",
    choices: tuple[str, ...] = (),
) -> Row:
    """Return a row. By default, its field has the name of the flag, and words are taken as they are."""
    return Row(name, kind, metavar, doc, short, choices, field=field or field_of(name), parse=parse or PARSE[kind])


def field_of(name: str) -> str:
    """Return the name of the field that a flag sets by default."""
    return name.replace("-", "_")


def each_word(read: Callable[[str], Any]) -> Parse:
    """Return a Parse that reads every word by itself."""
    return lambda source: tuple(read(word) for word in source.words)


def last_word(read: Callable[[str], Any]) -> Parse:
    """Return a Parse that reads the last word."""
    return lambda source: read(source.last)


PARSE: Mapping[Kind, Parse] = {Kind.BOOL: lambda source: source.on, Kind.ONE: last_word(str), Kind.MANY: each_word(str)}
"""The Parse of each kind that takes words as they are."""


def defaults_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the default value of each field of a struct of options."""
    return {
        field.name: field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        for field in msgspec.structs.fields(struct)
    }


def read_fields(
    rows: Sequence[Row], values: Mapping[str, Sequence[str]], defaults: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return the fields that sorted flags (`ParsedFlags.values`) and the environment set. Raises UsageError."""
    fields: dict[str, Any] = {}
    for row in rows:
        words = values.get(row.name, ())
        if words or any(environ.get(name) for name in row.variables):
            fields[row.field] = row.parse(RowInput(words, environ, fields.get(row.field, defaults.get(row.field))))
    return fields
