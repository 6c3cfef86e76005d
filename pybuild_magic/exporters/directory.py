"""Writing a tree of files into a directory with any contents, without ever leaving it.

Every path is walked name by name from an open directory. No symlink is followed, whether from the tree or already
there, and whatever is in the way is replaced, never written through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..cancel import Cancel
from ..errors import ExportError, unwritable
from ..portable import HAS_DIR_FD, at, pread
from ..removal import chmod_in, remove_in
from ..store.entry import BLOCK, CHAR, DIR, FIFO, FILE, SYMLINK, Entry
from ..store.files import LayerFiles
from .files import Item

_DIRECTORY = at.O_RDONLY | at.O_DIRECTORY | at.O_NOFOLLOW | at.O_CLOEXEC
_CREATE = at.O_WRONLY | at.O_CREAT | at.O_EXCL | at.O_NOFOLLOW | at.O_CLOEXEC
_SMALL = 128 << 10
_OPEN = 64
"""The most directories open at once, besides the root."""
_AT_ONCE = 16 << 20
_KINDS = {CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}


class _Folder:
    """A directory that is being written; descriptors of distant parents are closed temporarily."""

    __slots__ = ("entry", "fd", "names", "path", "place")

    def __init__(self, entry: Entry | None, path: str, fd: int) -> None:
        self.entry = entry
        self.path = path
        self.fd: int | None = fd
        self.names: set[str] = set()
        self.place = (0, 0)

    @property
    def open(self) -> int:
        """Return the descriptor, which must be open."""
        assert self.fd is not None
        return self.fd

    def pause(self) -> None:
        """Close the descriptor, and remember its identity."""
        if self.fd is None:
            return
        status = at.fstat(self.open)
        self.place = status.st_dev, status.st_ino
        at.close(self.open)
        self.fd = None

    def resume(self, below: int) -> None:
        """Open it again from a subdirectory. Raises OSError when it is a different directory by now."""
        self.fd = at.open("..", _DIRECTORY, dir_fd=below)
        status = at.fstat(self.fd)
        if (status.st_dev, status.st_ino) != self.place:
            raise OSError(errno.ESTALE, "it was moved while it was written")


class DirectoryWriter:
    """Writes items below the directory `root`; owners are those of this process, as with BuildKit's client.

    Modes, times, symlinks, hard links, devices and extended attributes (where the file system supports them) are the
    tree's. Raises ExportError naming the path.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        content: Callable[[Item, int], None],
        cancel: Cancel,
        *,
        delete: bool = False,
    ) -> None:
        """Prepare the writer. `content` writes the content of a regular file to its descriptor, once for all its hard
        links.
        """
        self._root = os.fspath(root)
        self._content = content
        self._cancel = cancel
        self._delete = delete
        self._stack: list[_Folder] = []
        self._own_group = False

    def write(self, items: Iterable[Item]) -> None:
        """Write all items; a directory comes before its contents. With `delete`, everything else is removed."""
        path = ""
        try:
            # Only this path is named by the user, so it may be a symlink.
            root = at.open(self._root, at.O_RDONLY | at.O_DIRECTORY | at.O_CLOEXEC)
            self._stack.append(_Folder(None, "", root))
            self._own_group = bool(at.fstat(root).st_mode & stat.S_ISGID)
            for item in items:
                path = item.entry.path
                self._item(item)
            while self._stack:
                path = self._stack[-1].path
                self._leave()
        except OSError as error:
            where = os.path.join(self._root, path) if path else self._root  # noqa: PTH118 - may be undecodable
            raise unwritable(_shown(where), error) from error
        finally:
            for folder in self._stack:
                if folder.fd is not None:
                    at.close(folder.fd)
            self._stack.clear()

    def _item(self, item: Item) -> None:
        entry = item.entry
        parent, _, name = entry.path.rpartition("/")
        if name in ("", ".", "..") or "\0" in name:
            raise ExportError(f"{_shown(entry.path)} is not a path that can be exported.")
        while self._stack[-1].path != parent:
            if len(self._stack) == 1:
                raise ExportError(f"{_shown(entry.path)} arrived before its directory.")
            self._leave()
        folder = self._stack[-1]
        folder.names.add(name)
        if entry.type == DIR:
            self._cancel.check()
            self._stack.append(_Folder(entry, entry.path, self._enter(folder.open, name)))
            if len(self._stack) > _OPEN + 1 and HAS_DIR_FD:
                self._stack[-1 - _OPEN].pause()  # never the root, from which links are made
        elif item.hardlink:
            self._replace(folder.open, name, lambda new: self._link(item.hardlink, folder.open, new))
        elif entry.type == FILE:
            self._replace(folder.open, name, lambda new: self._file(item, folder.open, new))
        else:
            self._replace(folder.open, name, lambda new: self._special(entry, folder.open, new))

    def _enter(self, parent: int, name: str) -> int:
        try:
            at.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(at.lstat(name, dir_fd=parent).st_mode):
                at.unlink(name, dir_fd=parent)
                at.mkdir(name, 0o700, dir_fd=parent)
        try:
            fd = at.open(name, _DIRECTORY, dir_fd=parent)
        except PermissionError:
            chmod_in(parent, name, 0o700)
            fd = at.open(name, _DIRECTORY, dir_fd=parent)
        mode = at.fstat(fd).st_mode
        if mode & 0o300 != 0o300:
            at.fchmod(fd, stat.S_IMODE(mode) | 0o700)
        return fd

    def _leave(self) -> None:
        """Set a directory's mode and time, now that it is complete."""
        folder = self._stack[-1]
        fd = folder.open
        if self._delete:
            for name in _others(at.listdir(fd), folder.names):
                remove_in(fd, name)
        if len(self._stack) > 1 and self._stack[-2].fd is None:
            self._stack[-2].resume(fd)
        if folder.entry is not None:
            self._metadata(folder.entry, fd)
        self._stack.pop()
        at.close(fd)

    def _replace(self, parent: int, name: str, make: Callable[[str], None]) -> None:
        """Call `make` with the name or, if it is taken, with another name that then replaces it atomically."""
        try:
            make(name)
            return
        except FileExistsError:
            pass
        temporary = f".tmp.{os.urandom(6).hex()}"
        try:
            make(temporary)
            if stat.S_ISDIR(at.lstat(name, dir_fd=parent).st_mode):
                remove_in(parent, name)
            at.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            # Renaming a hard link over another one of the same file does nothing.
            with contextlib.suppress(FileNotFoundError):
                at.unlink(temporary, dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                at.unlink(temporary, dir_fd=parent)
            raise

    def _file(self, item: Item, parent: int, name: str) -> None:
        fd = at.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            try:
                self._content(item, fd)
                self._metadata(item.entry, fd)
            finally:
                at.close(fd)
        except BaseException:
            with contextlib.suppress(OSError):
                at.unlink(name, dir_fd=parent)
            raise

    def _metadata(self, entry: Entry, fd: int) -> None:
        if self._own_group:
            os.fchown(fd, -1, os.getgid())
        for key, value in entry.xattrs.items():
            # Not every file system supports them, and not everybody may set them: BuildKit's client continues too.
            with contextlib.suppress(OSError, AttributeError):
                os.setxattr(fd, key, value)
        at.fchmod(fd, entry.mode)
        at.utime(fd, ns=(entry.mtime, entry.mtime))

    def _special(self, entry: Entry, parent: int, name: str) -> None:
        if entry.type == SYMLINK:
            at.symlink(entry.link, name, dir_fd=parent)
        else:
            device = at.makedev(entry.devmajor, entry.devminor)
            at.mknod(name, _KINDS[entry.type] | 0o600, device, dir_fd=parent)
            chmod_in(parent, name, entry.mode)
        if self._own_group:
            os.chown(name, -1, os.getgid(), dir_fd=parent, follow_symlinks=False)
        at.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _link(self, target: str, parent: int, name: str) -> None:
        """Link to a path that was written before, looked up name by name."""
        *parents, last = target.split("/")
        root = directory = self._stack[0].open
        try:
            for part in parents:
                below = at.open(part, _DIRECTORY, dir_fd=directory)
                if directory != root:
                    at.close(directory)
                directory = below
            at.link(last, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            if directory != root:
                at.close(directory)


def keep_only(root: Path, entries: Iterable[Entry]) -> None:
    """Remove everything below `root` that is not in `entries`, which were written there. Raises ExportError."""
    names: dict[str, set[str]] = {"": set()}
    for entry in entries:
        parent, _, name = entry.path.rpartition("/")
        names.setdefault(parent, set()).add(name)
        if entry.is_dir:
            names.setdefault(entry.path, set())

    stack: list[tuple[_Folder, list[str]]] = []

    def enter(path: str, fd: int) -> None:
        """Tidy a directory, and record which subdirectories are next."""
        below: list[str] = []
        stack.append((_Folder(None, path, fd), below))
        if len(stack) > _OPEN + 1 and HAS_DIR_FD:
            stack[-2 - _OPEN][0].pause()
        present = at.listdir(fd)
        others = _others(present, names[path])
        before = at.fstat(fd)
        for name in others:
            remove_in(fd, name)
        if others and path:
            at.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        below += [name for name in present if name not in others and (f"{path}/{name}" if path else name) in names]

    try:
        enter("", at.open(root, at.O_RDONLY | at.O_DIRECTORY | at.O_CLOEXEC))
        while stack:
            folder, below = stack[-1]
            if below:
                name = below.pop()
                path = f"{folder.path}/{name}" if folder.path else name
                enter(path, at.open(name, _DIRECTORY, dir_fd=folder.open))
                continue
            if len(stack) > 1 and stack[-2][0].fd is None:
                stack[-2][0].resume(folder.open)
            stack.pop()
            at.close(folder.open)
    except OSError as error:
        raise ExportError(f"Other files in {root} cannot be removed: {error.strerror or error}.") from error
    finally:
        for folder, _ in stack:
            if folder.fd is not None:
                at.close(folder.fd)


class LayerContent:
    """The contents of items in the store's layers; `on_progress` receives the bytes written so far."""

    def __init__(self, files: LayerFiles, cancel: Cancel, on_progress: Callable[[int], None] | None = None) -> None:
        self._files = files
        self._cancel = cancel
        self._on_progress = on_progress
        self._written = 0

    def __call__(self, item: Item, fd: int) -> None:
        """Write an item's content to `fd`."""
        if item.span is None or not item.span.size:
            return
        (source, offset), size = self._files.at(item.span), item.span.size
        done = os.write(fd, pread(source, size, offset)) if size <= _SMALL else 0
        while done < size:
            self._cancel.check()
            count = _copy(source, offset + done, min(_AT_ONCE, size - done), fd)
            if not count:
                raise ExportError(
                    "A layer in the store is shorter than its index says.", hint="Run `%build fsck --repair`."
                )
            done += count
        self._written += size
        if self._on_progress:
            self._on_progress(self._written)


def _others(present: Sequence[str], written: set[str]) -> set[str]:
    """Return the names in a directory that were not written, even if the file system spells names differently."""
    others = set(present) - written
    respelled = {_fold(name) for name in written.difference(present)}
    return {name for name in others if _fold(name) not in respelled}


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _copy(source: int, offset: int, count: int, fd: int) -> int:
    try:
        return os.copy_file_range(source, fd, count, offset)
    except (OSError, AttributeError) as error:
        from .output import CANNOT

        if isinstance(error, OSError) and error.errno not in CANNOT:
            raise
        return os.write(fd, pread(source, min(count, 1 << 20), offset))


def _shown(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
