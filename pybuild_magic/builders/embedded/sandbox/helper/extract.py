"""Extraction of a layer into a directory: contents from the tar, owners, modes, times, links, devices and whiteouts.

Paths come from archives, so they are hostile. The target is an empty directory to which nobody else writes, and every
parent below it is a directory made here, never a link; so no path leads out.
"""

from __future__ import annotations

import marshal
import mmap
import os
import stat
import time

from . import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

    from .jobs import EntryRow, ExtractJob

_WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
_SMALL = 1 << 18
"""The size up to which a write from the mapped blob is faster than a copy inside the kernel."""
_WORTH_A_PROCESS = 400, 16 << 20
"""The number of files or bytes from which a second process pays."""
_EPERM, _ENXIO, _EINVAL = 1, 6, 22
STEERING = ("trusted.overlay.", "user.overlay.")
"""The prefixes of extended attributes with which an archive could control overlayfs."""

PATH: Final = 0
TYPE: Final = 1
MODE: Final = 2
UID: Final = 3
GID: Final = 4
MTIME: Final = 5
SIZE: Final = 6
LINK: Final = 7
BLOB: Final = 8
OFFSET: Final = 9
MAJOR: Final = 10
MINOR: Final = 11
XATTRS: Final = 12


class Extraction:
    """The entries of a job by kind; of entries with the same name the last counts, as in any tar."""

    def __init__(self, entries: list[EntryRow]) -> None:
        self.directories: dict[str, EntryRow | None] = {"": None}
        self.others: dict[str, EntryRow] = {}
        self.deleted: set[str] = set()
        self.opaque: set[str] = set()
        for row in entries:
            self._add(row)
        for path in [path for path in self.others if path in self.directories]:
            del self.others[path]
        for path in self.deleted:
            if path in self.directories:
                self.opaque.add(path)
        self.deleted -= self.directories.keys() | self.others.keys()

    def _add(self, row: EntryRow) -> None:
        path = row[PATH]
        parent, _, name = path.rpartition("/")
        if name in ("", ".", "..") or "\0" in name:
            raise OSError(_EINVAL, f"{path!r} is not a valid path in a layer")
        self._need(parent)
        if name.startswith(_WHITEOUT):
            if name == OPAQUE:
                self.opaque.add(parent)
            elif name[4:] not in ("", ".", "..") and not name.startswith(_WHITEOUT * 2):
                self.deleted.add(f"{parent}/{name[4:]}" if parent else name[4:])
        elif row[TYPE] == "5":
            self.directories[path] = row
        else:
            self.others[path] = row

    def postpone(self) -> list[lazy.Record]:
        """Take out what the tracer can make when a process looks into its directory; return it."""
        targets = {row[LINK] for row in self.others.values() if row[TYPE] == "1"}
        now = {path for path in self.directories if "/" not in path} | self.opaque
        now |= {path for path, row in self.directories.items() if row is None or row[XATTRS]}
        now |= {path.rpartition("/")[0] for path in self.deleted}
        later: dict[str, EntryRow] = {}
        for path, row in self.others.items():
            plain = row[TYPE] == "2" or (row[TYPE] == "0" and not row[MODE] & 0o7000)
            if plain and "/" in path and not row[XATTRS] and path not in targets:
                later[path] = row
            else:
                now.add(path.rpartition("/")[0])
        for path in list(now):
            while (path := path.rpartition("/")[0]) not in now:
                now.add(path)
        for path, row in list(self.directories.items()):
            if row and path not in now:
                later[path] = row
                del self.directories[path]
        for path in later.keys() & self.others.keys():
            del self.others[path]
        kinds = {"0": stat.S_IFREG, "2": stat.S_IFLNK, "5": stat.S_IFDIR}
        return [
            (path, kinds[row[TYPE]] | row[MODE], row[MTIME], row[SIZE], row[BLOB], row[OFFSET], row[LINK], 0)
            for path, row in later.items()
        ]

    def _need(self, path: str) -> None:
        while path not in self.directories:
            self.directories[path] = None
            path, _, name = path.rpartition("/")
            if name in ("", ".", "..") or "\0" in name:
                raise OSError(_EINVAL, f"{path!r} is not a valid path in a layer")


