"""The text of a cell: its `%%build` line and its Dockerfile, and the files of the context that the line names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

import msgspec

from ..errors import BuildError
from ..portable import kind_of, split_words, user_path
from ..request.flags import ParsedFlags, parse_flags
from ..request.table import OPTIONS
from ..request.values import is_remote
from ..session import DirSource, LocalDir, MemorySource

_MAGIC = re.compile(r"\s*(%%?build)(?=\s|\Z)")

_HALF = re.compile("[\ud800-\udfff]")
"""A lone surrogate, which an editor may send but no Dockerfile contains."""


class BuildCell(msgspec.Struct, frozen=True):
    """`%%build LINE` and the Dockerfile below it; or `%build LINE`, whose `body` is ""."""

    magic: str
    line: str
    """The line after the magic's name, with its continuation lines joined."""
    head: int
    """The number of lines in the cell above the Dockerfile."""
    body: str

    @property
    def is_script(self) -> bool:
        """Whether the body is a script for `%%build run`, and not a Dockerfile."""
        return self.magic == "%%build" and re.match(r"\s*run(?=\s|\Z)", self.line) is not None

    @property
    def may_be_command(self) -> bool:
        """Whether a command's name at the beginning of the line is that command, and not a directory to build."""
        return self.magic == "%build" or self.is_script

    def flags(self) -> ParsedFlags | None:
        """Return the line as flags and arguments; None while it is invalid."""
        try:
            return parse_flags(split_words(self.line), OPTIONS)
        except (BuildError, ValueError):
            return None


def read_cell(text: str) -> BuildCell | None:
    """Return the parts of a cell; None if it is not a build."""
    text = _HALF.sub("\ufffd", text)
    match = _MAGIC.match(text)
    if match is None:
        return None
    if match[1] == "%build":
        line, _, _ = text[match.end() :].partition("\n")
        return BuildCell(match[1], line, text.count("\n", 0, match.end()) + 1, "")
    line, newline, body = text[match.end() :].partition("\n")
    head = text.count("\n", 0, match.end()) + 1
    while newline and line.endswith("\\"):
        continuation, newline, body = body.partition("\n")
        line, head = f"{line[:-1]} {continuation}", head + 1
    return BuildCell(match[1], line, head, body)


def context_of(cell: BuildCell, names: Mapping[str, object]) -> LocalDir | None:
    """Return the build context of the line, a directory or a `$dict` of `names`; None for any other."""
    flags = cell.flags()
    context = flags.arguments[-1] if flags and flags.arguments else "."
    try:
        if context.startswith("$"):
            files = names.get(context[1:])
            return MemorySource(cast("Mapping[str, str | bytes]", files)) if isinstance(files, Mapping) else None
        if context == "-" or is_remote(context) or kind_of(user_path(context)) != "directory":
            return None
        return DirSource(user_path(context))
    except (BuildError, OSError):
        return None
