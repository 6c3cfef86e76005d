"""Symbolic links followed within a root, as by a process with this root directory."""

from __future__ import annotations

from collections.abc import Callable

from ..cancel import checkpoint
from ..errors import StoreError

MAX_LINKS = 255
"""The most symbolic links on a path, as in containerd's `fs.RootPath`; Linux allows 40."""


class LinkLoopError(StoreError):
    """A path leads through a loop of symbolic links."""


class EscapeError(StoreError):
    """A path leads above its root."""


def follow_links(
    path: str, link_of: Callable[[str], str | None], *, follow_last: bool = True, refuse_escapes: bool = False
) -> str:
    """Return the path that `path` leads to, relative to the root, which is "".

    `link_of` returns the target of the symbolic link at a path whose parents are not links, and None if there is no
    link. A ".." at the root stays there, as in Linux; with `refuse_escapes` it raises EscapeError, unless an absolute
    link was followed before, as in Docker's unpacker. Components that do not exist are kept as they are. With
    `follow_last` false, a link at the very end is not followed. Raises LinkLoopError.
    """
    where: list[str] = []
    todo = _reversed_parts(path)
    links = 0
    rooted = not refuse_escapes
    while todo:
        name = todo.pop()
        if name == "..":
            if not where and not rooted:
                raise EscapeError(f'"/{path.lstrip("/")}" leads above its root.')
            del where[-1:]
            continue
        where.append(name)
        if not todo and not follow_last:
            break
        link = link_of("/".join(where))
        if link is None:
            continue
        links += 1
        checkpoint()
        if links > MAX_LINKS:
            raise LinkLoopError(f'"/{path.lstrip("/")}" leads through too many symbolic links.')
        absolute = link.startswith("/")
        rooted = rooted or absolute
        del where[0 if absolute else -1 :]
        todo += _reversed_parts(link)
    return "/".join(where)


def _reversed_parts(path: str) -> list[str]:
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
