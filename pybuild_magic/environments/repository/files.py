"""The files of a repository, which may be hostile: read whole, bounded, and never from outside of it."""

from __future__ import annotations

import stat
from typing import BinaryIO, Protocol

from ...errors import ContextError
from ...session.files import LocalDir
from ...store import LayerTree
from ...store.links import EscapeError, LinkLoopError, follow_links

_LARGEST = 4 << 20
"""The most bytes of a file that describes an environment; the locks of large projects have about a tenth."""


class Tree(Protocol):
    """The source of a repository's files: a directory on disk, or a commit in the store."""

    def mode(self, path: str) -> int:
        """Return the `st_mode` of the file at `path` without following links; 0 when there is nothing."""
        ...

    def link(self, path: str) -> str:
        """Return the target of the symbolic link at `path`."""
        ...

    def open(self, path: str) -> BinaryIO:
        """Return the content of the regular file at `path`, whose parents are not links."""
        ...


class OnDisk:
    """The tree of a local directory."""

    def __init__(self, directory: LocalDir) -> None:
        self._directory = directory

    def mode(self, path: str) -> int:
        """See Tree."""
        status = self._directory.stat(path)
        return status.mode if status else 0

    def link(self, path: str) -> str:
        """See Tree."""
        status = self._directory.stat(path)
        return status.link if status else ""

    def open(self, path: str) -> BinaryIO:
        """See Tree."""
        return self._directory.open(path)


class InStore:
    """The tree of a commit that is checked out into the store."""

    def __init__(self, tree: LayerTree) -> None:
        self._tree = tree

    def mode(self, path: str) -> int:
        """See Tree."""
        entry = self._tree.get(path)
        return entry.st_mode if entry else 0

    def link(self, path: str) -> str:
        """See Tree."""
        entry = self._tree.get(path)
        return entry.link if entry else ""

    def open(self, path: str) -> BinaryIO:
        """See Tree."""
        entry = self._tree.get(path)
        if entry is None:
            raise ContextError(f"The repository has no {path}.")
        return self._tree.open(entry)


class RepositoryFiles:
    """The files of a repository by path. Links are followed while they stay inside."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def is_file(self, path: str) -> bool:
        """Return whether there is a regular file. Raises ContextError for a link that leads out of the repository."""
        return stat.S_ISREG(self._tree.mode(self._locate(path)))

    def is_directory(self, path: str) -> bool:
        """Return whether there is a directory. Raises ContextError as `is_file`."""
        return stat.S_ISDIR(self._tree.mode(self._locate(path)))

    def text(self, path: str) -> str | None:
        """Return the text of a file; None when there is none. Raises ContextError for one that is not text, or too
        large.
        """
        where = self._locate(path)
        mode = self._tree.mode(where)
        if not mode:
            return None
        if not stat.S_ISREG(mode):
            raise ContextError(f"{path} of the repository is not a regular file.")
        with self._tree.open(where) as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ContextError(f"{path} of the repository is larger than {_LARGEST >> 20} MB.")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ContextError(f"{path} of the repository is not UTF-8 text.") from None
        if "\0" in text:
            raise ContextError(f"{path} of the repository is not a text file.")
        return text.replace("\r\n", "\n")

    def _locate(self, path: str) -> str:
        """Return where a path leads. A link out of the repository is refused: a stranger must not read the user's
        files.
        """

        def target(at: str) -> str | None:
            if not stat.S_ISLNK(self._tree.mode(at)):
                return None
            link = self._tree.link(at)
            if link.startswith("/"):
                raise EscapeError(at)
            return link

        try:
            return follow_links(path, target, refuse_escapes=True)
        except EscapeError:
            raise ContextError(
                f"{path} leads out of the repository by a symbolic link.",
                hint="Replace the link with a copy of the file.",
            ) from None
        except LinkLoopError:
            raise ContextError(f"{path} is a loop of symbolic links.") from None
