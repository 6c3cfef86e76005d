"""The files of an image or an output, as a tree that displays itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import msgspec

from ..errors import UsageError
from ..results.contents import View
from ..results.owners import Owners
from ..results.summarise import file_summary
from ..summary import FileSummary

_WHOLE = 1 << 40
"""The most bytes that `read` returns."""


class File(FileSummary, frozen=True):
    """One path of a tree, with the names of its owner; it displays itself like a line of `ls -l`."""

    owner: str = ""
    """`root`, or `USER:GROUP`; an id that the image has no name for stays a number."""

    def __repr__(self) -> str:
        from ..display import text

        return text.file_line(self, self.owner)


class FileTree:
    """The files and directories of an image or an output, in the order of its archive. Iterates over `File`.

    `tree["etc/passwd"]` is an entry, `tree.read("etc/passwd")` its content, `tree.to_dataframe()` a table of all.
    """

    def __init__(
        self,
        files: Iterable[FileSummary] = (),
        view: Callable[[], View] | None = None,
        owners: Callable[[], Owners] | None = None,
    ) -> None:
        self._some = files
        self._view = view
        self._owners = owners

    @cached_property
    def files(self) -> tuple[File, ...]:
        """All entries."""
        owners = self._owners() if self._owners else Owners()
        some = self._some if self._view is None else (file_summary(entry) for _, entry in self._view().entries())
        return tuple(File(*msgspec.structs.astuple(file)[:7], owner=owners.of(file)) for file in some)

    @cached_property
    def _by_path(self) -> dict[str, File]:
        return {file.path: file for file in self.files}

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[File]:
        return iter(self.files)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and path.strip("/") in self._by_path

    def __getitem__(self, path: str) -> File:
        """Return the entry at `path`. Raises KeyError."""
        return self._by_path[path.strip("/")]

    def read(self, path: str) -> bytes:
        """Return the content of a file, following links within an image. Raises SourceError if there is none."""
        if self._view is None:
            raise UsageError("The content of these files is not at hand.")
        return self._view().read(path.strip("/"), 0, _WHOLE)[1]

    def to_dataframe(self) -> Any:
        """Return the entries as a pandas DataFrame, one row per entry. Raises UnsupportedError without pandas."""
        from ..results.frames import dataframe

        fields = ("path", "type", "mode", "size", "uid", "gid", "link")
        return dataframe(fields, (tuple(getattr(file, name) for name in fields) for file in self.files))

    def __repr__(self) -> str:
        from ..display import text

        return text.render_files([(file, file.owner) for file in self.files])

    def _repr_html_(self) -> str:
        from ..display import html

        return str(html.render_files(self.files))
