"""The properties of files by which changes are recognised, and walks in the order of a layer."""

from __future__ import annotations

import os
import stat

from .extract import recorded
from .owners import AS_ON_DISK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .extract import Recorded
    from .owners import Owner
    from .reach import Reach


class Info:
    """The compared properties of a file, from an `os.stat_result` or from a record."""

    __slots__ = (
        "blob", "capability", "ctime", "gid", "ino", "link", "mode", "mtime", "nlink", "offset", "rdev", "size", "uid",
    )  # fmt: skip

    def __init__(self, row: Recorded) -> None:
        (
            self.ino, self.ctime, self.mode, self.uid, self.gid, self.size, self.mtime, self.rdev, self.nlink,
            self.blob, self.offset, self.link, self.capability,
        ) = row  # fmt: skip

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_whiteout(self) -> bool:
        """Whether it is overlayfs's mark of a deletion."""
        return stat.S_ISCHR(self.mode) and self.rdev == 0


def look(path: bytes, owners: dict[int, Owner] | None) -> Info:
    """Return the properties of `path` without following links, as changed by `owners` where given. Raises OSError."""
    status = os.lstat(path)
    info = Info(recorded(status, path))
    if owners is not None:
        believe(info, owners.get(status.st_ino))
    return info


def believe(info: Info, owner: Owner | None) -> None:
    """Apply the tracer's table to a file's properties; a file that is not in it belongs to root."""
    info.uid = info.gid = 0
    if owner is not None:
        info.uid, info.gid = owner.uid, owner.gid
        info.capability = owner.xattrs.get("security.capability", info.capability)
        if owner.mode != AS_ON_DISK:
            info.mode, info.rdev = owner.mode, owner.rdev


def walk(root: bytes, start: bytes, reach: Reach, *, whiteouts: bool) -> Iterator[tuple[bytes, Info]]:
    """Yield everything below `start` in byte order, a directory before its contents; paths are relative to `root`."""
    stack = [iter(sorted(os.listdir(reach(root, start))))]
    prefixes = [start]
    while stack:
        name = next(stack[-1], None)
        if name is None:
            stack.pop()
            prefixes.pop()
            continue
        path = join(prefixes[-1], name)
        info = look(reach(root, path), reach.owners)
        if info.is_whiteout and not whiteouts:
            continue
        yield path, info
        if info.is_dir:
            stack.append(iter(sorted(os.listdir(reach(root, path)))))
            prefixes.append(path)


def is_opaque(path: bytes) -> bool:
    """Return whether a directory hides everything that the layers below have in it."""
    for name in ("trusted.overlay.opaque", "user.overlay.opaque"):
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def join(parent: bytes, name: bytes) -> bytes:
    """Return the path of `name` in the directory `parent`; either may be empty."""
    if not parent or not name:
        return parent or name
    return parent + b"/" + name


def order_of(path: bytes) -> bytes:
    """Return the key that sorts paths as a walk meets them."""
    return path.replace(b"/", b"\0")
