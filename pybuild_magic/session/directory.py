"""A directory of this machine as a build context, walked so that no symbolic link leads out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat as st
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ..errors import ContextError
from ..portable import HAS_DIR_FD, HAS_MODES, at, kind_of, made_up_mode
from ..store.entry import NO_XATTRS
from .files import FileStat, Filter, by_bytes
from .walk import compile_filter, walk_folder

_DIRECTORY = at.O_RDONLY | at.O_DIRECTORY | at.O_NOFOLLOW | at.O_CLOEXEC
_OPEN = 64
"""How many directories a walk keeps open at once."""
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""The errors for a path that leads nowhere, or that has vanished or become a link meanwhile."""
_FORMAT = 0o170000
_FILE = at.O_RDONLY | at.O_NOFOLLOW | at.O_CLOEXEC | at.O_NONBLOCK


class DirSource:
    """The directory `root`, which may itself be a symbolic link. Raises `ContextError` when it is not a directory.

    Every path below it is opened component by component, and no symbolic link is followed, so that a tree that
    changes while it is read cannot lead elsewhere.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()
        if (kind := kind_of(self.root)) != "directory":
            problem = "is not a directory" if kind else "does not exist"
            raise ContextError(f"The context {os.fspath(root)} {problem}.")
        self._local = threading.local()

    @property
    def key(self) -> str:
        """The real path of the root."""
        return str(self.root)

    def walk(self, selection: Filter = Filter()) -> Iterator[FileStat]:  # noqa: B008 - an immutable struct
        """See `LocalDir.walk`. Raises `ContextError` for a wanted directory that cannot be read."""
        matcher = compile_filter(self, selection)
        try:
            root = _OpenFolder(at.open(self.root, _DIRECTORY), {})
        except OSError as error:
            raise _unreadable("", error) from error
        return walk_folder(root, matcher)

    def stat(self, path: str) -> FileStat | None:
        """See `LocalDir.stat`; a hard link counts as a separate file."""
        folder, _, name = path.rpartition("/")
        fd = self._folder(folder)
        return None if fd is None or name in ("", "..") else _OpenFolder(fd, None).stat(name, path)

    def names(self, path: str) -> list[str]:
        """See `LocalDir.names`."""
        fd = self._folder(path)
        try:
            return [] if fd is None else by_bytes(at.listdir(fd))
        except OSError as error:
            raise _unreadable(path, error) from error

    def open(self, path: str) -> BinaryIO:
        """See `LocalDir.open`; the file is unbuffered and has a real descriptor."""
        fd = self.descriptor(path)
        if not st.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ContextError(f"{path} of the context is not a regular file.")
        return os.fdopen(fd, "rb", buffering=0)

    def descriptor(self, path: str) -> int:
        """See `LocalDir.descriptor`."""
        folder, _, name = path.rpartition("/")
        fd = self._folder(folder)
        if fd is None or name == "..":
            raise ContextError(f"{path} is not in the context, or has vanished while it was read.")
        try:
            return at.open(name, _FILE, dir_fd=fd)
        except OSError as error:
            raise ContextError(f"{path} of the context cannot be read: {error.strerror}.") from error

    def xattrs(self, path: str) -> Mapping[str, bytes]:
        """See `LocalDir.xattrs`; systems other than Linux show none."""
        folder, _, name = path.rpartition("/")
        fd = self._folder(folder)
        if fd is None:
            return NO_XATTRS
        file = f"/proc/self/fd/{fd}/{name}"
        try:
            names = os.listxattr(file, follow_symlinks=False)
        except (OSError, AttributeError):
            return NO_XATTRS
        found: dict[str, bytes] = {}
        for key in names:
            with contextlib.suppress(OSError):  # it has gone, or may not be read
                found[key] = os.getxattr(file, key, follow_symlinks=False)
        return found or NO_XATTRS

    def _folder(self, path: str) -> int | None:
        """Return a descriptor of a directory, which is valid until this thread asks for another."""
        known: tuple[str, _Descriptor] | None = getattr(self._local, "folder", None)
        if known is not None and known[0] == path:
            return known[1].fd
        if ".." in path.split("/"):
            return None
        try:
            folder = _Descriptor(at.open(self.root, _DIRECTORY))
            for part in path.split("/") if path else ():
                folder = _Descriptor(at.open(part, _DIRECTORY, dir_fd=folder.fd))
        except OSError as error:
            if error.errno in (errno.EACCES, *_NOT_THERE):
                return None
            raise _unreadable(path, error) from error
        self._local.folder = (path, folder)
        return folder.fd


class _Descriptor:
    """A file descriptor that is closed when the last reference to it goes."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        at.close(self.fd)


