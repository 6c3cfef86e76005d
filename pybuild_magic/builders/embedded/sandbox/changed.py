"""The changes of a RUN as a layer, the same that BuildKit's differ would write.

Contents that are already in the store are referred to, not written again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ....cancel import Cancel
from ....errors import StoreError
from ....store import Entry, Layer, LayerWriter, LazyContent, Store
from .client import Helper, JobFailed
from .spec import Changes, MountChanges, RunOutcome

if TYPE_CHECKING:
    from .helper.changes import Row
    from .helper.jobs import ChangesJob

MANY = 16 << 20
"""The number of bytes from which it pays to look for contents that are already in the store."""
_BLOCK = 1 << 20


def write_layer(store: Store, helper: Helper, outcome: RunOutcome, cancel: Cancel | None, *, overlay: bool) -> Layer:
    """Return the layer; `overlay` says how the root was assembled. Raises StoreError, Interrupted."""
    own = _owners(store, helper, outcome, outcome.created)
    return _write(store, helper, _job(helper, outcome, overlay=overlay), own, cancel or Cancel())


def write_mount(store: Store, helper: Helper, mount: MountChanges, cancel: Cancel | None) -> Layer:
    """Return the layer of the changes in a mount. Raises StoreError, Interrupted."""
    own = _owners(store, helper, mount)
    return _write(store, helper, _mount_job(mount), own, cancel or Cancel())


def list_changes(store: Store, helper: Helper, outcome: RunOutcome, *, overlay: bool) -> list[Entry]:
    """Return the entries of the layer that `write_layer` would write. Raises StoreError."""
    own = _owners(store, helper, outcome, outcome.created)
    with _readable():
        return _entries(_reader(helper, _job(helper, outcome, overlay=overlay), Cancel()), own)


def write_listed(store: Store, helper: Helper, entries: Sequence[Entry], root: Path, cancel: Cancel | None) -> Layer:
    """Return the layer of entries that `list_changes` returned; their files are below `root` now."""
    job: ChangesJob = {**_no_job(), "upper": str(root)}
    cancel = cancel or Cancel()
    with _readable():
        return _write_once(store, _reader(helper, job, cancel), entries, cancel)


def _write(store: Store, helper: Helper, job: ChangesJob, own: Callable[[Entry], Entry], cancel: Cancel) -> Layer:
    changes = _reader(helper, job, cancel)
    with _readable():
        if _takes(job["upper"] or job["root"], MANY):
            return _write_once(store, changes, _entries(changes, own), cancel)
        with LayerWriter(store, cancel=cancel) as writer:
            changes.tell(lambda row, content: writer.add(own(_entry(row)), content))
            return writer.finish()


@contextmanager
def _readable() -> Generator[None]:
    try:
        yield
    except JobFailed as error:
        raise StoreError(f"The changes of this RUN could not be read: {error}.") from error
    except OSError as error:
        raise StoreError(f"The changes of this RUN could not be read: {error.strerror}.") from error


def _reader(helper: Helper, job: ChangesJob, cancel: Cancel) -> _Reader:
    return _ThroughHelper(helper, job, cancel) if helper.userns else _Here(job)


def _entries(changes: _Reader, own: Callable[[Entry], Entry]) -> list[Entry]:
    entries: list[Entry] = []
    changes.tell(lambda row, _: entries.append(own(_entry(row))), contents=False)
    return entries


def _no_job() -> ChangesJob:
    return {
        "lower": [],
        "upper": "",
        "root": "",
        "record": "",
        "blobs": [],
        "stubs": [],
        "owners": "",
        "before": "",
        "told": "",
        "contents": True,
    }


def _job(helper: Helper, outcome: RunOutcome, *, overlay: bool) -> ChangesJob:
    work = outcome.work
    recorded = not overlay and (helper.copied or not helper.traced)
    job: ChangesJob = {
        **_no_job(),
        "lower": list(outcome.lower),
        "upper": str(work / "fs") if overlay else "",
        "root": "" if overlay else str(work / "fs"),
        "record": str(work / "record") if recorded else "",
        "blobs": (work / "blobs").read_text().splitlines() if recorded else [],
        "stubs": list(outcome.stubs),
    }
    if helper.program and helper.rung is not None:
        helper.rung.way.compare(job, str(work))
    return job


def _mount_job(mount: MountChanges) -> ChangesJob:
    work, overlay = mount.work, mount.is_overlay
    return {
        **_no_job(),
        "lower": list(mount.lower),
        "upper": str(work / "fs") if overlay else "",
        "root": "" if overlay else str(work / "fs"),
        "record": "" if overlay else str(work / "record"),
        "blobs": [] if overlay else (work / "blobs").read_text().splitlines(),
        "owners": mount.table,
        "before": str(work / "owners") if mount.table else "",
    }


def _takes(root: str, size: int) -> bool:
    """Return whether the readable files below `root` have at least `size` bytes in total."""
    todo = [root]
    while todo and size > 0:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                    else:
                        size -= entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return size <= 0


def _write_once(store: Store, changes: _Reader, entries: Sequence[Entry], cancel: Cancel) -> Layer:
    """Write a layer that refers to the contents that the store already has.

    Contents whose size matches one of another layer are hashed beforehand, all others while they are written.
    """
    files = [entry for entry in entries if entry.is_file and entry.size]
    likely = store.contents.likely([entry.size for entry in files])
    hashed = [entry for entry in files if entry.size in likely]
    digests: dict[str, bytes] = {}
    waiting = iter(hashed)

    def digest(fd: int) -> None:
        digests[next(waiting).path] = _digest(fd, cancel)

    changes.open([entry.path for entry in hashed], digest)
    known = store.contents.find({digests[entry.path]: entry.size for entry in hashed})
    with LayerWriter(store, cancel=cancel, known=known) as writer:
        rest = iter(entries)

        def add(fd: int | None) -> None:
            """Add the entries before the next file that must be read, and that file."""
            for entry in rest:
                digest = digests.get(entry.path, b"")
                if digest:
                    entry = msgspec.structs.replace(entry, digest=digest)
                if entry.is_file and entry.size and digest not in known:
                    writer.add(entry, fd)
                    return
                writer.add(entry, known.get(digest))

        changes.open([entry.path for entry in files if digests.get(entry.path) not in known], add)
        add(None)
        return writer.finish()


def _digest(fd: int, cancel: Cancel) -> bytes:
    hasher, buffer = hashlib.sha256(), memoryview(bytearray(_BLOCK))
    with os.fdopen(fd, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            cancel.check()
            hasher.update(buffer[:count])
    return hasher.digest()


def _owners(store: Store, helper: Helper, changes: Changes, created: Sequence[str] = ()) -> Callable[[Entry], Entry]:
    """Return the owners where there is a single id: existing files keep their owner, new ones get that of the process.

    Files that the sandbox has `created` belong to root.
    """
    if helper.owned:
        return _unchanged
    tree, mountpoints = store.tree(changes.snapshot), {path.lstrip("/") for path in created}

    def own(entry: Entry) -> Entry:
        if entry.is_whiteout:
            return entry
        old = tree.get(entry.path)
        if old is not None:
            uid, gid = old.uid, old.gid
        else:
            uid, gid = (0, 0) if entry.path in mountpoints else changes.new_owner
        return msgspec.structs.replace(entry, uid=uid, gid=gid)

    return own


def _unchanged(entry: Entry) -> Entry:
    return entry


class _Reader(Protocol):
    """The changes of a process, read in one pass or, with entries before contents, in several."""

    def tell(self, take: Callable[[Row, LazyContent], object], *, contents: bool = True) -> None:
        """Pass each row to `take`, with its file's content unless `contents` is false."""
        ...

    def open(self, paths: Sequence[str], take: Callable[[int], object]) -> None:
        """Open each of these files; `take` closes them."""
        ...


