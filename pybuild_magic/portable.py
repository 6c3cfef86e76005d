"""The differences between Linux, macOS and Windows, kept here so that no other module has to ask which system it is on.

`at` provides the functions of `os` that take a name in an open directory (`dir_fd`): it is `os` itself or, on a system
without them, an implementation built on paths.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shlex
import signal
import stat
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

_NOT_A_NAME = re.compile(
    r"""[\x00-\x1f<>:"/\\|?*] | [. ]$ | ^$
    | ^(con|prn|aux|nul|(com|lpt)[0-9\u00b9\u00b2\u00b3]|con(in|out)\$)[ ]*(\.|$)""",
    re.IGNORECASE | re.VERBOSE,
)
"""Names that Windows would alter, or would take for a path, a device or a stream of a file."""
_JUNCTION = 0xA0000003
"""The reparse tag of a junction, which leads to another directory like a symbolic link but calls itself a directory."""


class _Paths:
    """The functions of `os` used here, for a system without `dir_fd`: Windows.

    An open directory is a negative number that stands for its path. No name leads out of its directory, whatever the
    directory contains: each directory on the way is opened and checked, so every symbolic link and junction is seen. A
    link that is created after the check is missed; only handles could prevent that.

    Windows keeps times, but no modes and no owners: setting those does nothing, as in BuildKit's client.
    """

    O_RDONLY, O_WRONLY, O_CREAT, O_EXCL = os.O_RDONLY, os.O_WRONLY, os.O_CREAT, os.O_EXCL
    O_DIRECTORY, O_NOFOLLOW = 1 << 29, 1 << 30
    O_CLOEXEC = O_NONBLOCK = 0

    def __init__(self) -> None:
        self._numbers = itertools.count(-2, -1)
        self._paths: dict[int, str] = {}
        """The paths of directories, and of files that are being written."""
        self._times: dict[int, tuple[int, int]] = {}
        """The times to give to files that are being written, once they are closed: closing changes a file's times
        again.
        """

    def _path(self, name: str | os.PathLike[str], directory: int | None) -> str:
        if directory is None:
            return os.path.abspath(name)
        name = os.fspath(name)
        if _NOT_A_NAME.search(name):
            raise OSError(errno.EINVAL, "Windows allows no such name", name)
        return os.path.join(self._paths[directory], name)

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        where = self._path(path, dir_fd)
        if flags & self.O_EXCL and os.path.lexists(where):  # following a link would create its missing target
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), where)
        status = None if flags & self.O_EXCL else os.stat(where, follow_symlinks=not flags & self.O_NOFOLLOW)
        if status is not None and _is_link(status):
            raise OSError(errno.ELOOP, "Is a link", where)
        if flags & self.O_DIRECTORY:
            if status is None or not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), where)
            fd = next(self._numbers)
            self._paths[fd] = where
            return fd
        fd = os.open(where, flags & ~self.O_NOFOLLOW | getattr(os, "O_BINARY", 0), mode)
        if status is not None and not os.path.samestat(status, os.fstat(fd)):
            os.close(fd)
            raise OSError(errno.ELOOP, "Was replaced while it was opened", where)
        if flags & self.O_WRONLY:
            self._paths[fd] = where
        return fd

    def close(self, fd: int) -> None:
        path, times = self._paths.pop(fd, None), self._times.pop(fd, None)
        if fd >= 0:
            os.close(fd)
        if path is not None and times is not None:
            os.utime(path, ns=times)

    def listdir(self, fd: int) -> list[str]:
        return os.listdir(self._paths[fd])

    def scandir(self, fd: int) -> Any:
        return os.scandir(self._paths[fd])

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd) if fd >= 0 else os.lstat(self._paths[fd])

    def stat(self, name: str, *, dir_fd: int, follow_symlinks: bool) -> os.stat_result:
        return os.stat(self._path(name, dir_fd), follow_symlinks=follow_symlinks)

    def lstat(self, name: str, *, dir_fd: int) -> os.stat_result:
        return os.lstat(self._path(name, dir_fd))

    def readlink(self, name: str, *, dir_fd: int) -> str:
        link = os.readlink(self._path(name, dir_fd))
        return link.removeprefix("\\\\?\\").replace(os.sep, "/")

    def mkdir(self, name: str, mode: int, *, dir_fd: int) -> None:
        os.mkdir(self._path(name, dir_fd), mode)

    def rmdir(self, name: str, *, dir_fd: int) -> None:
        os.rmdir(self._path(name, dir_fd))

    def unlink(self, name: str, *, dir_fd: int) -> None:
        os.unlink(self._path(name, dir_fd))

    def rename(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.replace(self._path(old, src_dir_fd), self._path(new, dst_dir_fd))

    def link(self, old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        del follow_symlinks  # Windows never does
        os.link(self._path(old, src_dir_fd), self._path(new, dst_dir_fd))

    def symlink(self, target: str, name: str, *, dir_fd: int) -> None:
        os.symlink(target.replace("/", os.sep), self._path(name, dir_fd))

    def mknod(self, name: str, mode: int, device: int, *, dir_fd: int) -> None:
        del mode, device, dir_fd
        raise OSError(errno.ENOTSUP, "Windows has neither devices nor named pipes among its files", name)

    def makedev(self, major: int, minor: int) -> int:
        return major + minor

    def utime(
        self, file: int | str, *, ns: tuple[int, int], dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> None:
        if isinstance(file, int) and file >= 0:
            self._times[file] = ns
            return
        path = self._paths[file] if isinstance(file, int) else self._path(file, dir_fd)
        if follow_symlinks or not _is_link(os.lstat(path)):  # the time of a link itself cannot be set
            os.utime(path, ns=ns)

    def fchmod(self, fd: int, mode: int) -> None: ...

    def chmod(self, name: str, mode: int, *, dir_fd: int, follow_symlinks: bool) -> None: ...


def _is_link(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == _JUNCTION


HAS_DIR_FD = os.open in os.supports_dir_fd
HAS_MODES = HAS_DIR_FD
"""Whether files have real permissions, rather than invented ones."""
CAN_RENAME_OPEN_FILES = HAS_DIR_FD
"""Whether a file can be renamed and removed while a process, this one or another, has it open."""

at = os if TYPE_CHECKING or HAS_DIR_FD else _Paths()


def made_up_mode(mode: int) -> int:
    """Return the mode that a file of a context with this `st_mode` gets on a system without modes: everything is
    executable, as with BuildKit.
    """
    return mode if stat.S_ISLNK(mode) else stat.S_IFMT(mode) | (stat.S_IMODE(mode) | 0o111) & 0o755


if hasattr(os, "pread"):
    pread = os.pread
else:
    _seeking = threading.Lock()

    def pread(fd: int, length: int, offset: int, /) -> bytes:
        """Read as `os.pread` does, leaving the position of `fd` unchanged."""
        with _seeking:
            before = os.lseek(fd, 0, os.SEEK_CUR)
            os.lseek(fd, offset, os.SEEK_SET)
            try:
                return os.read(fd, length)
            finally:
                os.lseek(fd, before, os.SEEK_SET)


if hasattr(os, "preadv"):

    def read_into(fd: int, target: memoryview, offset: int | None = None) -> int:
        """Read into `target`, at the position of `fd` or at `offset`; return how many bytes were read, 0 at the end."""
        return os.readv(fd, [target]) if offset is None else os.preadv(fd, [target], offset)

else:

    def read_into(fd: int, target: memoryview, offset: int | None = None) -> int:
        """Read into `target`, at the position of `fd` or at `offset`; return how many bytes were read, 0 at the end."""
        data = os.read(fd, len(target)) if offset is None else pread(fd, len(target), offset)
        target[: len(data)] = data
        return len(data)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was started with `start_new_session`, and its children where the system has process
    groups.
    """
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def split_words(line: str, separator: str = os.sep) -> list[str]:
    """Split a line into words, with a shell's quotes. Raises ValueError for an unclosed quote.

    A backslash escapes the next character, except where it is the `separator` of paths.
    """
    words = shlex.shlex(line, posix=True, punctuation_chars=False)
    words.whitespace_split, words.commenters = True, ""
    words.escape = words.escape.replace(separator, "")
    return list(words)


def user_path(path: str | os.PathLike[str]) -> Path:
    """Return a path given by the user with `~` and `~user` expanded; an unknown `~name` stays as it is, as in a
    shell.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def looks_like_path(text: str) -> bool:
    """Return whether a text looks like a path (on Windows too) rather than a name or a URL."""
    return re.match(r"[./~\\]|[A-Za-z]:[\\/](?!/)", text) is not None


def kind_of(path: str | os.PathLike[str]) -> str:
    """Return the kind of a path given by the user: `file`, `directory`, `other`, or "" when nothing is there.

    "" also stands for a name that no file can have (too long, with a NUL) and for a path that this user may not look
    up.
    """
    if os.path.isdir(path):
        return "directory"
    if os.path.isfile(path):
        return "file"
    return "other" if os.path.exists(path) else ""


class FileSystem(NamedTuple):
    """A mounted file system."""

    kind: str = ""
    """Its type; "" when unknown."""
    noexec: bool = False
    place: str = ""
    """Its mount point."""
    options: tuple[str, ...] = ()


def file_system(path: str | os.PathLike[str]) -> FileSystem:
    """Return the file system that holds `path`."""
    mounts = Path("/proc/self/mountinfo")
    best, answer = -1, FileSystem()
    real = os.path.realpath(path)
    for line in mounts.read_text("utf-8", "replace").splitlines() if mounts.exists() else ():
        fields, _, rest = line.partition(" - ")
        words = fields.split()
        place = words[4].encode().decode("unicode_escape")
        inside = real == place or real.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= best:
            kind, *_, options = rest.split()
            best, answer = len(place), FileSystem(kind, "noexec" in words[5].split(","), place, (*options.split(","),))
    return answer
