"""Paths below a directory that, together with the directory's own, are too long for a system call."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .owners import Owner

MAX_PATH = 4095
"""The most bytes of a path in an image, without a leading "/": no process could open a longer one (Linux's
PATH_MAX).
"""

_STRIDE = 1024
"""Bytes of a path that the system walks; the directories before are already open."""
_OPEN = 16


class Reach:
    """Shortens such paths through open directories; a context manager that closes those.

    There must be no link on the way, which holds for trees that nobody writes to, walked from the top.
    """

    def __init__(self) -> None:
        self._anchors: dict[tuple[bytes, bytes], int] = {}
        self.owners: dict[int, Owner] | None = None
        """The tracer's records of files, by inode, where a tracer was used."""

    def __call__(self, root: bytes, path: bytes) -> bytes:
        """Return a usable form of `path` below `root`, valid until the next few calls. Raises OSError where no image
        could have it.
        """
        if len(path) > MAX_PATH:
            excerpt = os.fsdecode(path[:60])
            raise OSError(
                errno.ENAMETOOLONG, f"/{excerpt}… has a path of {len(path)} bytes, and images have at most {MAX_PATH}"
            )
        if len(path) <= _STRIDE:
            return root + b"/" + path if path else root
        cut = path.rfind(b"/", 0, len(path) // _STRIDE * _STRIDE)
        return b"/proc/self/fd/%d/%b" % (self._anchor(root, path[:cut]), path[cut + 1 :])

    def _anchor(self, root: bytes, path: bytes) -> int:
        key = root, path
        anchor = self._anchors.pop(key, None)
        if anchor is None:
            place = self(root, path)
            anchor = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            while len(self._anchors) >= _OPEN:
                os.close(self._anchors.pop(next(iter(self._anchors))))
        self._anchors[key] = anchor  # the one used last is closed last
        return anchor

    def __enter__(self) -> Reach:
        return self

    def __exit__(self, *_: object) -> None:
        while self._anchors:
            os.close(self._anchors.popitem()[1])
