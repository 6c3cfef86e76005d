"""Deletion of trees that a build made: of any depth, with few descriptors, and without following links.

Names are looked up in open directories, so paths may be longer than the system allows. A directory deeper than the
limit on open descriptors is moved up to the top of the tree first.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .portable import HAS_MODES, at

_DIRECTORY = at.O_RDONLY | at.O_DIRECTORY | at.O_NOFOLLOW | at.O_CLOEXEC
_DEPTH = 32
"""The most directories that are open at once."""


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Delete a directory and everything in it, including directories that have no permissions.

    A file that cannot be deleted does not stop the rest; the first OSError is raised at the end.
    """
    parent, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 - may be undecodable
    fd = at.open(parent, at.O_RDONLY | at.O_DIRECTORY | at.O_CLOEXEC)
    try:
        remove_in(fd, name)
    finally:
        at.close(fd)


def remove_in(parent: int, name: str) -> None:
    """Delete `name` in the open directory `parent`, as `remove_tree` does; it may be a file."""
    if not stat.S_ISDIR(at.lstat(name, dir_fd=parent).st_mode):
        at.unlink(name, dir_fd=parent)
        return
    removal = _Removal()
    try:
        removal.enter(parent, name)
        while removal.stack:
            removal.step(parent)
    finally:
        for folder in removal.stack:
            at.close(folder.fd)
    if removal.error is not None:
        raise removal.error


class _Folder:
    """A directory that is being emptied, with the names still to be deleted and whether each is a directory."""

    __slots__ = ("fd", "name", "todo")

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        with at.scandir(fd) as items:
            self.todo: list[tuple[str, bool]] = [(item.name, item.is_dir(follow_symlinks=False)) for item in items]


class _Removal:
    def __init__(self) -> None:
        self.stack: list[_Folder] = []
        self.error: OSError | None = None

    def enter(self, parent: int, name: str) -> None:
        """Open a directory, after setting its mode so that its contents can be deleted."""
        try:
            fd = at.open(name, _DIRECTORY, dir_fd=parent)
        except PermissionError:
            chmod_in(parent, name, 0o700)
            fd = at.open(name, _DIRECTORY, dir_fd=parent)
        try:
            if HAS_MODES and at.fstat(fd).st_mode & 0o700 != 0o700:
                at.fchmod(fd, 0o700)
            self.stack.append(_Folder(fd, name))
        except BaseException:
            at.close(fd)
            raise

    def step(self, parent: int) -> None:
        """Delete the next file, enter the next directory, or remove this directory once it is empty."""
        folder = self.stack[-1]
        try:
            if not folder.todo:
                self.stack.pop()
                at.close(folder.fd)
                at.rmdir(folder.name, dir_fd=self.stack[-1].fd if self.stack else parent)
                return
            name, directory = folder.todo.pop()
            if not directory:
                at.unlink(name, dir_fd=folder.fd)
            elif len(self.stack) < _DEPTH:
                self.enter(folder.fd, name)
            else:
                top, short = self.stack[0], f".{os.urandom(8).hex()}"
                at.rename(name, short, src_dir_fd=folder.fd, dst_dir_fd=top.fd)
                top.todo.append((short, True))
        except FileNotFoundError:
            pass
        except OSError as error:
            # If the directory is not empty, something in it could not be deleted, and that was reported already.
            if self.error is None or self.error.errno == errno.ENOTEMPTY:
                self.error = error


def chmod_in(parent: int, name: str, mode: int) -> None:
    """Change the mode of a file that cannot be opened, without following a symlink."""
    if not hasattr(os, "O_PATH"):
        at.chmod(name, mode, dir_fd=parent, follow_symlinks=False)
        return
    fd = at.open(name, os.O_PATH | at.O_NOFOLLOW | at.O_CLOEXEC, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{fd}").chmod(mode)
    finally:
        at.close(fd)
