"""Paths of a root file system that is not the process's own: looked up and created without leaving it.

The files come from an image, or are being written by another build that shares a cache, so they are hostile: links lead
wherever their author likes, and those of /proc to files that this process has open. Every path is looked up below the
root with openat2(2), which follows no such link, and results are passed on as descriptors, not as paths.
"""

from __future__ import annotations

import errno
import os
import stat

from . import linux

INSIDE = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_MAGICLINKS
_PLAIN = linux.RESOLVE_IN_ROOT | linux.RESOLVE_NO_SYMLINKS
_MAX_LINKS = 40
"""The most links in one path, as in Linux."""


def clean(path: str) -> str:
    """Return `path` as an absolute path without "..", in which form mounts are compared."""
    return os.path.normpath("/" + path.lstrip("/"))


class PathError(OSError):
    """A path of the job, not of the sandbox, that does not lead where it must."""


class Root:
    """The root file system at `path`, including its mounts."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.created: list[str] = []
        """Absolute paths that were made for root: with a single id, the files themselves do not show it."""

    def open(self, path: str, flags: int = 0) -> int:
        """Return an O_PATH descriptor of the file at `path`, following links. Raises OSError."""
        try:
            return linux.open_in(self.fd, path.lstrip("/"), os.O_PATH | flags, INSIDE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise PathError(
                    errno.ELOOP, f"{path} is a loop of links, or leads to an open file of a process"
                ) from None
            raise

    def directory(self, path: str) -> int:
        """Return a directory of the base system, created when missing; it must not be a link."""
        parent, _, name = path.strip("/").rpartition("/")
        above = linux.open_in(self.fd, parent, os.O_PATH | os.O_DIRECTORY, _PLAIN)
        try:
            try:
                os.mkdir(name, 0o755, dir_fd=above)
                self.created.append(path)
            except FileExistsError:
                pass
            return linux.open_in(above, name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, _PLAIN)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise OSError(errno.ENOTDIR, f"{path} of the image is a link; it must be a directory") from None
            raise
        finally:
            os.close(above)

    def make(self, path: str, *, directory: bool, owner: tuple[int, int] = (0, 0)) -> int:
        """Return a descriptor of `path`; missing parents are created, as OCI runtimes do before they mount there."""
        try:
            return self.open(path)
        except FileNotFoundError:
            pass
        names = self.resolve(path).strip("/").split("/")
        here = os.dup(self.fd)
        for number in range(1, len(names) + 1):
            above = here
            try:
                path = "/" + "/".join(names[:number])
                here = self._make_one(above, path, directory=directory or number < len(names), owner=owner)
            finally:
                os.close(above)
        return here

    def _make_one(self, above: int, path: str, *, directory: bool, owner: tuple[int, int]) -> int:
        name = os.path.basename(path)
        try:
            return linux.open_in(above, name, os.O_PATH | os.O_NOFOLLOW, _PLAIN)
        except FileNotFoundError:
            pass
        try:
            if directory:
                os.mkdir(name, 0o755, dir_fd=above)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o755, dir_fd=above))
        except FileExistsError:
            pass  # another build that shares the directory created it first
        fd = linux.open_in(above, name, os.O_PATH | os.O_NOFOLLOW, _PLAIN)
        if owner != (0, 0):
            try:
                os.chown(name, *owner, dir_fd=above, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EPERM):  # an id that is not mapped, or that we may not set
                    raise
        else:
            self.created.append(path)
        return fd

    def mode(self, path: str) -> int | None:
        """Return the permissions of the directory at `path`; None when there is none."""
        try:
            fd = self.open(path, os.O_DIRECTORY)
        except OSError:
            return None
        try:
            return stat.S_IMODE(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def resolve(self, path: str) -> str:
        """Return `path` as an absolute path with links resolved; missing parts stay as written.

        The result holds until somebody changes the files: whoever opens it must check again.
        """
        resolved: list[str] = []
        todo = path.split("/")[::-1]
        links = 0
        while todo:
            name = todo.pop()
            if name == "..":
                del resolved[-1:]
            elif name not in ("", "."):
                link = self._link("/".join((*resolved, name)))
                if link is None:
                    resolved.append(name)
                    continue
                links += 1
                if links > _MAX_LINKS:
                    raise PathError(errno.ELOOP, f"{path} is a loop of links")
                if link.startswith("/"):
                    resolved = []
                todo += link.split("/")[::-1]
        return "/" + "/".join(resolved)

    def _link(self, path: str) -> str | None:
        """Return the target of the link at `path`, whose parents are not links; None for anything else."""
        try:
            fd = linux.open_in(self.fd, path, os.O_PATH | os.O_NOFOLLOW, INSIDE)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
        finally:
            os.close(fd)

    def missing(self, paths: list[str]) -> list[str]:
        """Return those of `paths` and their parents that do not exist yet: the stubs that mounting will leave behind.

        They are in the order in which they can be removed, with links resolved: BuildKit's MountStubsCleaner,
        recursive.
        """
        stubs: list[str] = []
        for path in paths:
            try:
                os.close(self.open(path))
                continue
            except OSError:
                real = self.resolve(path)
            while real != "/" and real not in stubs and not self._exists(real):
                stubs.append(real)
                real = os.path.dirname(real)
        return sorted(stubs, key=lambda stub: -stub.count("/"))

    def _exists(self, path: str) -> bool:
        try:
            os.close(linux.open_in(self.fd, path.lstrip("/"), os.O_PATH | os.O_NOFOLLOW, INSIDE))
        except OSError:
            return False
        return True


def enter(root: int, path: str) -> None:
    """Change to the directory `path` below `root`.

    Raises PermissionError; PathError also when the process would end up outside of its root, where ".." leads further
    out.
    """
    try:
        fd = linux.open_in(root, path.lstrip("/"), os.O_PATH | os.O_DIRECTORY, INSIDE)
        try:
            os.fchdir(fd)
        finally:
            os.close(fd)
        if not os.getcwd().startswith("/"):  # libc reports ENOENT where the kernel answers "(unreachable)"
            raise FileNotFoundError(errno.ENOENT, "outside of the root file system")
    except PermissionError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise PathError(error.errno, f'chdir to the working directory "{path}": {reason}') from None
