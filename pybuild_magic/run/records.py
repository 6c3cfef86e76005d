"""The runs in the background that a store knows: a directory each, which the process that hosts the run has locked.

In it are `info.json`, the log, and the socket by which others reach the host. A record whose host is gone stays for a
day, so that its log can be read, but no longer than the kernel that it belongs to.
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

KEPT_SECONDS = 24 * 3600.0
MOST = 20
"""Records of runs that have ended."""
_INFO, _LOCK, _NAMES = "info.json", "lock", "names.lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Owner(msgspec.Struct, frozen=True):
    """The process that a run ends with, and when that began, since numbers of processes are used again."""

    pid: int
    began: str

    @property
    def alive(self) -> bool:
        """Whether it is still there."""
        return _began(self.pid) == self.began


class RunInfo(msgspec.Struct, frozen=True):
    """A run in the background as its host has told it last."""

    id: str
    name: str
    image: str
    command: tuple[str, ...]
    created: float
    """Seconds since 1970."""
    owner: Owner | None = None
    """Whom it ends with; None for one that goes on by itself."""
    exit_code: int | None = None
    """None as long as it has not ended."""
    error: str = ""
    """Why it could not be begun."""
    ended: float = 0.0
    told: tuple[str, ...] = ()
    """Its limits, and what of it does not hold."""


class Record:
    """A run in the background."""

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
        """`running`, `exited (3)`, or `killed` where its host was."""
        if self.running:
            return "running"
        code = self.info.exit_code if self.info.exit_code is not None else self.fresh().info.exit_code
        return "killed" if code is None else f"exited ({code})"

    def fresh(self) -> Record:
        """It as it is now. Raises UsageError when it is gone."""
        record = read_record(self.directory)
        if record is None:
            raise UsageError(f"The run {self.info.name} is gone.", hint="%build ps -a lists those that are known.")
        return record

    def write(self, info: RunInfo) -> None:
        """Note how it is now."""
        self.info = info
        path = self.directory / _INFO
        path.with_suffix(".tmp").write_bytes(msgspec.json.encode(info))
        path.with_suffix(".tmp").rename(path)

    def remove(self) -> None:
        """Forget it."""
        shutil.rmtree(self.directory, ignore_errors=True)


def new_record(name: str, image: str, command: tuple[str, ...], owner: Owner | None) -> tuple[Record, int]:
    """Make the record of a run, and lock it: who has the descriptor is its host.

    `name` is made of the image's where it is "". Raises UsageError for a name that cannot be one, or that a run has
    which goes on.
    """
    if name and not _NAME.fullmatch(name):
        raise UsageError(f"{visible(name)!r} cannot be the name of a run: it is made of letters, digits, _, . and -.")
    with _names():
        known = {record.info.name: record for record in records()}
        base = re.sub(r"[^A-Za-z0-9]+", "-", image.rpartition("/")[2].partition(":")[0].partition("@")[0]).strip("-")
        number = 1
        while not name:
            name = f"{base or 'run'}-{number}" if f"{base or 'run'}-{number}" not in known else ""
            number += 1
        if name in known:
            if known[name].running:
                raise UsageError(f"There is a run {name} already.", hint=f"%build stop {name} ends it.")
            known[name].remove()
        identity = os.urandom(6).hex()
        directory = _root() / identity
        directory.mkdir(mode=0o700)
        record = Record(directory, RunInfo(identity, name, image, command, time.time(), owner))
        record.write(record.info)
        return record, lock_file_waiting(directory / _LOCK)


def records() -> list[Record]:
    """Return the runs that are known, the newest first; those that nobody can want any more are removed."""
    records = [record for place in _root().iterdir() if place.is_dir() and (record := read_record(place)) is not None]
    records.sort(key=lambda record: -record.info.created)
    kept: list[Record] = []
    ended = 0
    for record in records:
        if not record.running:
            ended += 1
            age = time.time() - (record.info.ended or record.info.created)
            orphan = record.info.owner is not None and not record.info.owner.alive
            if orphan or age > KEPT_SECONDS or ended > MOST:
                record.remove()
                continue
        kept.append(record)
    return kept


def find_record(name: str) -> Record:
    """Return the run of a name, or of the beginning of an ID. Raises UsageError."""
    known = records()
    matches = [record for record in known if record.info.name == name]
    matches = matches or [record for record in known if len(name) > 1 and record.info.id.startswith(name)]
    if len(matches) != 1:
        near = nearest(name, [record.info.name for record in known])
        raise UsageError(
            f"There is no run {visible(name)}.", hint=f"Did you mean {near}?" if near else "%build ps lists them."
        )
    return matches[0]


def read_record(directory: Path) -> Record | None:
    """Return the run of a directory; None when there is none."""
    with suppress(OSError, msgspec.DecodeError):
        return Record(directory, msgspec.json.decode((directory / _INFO).read_bytes(), type=RunInfo))
    return None


def this_process() -> Owner:
    """Return the process that this is."""
    return Owner(os.getpid(), _began(os.getpid()))


def _began(pid: int) -> str:
    """Return when a process began, as Linux counts it; "" when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _root() -> Path:
    return embedded_builder().store.root / "runs"


@contextmanager
def _names() -> Generator[None]:
    """Nobody else takes a name meanwhile."""
    try:
        lock = lock_file_waiting(_root() / _NAMES)
    except OSError as error:
        raise StoreError(f"The store cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        os.close(lock)
