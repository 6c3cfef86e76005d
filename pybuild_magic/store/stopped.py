"""Stopped runs: the files that a process has left, kept as they are where a full disk had no room for a layer of them.

Each is a directory with the files in `fs`, a list of the entries that the layer will have, and a record; or with the
record alone, once there is a layer. The layers that the record names stay until the run is committed or removed.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ..errors import StoreError, UsageError
from .blobfiles import disk_errors
from .database import Database
from .entry import Entry
from .index import Index

SHORT = 12
"""How many digits of an ID are shown, and needed to find it."""
_RECORD, _ENTRIES = "stopped", "entries"


class StoppedRun(msgspec.Struct, frozen=True):
    """The record of a stopped run."""

    id: str
    diff_ids: tuple[str, ...]
    """The layers that it needs."""
    created: float
    """Seconds since 1970."""
    description: str
    meta: bytes
    """Whatever its commit needs to know."""
    size: int = 0
    """Bytes of its files."""


class StoppedRuns:
    """The stopped runs of a store, below `directory`."""

    def __init__(self, directory: Path, db: Database, remove_tree: Callable[[Path], None]) -> None:
        self._directory = directory
        self._db = db
        self._remove_tree = remove_tree

    def keep(self, run: StoppedRun, work: Path, entries: Sequence[Entry] | None = None) -> None:
        """Make a working directory that of a stopped run. Raises StoreError.

        It has the files in `fs` if there are `entries`. There is room for the records even on a full disk.
        """
        home = self._directory.parent
        with self._db.reserve.spent(), disk_errors(home, "keeping what a run has changed"):
            if entries is not None:
                run = msgspec.structs.replace(run, size=sum(entry.size for entry in entries))
                (work / _ENTRIES).write_bytes(zlib.compress(Index(entries).encode(), 1))
            (work / _RECORD).write_bytes(msgspec.msgpack.encode(run))
            work.rename(self._directory / run.id)

    def list(self) -> tuple[StoppedRun, ...]:
        """Return all stopped runs, the oldest first."""
        found: list[StoppedRun] = []
        for place in self._directory.iterdir():
            with suppress(OSError, msgspec.DecodeError):  # it is being removed, or is another version's
                found.append(msgspec.msgpack.decode((place / _RECORD).read_bytes(), type=StoppedRun))
        return tuple(sorted(found, key=lambda run: run.created))

    def get(self, word: str) -> StoppedRun | None:
        """Return the run whose ID is `word` or begins so; None if there is none."""
        return next((run for run in self.list() if len(word) >= SHORT and run.id.startswith(word)), None)

    def find(self, word: str) -> StoppedRun:
        """Return the run as `get` does. Raises UsageError."""
        run = self.get(word)
        if run is None:
            known = [run.id[:SHORT] for run in self.list()]
            raise UsageError(
                f"There is no stopped run {word}.",
                hint=f"There is {', '.join(known)}." if known else "Only a run that a full disk stopped is kept.",
            )
        return run

    def place(self, run: StoppedRun) -> Path:
        """Return the directory of a run."""
        return self._directory / run.id

    def files(self, run: StoppedRun) -> Path:
        """Return the directory with the files of a run."""
        return self.place(run) / "fs"

    def entries(self, run: StoppedRun) -> tuple[Entry, ...]:
        """Return the entries of the layer that a run is to become. Raises StoreError."""
        try:
            data = zlib.decompress((self.place(run) / _ENTRIES).read_bytes())
        except (OSError, zlib.error) as error:
            raise StoreError(f"What the run {run.id[:SHORT]} has changed cannot be read: {error}.") from error
        return Index.decode(io.BytesIO(data)).entries

    def remove(self, run: StoppedRun) -> None:
        """Remove a run and its files."""
        trash = self._directory.with_name("trash") / os.urandom(8).hex()
        with suppress(FileNotFoundError):
            self.place(run).rename(trash)
        with suppress(OSError, StoreError):  # the next collection tries again
            self._remove_tree(trash)
