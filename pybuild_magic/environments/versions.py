"""The comparison of two environments, by distribution."""

from __future__ import annotations

import msgspec

from ..display.table import Table
from .installed import Environment


class VersionRow(msgspec.Struct, frozen=True):
    """A distribution; a version is "" when it is missing."""

    name: str
    here: str
    there: str

    @property
    def verdict(self) -> str:
        """The relation of the two, in a word or two."""
        if self.here == self.there:
            return "same"
        return "only here" if not self.there else "only in the image" if not self.here else "differs"


def compare(here: Environment, there: Environment) -> tuple[VersionRow, ...]:
    """Return a row for each distribution of either, differences first."""

    def version(environment: Environment, name: str) -> str:
        return environment[name].version if name in environment else ""

    rows = [VersionRow(name, version(here, name), version(there, name)) for name in sorted({*here, *there})]
    return tuple(sorted(rows, key=lambda row: row.here == row.there))


def shown(rows: tuple[VersionRow, ...], here: str = "", there: str = "") -> Table:
    """Return the comparison as a table; `here` and `there` are the versions of Python, as far as they are known."""
    different = sum(row.here != row.there for row in rows)
    note = f"{len(rows) - different} distributions are the same" + (f", {different} are not." if different else ".")
    if here and there:
        note += f" Python is {here} in both." if here == there else f" Python is {here} here, {there} in the image."
    return Table(
        ("DISTRIBUTION", "RESULT", "HERE", "IN THE IMAGE"),
        tuple((row.name, row.verdict, row.here or "—", row.there or "—") for row in rows),
        note,
    )