def extract(job: ExtractJob, *, userns: bool, single: bool, traced: bool, devices: bool) -> None:
    """Write the job's entries below its root. Raises OSError (disk full, overlong name, broken entry).

    Where `devices` are impossible they are left out, as BuildKit does in a user namespace.
    """
    os.umask(0)
    os.chdir(job["root"])
    plan = Extraction(job["entries"])
    writer = Writer(job["blobs"], devices=devices, single=single)
    later, times = list[lazy.Record](), dict[str, int]()
    if job["lazy"]:
        now = time.time_ns()
        times = {path: row[MTIME] if row else now for path, row in plan.directories.items()}
        later = plan.postpone()
    for path in sorted(plan.directories):
        if path:
            os.mkdir(path, 0o700)
    files = [row for row in plan.others.values() if row[TYPE] == "0"]
    if job["lazy"]:
        hollow = [row for row in files if is_hollow(row)]
        files = [row for row in files if not is_hollow(row)]
        lazy.write(job["lazy"], job["tars"], _by_directory([*later, *map(writer.hollow, hollow)]), times)
    _write_files(writer, files)
    for row in plan.others.values():
        if row[TYPE] not in "01":
            writer.special(row)
    for row in plan.others.values():
        if row[TYPE] == "1" and writer.has(plan.others.get(row[LINK])):
            os.link(row[LINK], row[PATH], follow_symlinks=False)
    for path in plan.deleted:
        # No layer has sockets, and overlayfs, on which a traced root may lie, does not allow its own kind of whiteouts.
        os.mknod(path, stat.S_IFSOCK if traced else stat.S_IFCHR, 0)
    opaque = "user.overlay.opaque" if userns else "trusted.overlay.opaque"
    for path in plan.opaque:
        if traced:  # its file system may not support extended attributes
            write_mark(f"{path or '.'}/{OPAQUE}")
        else:
            os.setxattr(path or ".", opaque, b"y")
    for path in sorted(plan.directories, reverse=True):
        if row := plan.directories[path]:
            writer.finish(path, row)
        elif path:
            os.chmod(path, 0o755)
    if job["record"]:
        with open(job["record"], "wb") as file:
            marshal.dump(record(job["entries"]), file)


def is_hollow(row: EntryRow) -> bool:
    """Return whether a file's content may be written later; a later write would clear its set-user-ID bit."""
    return row[SIZE] > 0 and not row[MODE] & 0o7000


def _by_directory(records: Iterable[lazy.Record]) -> dict[str, list[lazy.Record]]:
    found: dict[str, list[lazy.Record]] = {}
    for record in records:
        found.setdefault(record[0].rpartition("/")[0], []).append(record)
    return found


