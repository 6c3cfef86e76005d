"""Makes a layer of what a RUN has changed, the one that BuildKit's differ would write."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ....cancel import Cancel
from ....errors import StoreError
from ....store import Entry, Layer, LayerWriter, Store
from .client import Helper, JobFailed
from .spec import RunOutcome

if TYPE_CHECKING:
    from .helper.changes import Row
    from .helper.jobs import ChangesJob


def write_layer(store: Store, helper: Helper, outcome: RunOutcome, cancel: Cancel | None, *, overlay: bool) -> Layer:
    """The layer; `overlay` says how the root was made. Raises StoreError, Interrupted."""
    work = outcome.work
    recorded = not overlay and not helper.traced
    job: ChangesJob = {
        "lower": list(outcome.lower),
        "upper": str(work / "fs") if overlay else "",
        "root": "" if overlay else str(work / "fs"),
        "record": str(work / "record") if recorded else "",
        "blobs": (work / "blobs").read_text().splitlines() if recorded else [],
        "stubs": list(outcome.stubs),
        "owners": "",
        "told": "",
    }
    if helper.program and helper.rung is not None:
        helper.rung.way.compare(job, str(work))
    with LayerWriter(store, cancel=cancel) as writer:
        try:
            if helper.userns:
                _through_helper(store, helper, job, outcome, writer, cancel)
            else:
                _changes_here(job, writer)
        except JobFailed as error:
            raise StoreError(f"What RUN changed could not be read: {error}.") from error
        except OSError as error:
            raise StoreError(f"What RUN changed could not be read: {error.strerror}.") from error
        return writer.finish()


def _through_helper(
    store: Store, helper: Helper, job: ChangesJob, outcome: RunOutcome, writer: LayerWriter, cancel: Cancel | None
) -> None:
    """Files of subordinate users can be read by the helper alone, which passes them on as open files."""
    owners = _owners(store, outcome) if helper.single and not helper.kept else None

    def take(message: Any, fds: list[int]) -> None:
        counted = b"1" if fds else b""
        try:
            for row, has_content in message[1]:
                entry = _entry(row)
                writer.add(owners(entry) if owners else entry, fds.pop(0) if has_content else None)
        finally:
            for fd in fds:
                os.close(fd)
        os.write(grant, counted)

    credit, grant = os.pipe()
    try:
        os.write(grant, b"11")  # messages with files that may be on their way
        helper.call("changes", job, cancel, take, (credit,))
    finally:
        os.close(credit)
        os.close(grant)


def _owners(store: Store, outcome: RunOutcome) -> Callable[[Entry], Entry]:
    """Where one id stands for all: files that were there keep their owner, new ones get the process's.

    What the sandbox itself has made belongs to root.
    """
    tree = store.tree(outcome.snapshot)
    made = {path.lstrip("/") for path in outcome.made}

    def own(entry: Entry) -> Entry:
        if entry.is_whiteout:
            return entry
        old = tree.get(entry.path)
        if old is not None:
            uid, gid = old.uid, old.gid
        else:
            uid, gid = (0, 0) if entry.path in made else outcome.new_owner
        return msgspec.structs.replace(entry, uid=uid, gid=gid)

    return own


def _changes_here(job: ChangesJob, writer: LayerWriter) -> None:
    """As root, this process can read what the sandbox's root has written."""
    from .helper.changes import find

    def add(row: Row, path: bytes) -> None:
        writer.add(_entry(row), _opener(path))

    find(job, add)


def _opener(path: bytes) -> Callable[[], int] | None:
    return (lambda: os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) if path else None


def _entry(row: Any) -> Entry:
    path, kind, mode, uid, gid, mtime, size, link, major, minor, xattrs = row
    if xattrs:
        return Entry(path, kind, mode, uid, gid, mtime, size, link, -1, b"", major, minor, xattrs)
    return Entry(path, kind, mode, uid, gid, mtime, size, link, -1, b"", major, minor)