class _Here:
    """Reads the changes in this process, which as root can read everything in the sandbox's root."""

    def __init__(self, job: ChangesJob) -> None:
        self._job = job

    def tell(self, take: Callable[[Row, LazyContent], object], *, contents: bool = True) -> None:
        from .helper.changes import find

        find(self._job, lambda row, path: take(row, _opener(path) if contents else None))

    def open(self, paths: Sequence[str], take: Callable[[int], object]) -> None:
        from .helper.changes import open_files

        open_files(self._job, paths, take)


class _ThroughHelper:
    """Reads the changes through the helper, which alone can read files of subordinate users and passes them on as open
    files.
    """

    def __init__(self, helper: Helper, job: ChangesJob, cancel: Cancel) -> None:
        self._helper = helper
        self._job = job
        self._cancel = cancel

    def tell(self, take: Callable[[Row, LazyContent], object], *, contents: bool = True) -> None:
        def take_row(row: tuple[Row, bool], fds: list[int]) -> None:
            take(row[0], fds.pop(0) if row[1] else None)

        self._call("changes", self._job | {"contents": contents}, take_row)

    def open(self, paths: Sequence[str], take: Callable[[int], object]) -> None:
        if paths:
            self._call("open", {"changes": self._job, "paths": list(paths)}, lambda _, fds: take(fds.pop(0)))

    def _call(self, kind: str, job: Any, take: Callable[[Any, list[int]], object]) -> None:
        def listen(message: Any, fds: list[int]) -> None:
            counted = b"1" if fds else b""
            try:
                for row in message[1]:
                    take(row, fds)
            finally:
                for fd in fds:
                    os.close(fd)
            os.write(grant, counted)

        credit, grant = os.pipe()
        try:
            os.write(grant, b"11")  # the messages with files that may be in flight
            self._helper.call(kind, job, self._cancel, listen, (credit,))
        finally:
            os.close(credit)
            os.close(grant)


def _opener(path: bytes) -> Callable[[], int] | None:
    return (lambda: os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) if path else None


def _entry(row: Row) -> Entry:
    path, kind, mode, uid, gid, mtime, size, link, major, minor, xattrs = row
    if xattrs:
        return Entry(path, kind, mode, uid, gid, mtime, size, link, -1, b"", major, minor, xattrs)
    return Entry(path, kind, mode, uid, gid, mtime, size, link, -1, b"", major, minor)
