"""The history of builds: what was asked for, how the build ended, and where its log is."""

from __future__ import annotations

from typing import Any

import msgspec

from .database import Database

KEEP_BUILDS = 500
"""How many builds are remembered."""
_LONGEST = 1 << 18
"""The most characters of a Dockerfile that are remembered."""

_COLUMNS = "ref, name, created, completed, status, error, request, result, log"


class HistoryRecord(msgspec.Struct, frozen=True):
    """A build of the history."""

    ref: str
    """The build's ID, as in `SolveRequest`."""
    name: str = ""
    created: float = 0.0
    """Seconds since 1970."""
    completed: float | None = None
    """Seconds since 1970; None while it runs, or when its process died."""
    status: str = "running"
    """running, completed, error or canceled."""
    error: str = ""
    request: bytes = b"{}"
    """The SolveRequest as JSON; the embedded builder adds the text of the Dockerfile, see `request_of`."""
    result: bytes = b"{}"
    """The SolveResponse as JSON."""
    log: str = ""
    """Digest of the blob that holds the status stream, or ""."""

    @property
    def dockerfile(self) -> str:
        """The text of its Dockerfile; "" if that is not remembered."""
        return msgspec.json.decode(self.request, type=_Asked).dockerfile

    @property
    def target(self) -> str:
        """The stage that it built; "" for the last one."""
        return msgspec.json.decode(self.request, type=_Asked).frontend_attrs.get("target", "")

    @property
    def image(self) -> str:
        """The digest of the image that it made; "" if it made none."""
        return msgspec.json.decode(self.result, type=dict[str, str]).get("containerimage.digest", "")

    @property
    def duration(self) -> float | None:
        """Seconds from the start to the end; None if it has not ended."""
        return None if self.completed is None else self.completed - self.created


class _Asked(msgspec.Struct, frozen=True, rename="pascal"):
    """What is read of a request."""

    dockerfile: str = ""
    frontend_attrs: dict[str, str] = {}


def request_of(request: msgspec.Struct, dockerfile: str = "") -> bytes:
    """Return a SolveRequest as JSON, with the text of its Dockerfile."""
    text = {"Dockerfile": dockerfile} if 0 < len(dockerfile) <= _LONGEST else {}
    return msgspec.json.encode({**msgspec.to_builtins(request), **text})


class History:
    """The last builds of the store."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def put(self, record: HistoryRecord) -> None:
        """Keep a build, replacing any earlier record with the same ref."""
        with self._db.write() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO history ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
                msgspec.structs.astuple(record),
            )
            connection.execute(
                "DELETE FROM history WHERE ref IN (SELECT ref FROM history ORDER BY created DESC LIMIT -1 OFFSET ?)",
                (KEEP_BUILDS,),
            )

    def get(self, ref: str) -> HistoryRecord | None:
        """Return the build with this ref, or None."""
        rows = self._db.read(f"SELECT {_COLUMNS} FROM history WHERE ref = ?", (ref,))  # noqa: S608
        return _record(rows[0]) if rows else None

    def list(self, limit: int = 50) -> list[HistoryRecord]:
        """Return the last `limit` builds, the newest first."""
        rows = self._db.read(f"SELECT {_COLUMNS} FROM history ORDER BY created DESC LIMIT ?", (limit,))  # noqa: S608
        return [_record(row) for row in rows]

    def last(self) -> float:
        """Return when the last build of any process began, in seconds since 1970; 0 if no build is remembered."""
        return self._db.read("SELECT coalesce(max(created), 0.0) FROM history")[0][0]

    def remove(self, ref: str) -> bool:
        """Forget a build, and return whether it was known. Its log goes with the next collection."""
        return bool(self._db.execute("DELETE FROM history WHERE ref = ? RETURNING 1", (ref,)))


def _record(row: tuple[Any, ...]) -> HistoryRecord:
    return HistoryRecord(*row)
