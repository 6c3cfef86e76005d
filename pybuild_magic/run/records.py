"""The records of runs in the background: a directory of the store each, locked by the process that hosts the run.

A directory has `info.json`, the log, and the socket by which others reach the host. A record stays for a day after
its host has ended, so that the log can be read, but no longer than the kernel that it belongs to.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ..builders import embedded_builder
from ..errors import StoreError, UsageError, nearest
from ..store.locks import lock_file, lock_file_waiting
from ..untrusted.printable import visible
from .health import Health

KEPT_SECONDS = 24 * 3600.0
MOST = 20
"""The most records of ended runs that are kept."""
_INFO, _LOCK, _NAMES = "info.json", "lock", "names.lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Owner(msgspec.Struct, frozen=True):
    """The process that a run ends with. Its start time tells it from a later process with the same number."""

    pid: int
    began: str

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return _began(self.pid) == self.began


class RunInfo(msgspec.Struct, frozen=True):
    """The state of a run in the background, as its host last wrote it."""

    id: str
    name: str
    image: str
    command: tuple[str, ...]
    created: float
    """Seconds since 1970."""
    owner: Owner | None = None
    """The process that the run ends with; None for a run that goes on by itself."""
    exit_code: int | None = None
    """None until the run has ended."""
    error: str = ""
    """Why the run could not be started, or its changes could not be committed."""
    ended: float = 0.0
    warnings: tuple[str, ...] = ()
    """Its limits, what was asked for but does not hold, and, once it has ended, the limits that it reached."""
    labels: dict[str, str] = {}
    """Its labels, those of the image included."""
    health: Health | None = None
    """None if it is not checked."""


class Record:
    """The record of a run in the background."""

    def __init__(self, directory: Path, info: RunInfo) -> None:
        self.directory = directory
        self.info = info

    @property
    def running(self) -> bool:
        """Whether its host is there."""
        try:
            lock = lock_file(self.directory / _LOCK, shared=True)
        except FileNotFoundError:
            return False
        if lock is not None:
            os.close(lock)
        return lock is None

    def state(self) -> str:
        """Return `running`, with its health if that is checked, `exited (3)`, or `killed` if its host was."""
        if self.running:
            health = self.info.health
            return f"running ({health.status})" if health is not None else "running"
        code = self.info.exit_code if self.info.exit_code is not None else self.fresh().info.exit_code
        return "killed" if code is None else f"exited ({code})"

    def fresh(self) -> Record:
        """Return the record as it is now. Raises UsageError when it is gone."""
        record = read_record(self.directory)
        if record is None:
            raise UsageError(f"The run {self.info.name} is gone.", hint="%build ps -a lists those that are known.")
        return record

    def write(self, info: RunInfo) -> None:
        """Write the new state of the run."""
        self.info = info
        path = self.directory / _INFO
        path.with_suffix(".tmp").write_bytes(msgspec.json.encode(info))
        path.with_suffix(".tmp").rename(path)

    def remove(self) -> None:
        """Remove the record and the log."""
        shutil.rmtree(self.directory, ignore_errors=True)


def new_record(info: RunInfo) -> tuple[Record, int]:
    """Make the record of a run, and lock it: the process that has the descriptor is the host.

    If its name is "", one is made from the image's name. Raises UsageError for an invalid name, or for the name of a
    run that is still going.
    """
    name = info.name
    if name and not _NAME.fullmatch(name):
        raise UsageError(f"{visible(name)!r} cannot be the name of a run: use letters, digits, _, . and -.")
    with _names():
        known = {record.info.name: record for record in records()}
        image = info.image.rpartition("/")[2].partition(":")[0].partition("@")[0]
        base = re.sub(r"[^A-Za-z0-9]+", "-", image).strip("-")
        number = 1
        while not name:
            name = f"{base or 'run'}-{number}" if f"{base or 'run'}-{number}" not in known else ""
            number += 1
        if name in known:
            if known[name].running:
                raise UsageError(f"There is already a run {name}.", hint=f"%build stop {name} ends it.")
            known[name].remove()
        directory = _root() / info.id
        directory.mkdir(mode=0o700)
        record = Record(directory, msgspec.structs.replace(info, name=name))
        record.write(record.info)
        return record, lock_file_waiting(directory / _LOCK)


def records() -> list[Record]:
    """Return all records, the newest first, after removing those that are out of date."""
    records = [record for place in _root().iterdir() if place.is_dir() and (record := read_record(place)) is not None]
    records.sort(key=lambda record: -record.info.created)
    complete: list[Record] = []
    ended = 0
    for record in records:
        if not record.running:
            ended += 1
            age = time.time() - (record.info.ended or record.info.created)
            orphan = record.info.owner is not None and not record.info.owner.alive
            if orphan or age > KEPT_SECONDS or ended > MOST:
                record.remove()
                continue
        complete.append(record)
    return complete


def find_record(name: str) -> Record:
    """Return the run with this name, or whose ID begins so. Raises UsageError."""
    known = records()
    matches = [record for record in known if record.info.name == name]
    matches = matches or [record for record in known if len(name) > 1 and record.info.id.startswith(name)]
    if len(matches) != 1:
        suggestion = nearest(name, [record.info.name for record in known])
        raise UsageError(
            f"There is no run {visible(name)}.",
            hint=f"Did you mean {suggestion}?" if suggestion else "%build ps lists them.",
        )
    return matches[0]


def read_record(directory: Path) -> Record | None:
    """Return the record in a directory; None when there is none."""
    with suppress(OSError, msgspec.DecodeError):
        return Record(directory, msgspec.json.decode((directory / _INFO).read_bytes(), type=RunInfo))
    return None


def this_process() -> Owner:
    """Return this process as an owner."""
    return Owner(os.getpid(), _began(os.getpid()))


def _began(pid: int) -> str:
    """Return when a process began, in Linux's own units; "" when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _root() -> Path:
    return embedded_builder().store.root / "runs"


@contextmanager
def _names() -> Generator[None]:
    """Keep others from taking a name during the block."""
    try:
        lock = lock_file_waiting(_root() / _NAMES)
    except OSError as error:
        raise StoreError(f"The store cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        os.close(lock)
