"""A flat list of paths as the nested tree that people see."""

from __future__ import annotations

import stat
from collections.abc import Iterable

import msgspec

from ..summary import FileSummary

FILE, DIR, SYMLINK = "0", "5", "2"
_DEPTH = 64
"""The most directories that are nested; deeper paths are shown in full from there, because pages cannot nest them."""
_LETTERS = {"0": "-", "1": "-", "2": "l", "3": "c", "4": "b", "5": "d", "6": "p"}


class TreeNode(msgspec.Struct):
    """A path with everything below it; `size` counts everything below."""

    name: str
    file: FileSummary
    children: dict[str, TreeNode] = {}
    size: int = 0
    count: int = 0
    """The number of files and directories below."""


def grow(files: Iterable[FileSummary]) -> TreeNode:
    """Return the tree of `files`. A directory that is not in the list is assumed to have the mode 0755."""
    root = TreeNode("", FileSummary("", DIR, 0o755))
    for file in files:
        at = root
        trail = [root]
        *folders, name = file.path.split("/", _DEPTH)
        for depth, part in enumerate(folders):
            path = "/".join(folders[: depth + 1])
            at = at.children.setdefault(part, TreeNode(part, FileSummary(path, DIR, 0o755)))
            trail.append(at)
        node = at.children.get(name)
        if node is None:
            at.children[name] = TreeNode(name, file, size=file.size)
        else:
            node.file = file
        for above in trail:
            above.size += file.size
            above.count += 1
    return root


def mode_string(file: FileSummary) -> str:
    """Return the mode as `ls -l` writes it: `drwxr-xr-x`."""
    return _LETTERS.get(file.type, "?") + stat.filemode(file.mode)[1:]
