"""Marks on rows that are used, which keep what they describe from collections during a lease."""

from __future__ import annotations

import time

from .database import Database
from .leases import Leases


class Uses:
    """The uses by this process of tables with the columns `last_used` and `size`."""

    def __init__(self, db: Database, leases: Leases) -> None:
        self._db = db
        self._leases = leases

    def mark(self, table: str, column: str, key: str) -> int | None:
        """Return the size of the row at `key`, or None; mark the row as used, once in a lease."""
        if (size := self._leases.used(table, key)) is not None:
            return size
        if self._leases.held:
            sql = f"UPDATE {table} SET last_used = ? WHERE {column} = ? RETURNING size"  # noqa: S608 - our own names
            rows = self._db.execute(sql, (time.time(), key))
        else:
            rows = self._db.read(f"SELECT size FROM {table} WHERE {column} = ?", (key,))  # noqa: S608
        if not rows:
            return None
        self._leases.mark(table, key, rows[0][0])
        return rows[0][0]
