"""The mounts of a sandbox: stacked layers, and files and directories shown at paths of its root."""

from __future__ import annotations

import os

from . import linux
from .inside import INSIDE

_OPTIONS = "index=off,redirect_dir=nofollow,metacopy=off"
"""Renaming a lower directory copies it, as under BuildKit, so that every layer is self-contained."""
_USER_OPTIONS = "index=off,userxattr"
"""The same: `userxattr` turns the other two off, and does not allow naming them."""
_SUPERBLOCK, _DEVICE_COUNT, _DEVICES, _DEVICE_SIZE = 1024, 86, 128, 128
"""The position of the list of needed blobs in the image (`fs/erofs/erofs_fs.h`)."""

_DEPTH = 32
"""The most directories that are open at once."""


def overlay(
    target: str,
    links: str,
    lower: list[str],
    *,
    upper: str = "",
    work: str = "",
    userns: bool = False,
    flags: int = linux.MS_NODEV,
) -> list[str]:
    """Stack `lower` (directories, or images of layers; bottom first) and, when writable, `upper` at `target`.

    mount(2) takes at most a page of options, so the directories are named by short symlinks, made in `links`; this also
    avoids escaping. Without `upper` the mount is read-only. Device nodes in it are visible, but cannot be opened unless
    `flags` allow it. Returns the paths of the images, bottom first.
    """
    while len(lower) < (1 if upper else 2):
        os.mkdir(f"{links}/empty{len(lower)}", 0o755)
        lower = [f"{links}/empty{len(lower)}", *lower]
    names: list[str] = []
    images: list[str] = []
    for number, layer in enumerate(reversed(lower)):
        if not os.path.isdir(layer):
            images.insert(0, f"{links}/{number:x}")
            os.mkdir(images[0])
            image(layer, images[0])
        else:
            os.symlink(layer, f"{links}/{number:x}")
        names.append(f"{number:x}")
    options = f"lowerdir={':'.join(names)},{_USER_OPTIONS if userns else _OPTIONS}"
    if upper:
        os.symlink(upper, f"{links}/up")
        os.symlink(work, f"{links}/work")
        options += ",upperdir=up,workdir=work"
    previous = os.open(".", os.O_PATH | os.O_CLOEXEC)
    os.chdir(links)
    try:
        _mount_overlay(target, options, flags, writable=bool(upper))
    finally:
        os.fchdir(previous)
        os.close(previous)
    return images


def _mount_overlay(target: str, options: str, flags: int, *, writable: bool) -> None:
    if writable:
        # An upper damaged by a crash is never used again, so nothing in it has to reach the disk at once.
        try:
            linux.mount("overlay", target, "overlay", flags, options + ",volatile")
            return
        except OSError as error:
            if error.errno != 22:  # EINVAL: Linux before 5.10
                raise
    linux.mount("overlay", target, "overlay", flags | (0 if writable else linux.MS_RDONLY), options)


def image(path: str, target: str) -> None:
    """Mount the EROFS image of a layer with the blobs that it names, which are in the directory `blobs` beside it.

    Raises OSError where Linux does not support it.
    """
    with open(path, "rb", buffering=0) as file:
        file.seek(_SUPERBLOCK)
        head = file.read(_DEVICES)
        count = int.from_bytes(head[_DEVICE_COUNT : _DEVICE_COUNT + 2], "little")
        table = file.read(_DEVICE_SIZE * count)
    names = [table[at : at + 64].decode() for at in range(0, len(table), _DEVICE_SIZE)]
    previous = os.open(".", os.O_PATH | os.O_CLOEXEC)
    os.chdir(os.path.dirname(path) + "/blobs")
    try:
        linux.mount(path, target, "erofs", linux.MS_RDONLY, ",".join(f"device={name}" for name in names))
    finally:
        os.fchdir(previous)
        os.close(previous)


def private_scratch(directory: str) -> None:
    """Cover `directory` with an empty file system in memory, visible only in this mount namespace."""
    linux.mount("scratch", directory, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=700")


def resolve_in(root: str, path: str) -> int:
    """Return an O_PATH descriptor of `path` in the directory `root`; no link leads out of it. Raises OSError."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return linux.open_in(directory, path.lstrip("/"), os.O_PATH, INSIDE)
    finally:
        os.close(directory)


def remove_stubs(root: str, stubs: list[str]) -> None:
    """Remove stubs that are still empty from an upper directory, and keep the times of their parents.

    The process may have replaced directories with links, so no link is followed.
    """
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for stub in stubs:
            parent, _, name = stub.lstrip("/").rpartition("/")
            try:
                fd = linux.open_in(top, parent, os.O_RDONLY | os.O_DIRECTORY, linux.RESOLVE_NO_SYMLINKS)
            except OSError:
                continue
            try:
                _remove_stub(fd, name)
            finally:
                os.close(fd)
    finally:
        os.close(top)


def _remove_stub(parent: int, name: str) -> None:
    import stat

    times = os.stat(parent)
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=parent)
        elif status.st_size == 0 and not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0):
            os.unlink(name, dir_fd=parent)
        else:
            return
    except OSError:
        return
    os.utime(parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def remove_tree(path: str) -> None:
    """Delete a tree of any depth like rm -r, without following links; directories deeper than the limit are moved up
    first.

    It is `pybuild_magic.removal` for root; the helper cannot import that. A file that cannot be deleted does not stop
    the rest; the first OSError is raised at the end.
    """
    if not os.path.isdir(path) or os.path.islink(path):
        os.unlink(path)
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    stack: list[tuple[int, str, list[tuple[str, bool]]]] = []
    failure: OSError | None = None

    def enter(parent: int | None, name: str) -> None:
        fd = os.open(name, flags, dir_fd=parent)
        with os.scandir(fd) as items:
            stack.append((fd, name, [(item.name, item.is_dir(follow_symlinks=False)) for item in items]))

    enter(None, path)
    while stack:
        fd, here, todo = stack[-1]
        try:
            if not todo:
                stack.pop()
                os.close(fd)
                os.rmdir(here, dir_fd=stack[-1][0] if stack else None)
                continue
            name, directory = todo.pop()
            if not directory:
                os.unlink(name, dir_fd=fd)
            elif len(stack) < _DEPTH:
                enter(fd, name)
            else:
                short = f".{os.urandom(8).hex()}"
                os.rename(name, short, src_dir_fd=fd, dst_dir_fd=stack[0][0])
                stack[0][2].append((short, True))
        except FileNotFoundError:
            continue
        except OSError as error:
            failure = failure or error
    if failure is not None:
        raise failure