def write_mark(path: str) -> None:
    """Make an empty file."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _write_files(writer: Writer, files: list[EntryRow]) -> None:
    """Write all regular files, with several processes when there are many."""
    total = sum(row[SIZE] for row in files)
    workers = min(os.cpu_count() or 1, 4)
    if workers == 1 or (len(files) < _WORTH_A_PROCESS[0] and total < _WORTH_A_PROCESS[1]):
        for row in files:
            writer.file(row)
        return
    children: list[int] = []
    for share in list(_shares(files, total, workers))[1:]:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for row in share:
                    writer.file(row)
                code = 0
            except OSError as error:
                code = error.errno or 1
            finally:
                os._exit(code)
        children.append(child)
    for row in next(_shares(files, total, workers)):
        writer.file(row)
    for child in children:
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise OSError(code, os.strerror(code) if code > 0 else f"extraction was killed by signal {-code}")


def _shares(files: list[EntryRow], total: int, workers: int) -> Iterator[list[EntryRow]]:
    """Split `files` into runs of similar cost: the bytes, and a constant for every file."""
    constant = 1 << 14
    quota = (total + constant * len(files)) / workers
    share: list[EntryRow] = []
    cost = 0.0
    for row in files:
        share.append(row)
        cost += row[SIZE] + constant
        if cost >= quota and workers > 1:
            yield share
            share, cost, workers = [], 0.0, workers - 1
    yield share


class Writer:
    """Writes individual files in the current directory."""

    def __init__(self, blobs: list[str], *, devices: bool, single: bool) -> None:
        self.devices = devices
        self.single = single
        self.fds: list[int] = []
        self.maps: list[mmap.mmap | bytes] = []
        for path in blobs:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            size = os.fstat(fd).st_size
            self.fds.append(fd)
            self.maps.append(mmap.mmap(fd, size, prot=mmap.PROT_READ) if size else b"")

    def file(self, row: EntryRow) -> None:
        """Write a regular file with its content."""
        mode, size = row[MODE], row[SIZE]
        plain = not mode & 0o7000
        fd = os.open(
            row[PATH], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode if plain else 0o600
        )
        try:
            if size > _SMALL:
                self._copy(fd, row)
            elif size:
                start = row[OFFSET]
                if os.write(fd, memoryview(self.maps[row[BLOB]])[start : start + size]) != size:
                    raise OSError(28, "No space left on device")
            self._own(fd, row)
            if not plain:
                os.fchmod(fd, mode)
            if row[XATTRS]:
                self._attributes(fd, row)
            os.utime(fd, ns=(row[MTIME], row[MTIME]))
        finally:
            os.close(fd)

    def hollow(self, row: EntryRow) -> lazy.Record:
        """Make a regular file with a hole for content."""
        path, size = row[PATH], row[SIZE]
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, row[MODE])
        try:
            os.ftruncate(fd, size)
            self._own(fd, row)
            if row[XATTRS]:
                self._attributes(fd, row)
            os.utime(fd, ns=(row[MTIME], row[MTIME]))
            info = os.fstat(fd)
            return path, info.st_mode, info.st_mtime_ns, size, row[BLOB], row[OFFSET], "", info.st_ino
        finally:
            os.close(fd)

    def _copy(self, fd: int, row: EntryRow) -> None:
        source, offset, remaining = self.fds[row[BLOB]], row[OFFSET], row[SIZE]
        while remaining:
            if hole := min(_hole(source, offset), remaining):
                # A hole in the store stays a hole here.
                os.lseek(fd, hole, os.SEEK_CUR)
                offset, remaining = offset + hole, remaining - hole
                if not remaining:
                    os.ftruncate(fd, row[SIZE])
                continue
            count = min(remaining, _stored(source, offset) or remaining)
            try:
                done = os.copy_file_range(source, fd, count, offset_src=offset)
            except OSError as error:
                if error.errno not in (18, 22, 38, 95):  # EXDEV, EINVAL, ENOSYS, EOPNOTSUPP
                    raise
                done = os.sendfile(fd, source, offset, count)
            if done == 0:
                raise OSError(5, f"the layer's tar ends inside {row[PATH]}")
            offset += done
            remaining -= done

    def special(self, row: EntryRow) -> None:
        """Make a link, a device or a pipe."""
        path, kind = row[PATH], row[TYPE]
        if kind == "2":
            os.symlink(row[LINK], path)
        elif kind == "6":
            os.mkfifo(path, row[MODE])
        elif not self.has(row):
            return
        else:
            form = stat.S_IFCHR if kind == "3" else stat.S_IFBLK
            os.mknod(path, form | row[MODE], os.makedev(row[MAJOR], row[MINOR]))
        self._own(path, row)
        if kind != "2":
            os.chmod(path, row[MODE])
        if row[XATTRS]:
            self._attributes(path, row)
        os.utime(path, ns=(row[MTIME], row[MTIME]), follow_symlinks=False)

    def has(self, row: EntryRow | None) -> bool:
        """Return whether an entry can be made."""
        return row is None or row[TYPE] not in ("3", "4") or self.devices

    def finish(self, path: str, row: EntryRow) -> None:
        """Set a directory's metadata, once it is complete."""
        path = path or "."
        self._own(path, row)
        os.chmod(path, row[MODE])
        if row[XATTRS]:
            self._attributes(path, row)
        os.utime(path, ns=(row[MTIME], row[MTIME]))

    def _own(self, target: int | str, row: EntryRow) -> None:
        uid, gid = row[UID], row[GID]
        if (uid or gid) and not self.single:
            try:
                os.chown(target, uid, gid, follow_symlinks=isinstance(target, int))
            except OSError as error:
                if error.errno != _EINVAL:
                    raise
                raise OSError(
                    _EINVAL, f"{row[PATH]} belongs to {uid}:{gid}, which is outside of the subordinate ids"
                ) from None

    def _attributes(self, target: int | str, row: EntryRow) -> None:
        """Return the extended attributes, except those with which an archive could control overlayfs."""
        for name, value in (row[XATTRS] or {}).items():
            if name.startswith(STEERING):
                continue
            try:
                os.setxattr(target, name, value, 0, **({} if isinstance(target, int) else {"follow_symlinks": False}))
            except OSError as error:
                # EOPNOTSUPP (95) where the file system has none, the others where this user may not set them.
                if error.errno not in (_EPERM, _EINVAL, 95):
                    raise