def _unreadable(path: str, error: OSError) -> ContextError:
    subject = f"The directory {path} of the context" if path else "The context"
    return ContextError(f"{subject} cannot be read: {error.strerror or error}.")


class _OpenFolder:
    """A directory of the walk; `seen` maps hard-linked inodes to their first path.

    It has an open descriptor. Directories far above the deepest one close theirs, and open it again when the walk
    comes back to them, so that a deep tree does not use up the limit of open files.
    """

    __slots__ = ("_above", "_closed", "_fd", "_name", "_place", "_seen")

    def __init__(
        self, fd: int, seen: dict[tuple[int, int], str] | None, above: _OpenFolder | None = None, name: str = ""
    ) -> None:
        self._fd: int | None = fd
        self._seen = seen
        self._above = above
        self._name = name
        self._place = (0, 0)
        self._closed = False

    @property
    def _open(self) -> int:
        assert self._fd is not None
        return self._fd

    def _path(self) -> str:
        names: list[str] = []
        folder = self
        while folder._above is not None:
            names.append(folder._name)
            folder = folder._above
        return "/".join(reversed(names))

    def entries(self) -> list[tuple[str, bool]]:
        try:
            with at.scandir(self._open) as entries:
                kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError as error:
            raise _unreadable(self._path(), error) from error
        return [(name, kinds[name]) for name in by_bytes(list(kinds))]

    def stat(self, name: str, path: str) -> FileStat | None:
        try:
            status = at.stat(name, dir_fd=self._open, follow_symlinks=False)
            mode = status.st_mode if HAS_MODES else made_up_mode(status.st_mode)
            if mode & _FORMAT == st.S_IFREG and (status.st_nlink == 1 or self._seen is None):  # nearly all files
                return FileStat(
                    path, mode, status.st_size, status.st_mtime_ns, 0, 0, "", 0, 0,
                    status.st_ino, status.st_dev, status.st_ctime_ns,
                )  # fmt: skip
            return self._special(name, path, status, mode)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EINVAL, *_NOT_THERE):
                return None
            raise ContextError(f"{path} of the context cannot be read: {error.strerror or error}.") from error

    def _special(self, name: str, path: str, status: os.stat_result, mode: int) -> FileStat:
        """Return an entry that is not a regular file, or that has several names."""
        size, link = status.st_size, ""
        major = minor = 0
        kind = mode & _FORMAT
        if kind != st.S_IFREG:
            size = 0
            if kind == st.S_IFLNK:
                link = at.readlink(name, dir_fd=self._open)
                size = len(os.fsencode(link))
            elif kind in (st.S_IFCHR, st.S_IFBLK):
                major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
            elif kind == st.S_IFSOCK:
                mode = st.S_IFREG | st.S_IMODE(mode)
        elif self._seen is not None:
            first = self._seen.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                size, link = 0, first
        return FileStat(
            path,
            mode,
            size,
            status.st_mtime_ns,
            0,
            0,
            link,
            major,
            minor,
            status.st_ino,
            status.st_dev,
            status.st_ctime_ns,
        )

    def enter(self, name: str) -> _OpenFolder | None:
        try:
            below = _OpenFolder(at.open(name, _DIRECTORY, dir_fd=self._open), self._seen, self, name)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            path = self._path()
            raise _unreadable(f"{path}/{name}" if path else name, error) from error
        far: _OpenFolder | None = below
        for _ in range(_OPEN):
            far = far._above if far is not None else None
        if far is not None and HAS_DIR_FD:
            far._pause()
        return below

    def _pause(self) -> None:
        if self._fd is not None:
            status = at.fstat(self._fd)
            self._place = status.st_dev, status.st_ino
            at.close(self._fd)
            self._fd = None

    def _resume(self, below: int) -> None:
        try:
            fd = at.open("..", _DIRECTORY, dir_fd=below)
        except OSError as error:
            raise _unreadable(self._path(), error) from error
        status = at.fstat(fd)
        if (status.st_dev, status.st_ino) != self._place:
            at.close(fd)
            raise ContextError(f"The directory {self._path() or '.'} of the context was moved while it was read.")
        self._fd = fd

    def close(self) -> None:
        self._closed = True
        if self._fd is None:
            return
        above = self._above
        try:
            if above is not None and above._fd is None and not above._closed:
                above._resume(self._fd)
        finally:
            at.close(self._fd)
            self._fd = None
