"""The store's records: one SQLite database that all threads and processes share."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .locks import lock_file_waiting
from .reserve import Reserve

SCHEMA_VERSION = 3
BUSY_SECONDS = 60.0

_SCHEMA = """
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created REAL NOT NULL, last_used REAL NOT NULL,
    boot TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY, size INTEGER NOT NULL, idx TEXT NOT NULL, extra TEXT NOT NULL,
    created REAL NOT NULL, last_used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE compressed (
    diff_id TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    compression TEXT NOT NULL, annotations BLOB NOT NULL, PRIMARY KEY (diff_id, digest, media_type)
) WITHOUT ROWID;
CREATE INDEX compressed_by_digest ON compressed (digest);
CREATE TABLE cache (
    key TEXT PRIMARY KEY, diff_ids TEXT NOT NULL, blobs TEXT NOT NULL, meta BLOB NOT NULL, kind TEXT NOT NULL,
    description TEXT NOT NULL, created REAL NOT NULL, last_used REAL NOT NULL, usage_count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE aliases (key TEXT PRIMARY KEY, target TEXT NOT NULL, last_used REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE images (
    name TEXT PRIMARY KEY, descriptor BLOB NOT NULL, created REAL NOT NULL, last_used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE digests (directory BLOB PRIMARY KEY, files BLOB NOT NULL, last_used REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE history (
    ref TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, completed REAL, status TEXT NOT NULL,
    error TEXT NOT NULL, request BLOB NOT NULL, result BLOB NOT NULL, log TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE rootfs (
    key TEXT PRIMARY KEY, diff_id TEXT NOT NULL, size INTEGER NOT NULL, created REAL NOT NULL,
    last_used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE cachemounts (
    directory TEXT PRIMARY KEY, id TEXT NOT NULL, created REAL NOT NULL, last_used REAL NOT NULL,
    usage_count INTEGER NOT NULL
) WITHOUT ROWID;
"""

_PARTS = """
CREATE TABLE parts (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, recipe TEXT NOT NULL, blobs TEXT NOT NULL,
    created REAL NOT NULL, last_used REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE holders (id INTEGER PRIMARY KEY, blob TEXT NOT NULL UNIQUE, diff_id TEXT NOT NULL);
CREATE TABLE contents (digest BLOB PRIMARY KEY, holder INTEGER NOT NULL, offset INTEGER NOT NULL) WITHOUT ROWID;
"""
_SIZES = """
DROP TABLE holders;
DELETE FROM contents;
CREATE TABLE holders (id INTEGER PRIMARY KEY, blob TEXT NOT NULL UNIQUE, diff_id TEXT NOT NULL, sizes BLOB NOT NULL);
"""
_UPGRADES = (_SCHEMA, _PARTS, _SIZES)
"""The statements that upgrade the schema, from each version to the next."""


class Database:
    """A connection that is opened on first use, shared by threads, and opened anew after a fork.

    Every change is a transaction that takes SQLite's write lock before it reads anything. The same lock keeps garbage
    collection and the publishing of new blobs apart.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reserve = Reserve(path.with_name("reserve"))
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._depth = 0

    def read(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT."""
        with self._lock, self._errors():
            return self._open().execute(sql, arguments).fetchall()

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """Run the block in a transaction, which is rolled back if it raises. Blocks of the same thread nest."""
        with self._lock, self._errors():
            connection = self._open()
            if self._depth:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def execute(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a changing statement in a transaction, and return the rows of its RETURNING clause."""
        with self.write() as connection:
            return connection.execute(sql, arguments).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a changing statement once for each of `rows`, in one transaction."""
        with self.write() as connection:
            connection.executemany(sql, rows)

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        try:
            connection = self._connect()
        except sqlite3.OperationalError:
            if not self.reserve.spend():
                raise
            connection = self._connect()  # on a full disk, there was no room for its files
        self._connection, self._pid = connection, os.getpid()
        self.reserve.keep()
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
                self._set_up(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint=2000")
        except PermissionError as error:
            connection.close()
            raise self._failed(error) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        """Create the tables, one process at a time: SQLite does not wait while another changes the journal mode."""
        fd = lock_file_waiting(self._path.with_suffix(".lock"))
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            self._migrate(connection)
        finally:
            os.close(fd)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            connection.execute("ROLLBACK")
            raise StoreError(
                f"The store at {self._path.parent} was made by a newer version of pybuild_magic.",
                hint="Upgrade pybuild_magic, or set PYBUILD_HOME to another directory.",
            )
        for upgrade in _UPGRADES[version:]:
            for statement in upgrade.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        home = self._path.parent
        return StoreError(f"The store's database {self._path} cannot be used: {error}.", hint=_hint(error, home))


def _hint(error: Exception, home: Path) -> str:
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return "Free a few megabytes on its disk; then `%build prune` frees more."
    if "locked" in text:
        return "Another process keeps it busy; try again when that is done."
    if "readonly" in text or "unable to open" in text or isinstance(error, PermissionError):
        return f"Make {home} writable, or set PYBUILD_HOME to a directory that is."
    return f"Move {home} away to start with an empty store."