def _hole(fd: int, offset: int) -> int:
    """Return the size of the hole at `offset`."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA) - offset
    except OSError as error:
        if error.errno == _ENXIO:  # a hole up to the end
            return os.fstat(fd).st_size - offset
        return 0


def _stored(fd: int, offset: int) -> int:
    """Return the number of stored bytes from `offset` to the next hole; 0 where that is unknown."""
    try:
        return os.lseek(fd, offset, os.SEEK_HOLE) - offset
    except OSError:
        return 0


Recorded = tuple[int, int, int, int, int, int, int, int, int, int, int, bytes, bytes]
"""Inode, ctime (ns), st_mode, uid, gid, size, mtime (ns), rdev, nlink, blob, offset, link, security.capability."""


def record(entries: list[EntryRow]) -> dict[bytes, Recorded]:
    """Return a record of the entries below the current directory, for a later comparison."""
    content = {os.fsencode(row[PATH]): (row[BLOB], row[OFFSET]) for row in entries if row[TYPE] == "0"}
    content |= {
        os.fsencode(row[PATH]): content[os.fsencode(row[LINK])]
        for row in entries
        if row[TYPE] == "1" and os.fsencode(row[LINK]) in content
    }
    records: dict[bytes, Recorded] = {}
    todo = [b""]
    while todo:
        directory = todo.pop()
        with os.scandir(directory or b".") as items:
            for item in items:
                path = directory + b"/" + item.name if directory else item.name
                info = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    todo.append(path)
                records[path] = recorded(info, path, *content.get(path, (-1, -1)))
    return records


def recorded(info: os.stat_result, path: bytes, blob: int = -1, offset: int = -1) -> Recorded:
    """Return the record of the file at `path`, without following links; `blob` has its content, where known."""
    kind = stat.S_IFMT(info.st_mode)
    return (
        info.st_ino,
        info.st_ctime_ns,
        info.st_mode,
        info.st_uid,
        info.st_gid,
        info.st_size,
        info.st_mtime_ns,
        info.st_rdev,
        info.st_nlink,
        blob,
        offset,
        os.readlink(path) if kind == stat.S_IFLNK else b"",
        capability(path) if kind in (stat.S_IFREG, stat.S_IFDIR) else b"",
    )


def capability(path: bytes) -> bytes:
    """Return the `security.capability` attribute; b"" when there is none."""
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return b""
