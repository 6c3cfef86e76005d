"""A Dockerfile that is being edited: the parts that can be understood, instruction by instruction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

import msgspec

from ..dockerfile.heredoc import heredocs_of
from ..dockerfile.instructions import Instruction
from ..dockerfile.interpret import interpret
from ..dockerfile.node import split_node
from ..errors import DockerfileError, SourceRange

_ESCAPE = re.compile(r"#[ \t]*escape[ \t]*=[ \t]*`", re.IGNORECASE)
_HEREDOC_KEYWORD = re.compile(r"\s*(?:onbuild\s+)?(?:run|copy|add)\s", re.IGNORECASE)


class Statement(msgspec.Struct, frozen=True, dict=True):
    """An instruction: its lines, from 1, and its text on one line."""

    start: int
    end: int
    text: str
    escape: str = "\\"
    in_heredoc: bool = False
    """Whether the text ends inside one of its here-documents."""
    goes_on: bool = False
    """Whether the text ends before the instruction does."""

    @cached_property
    def instruction(self) -> Instruction | None:
        """The typed instruction, if it is complete."""
        where = SourceRange("Dockerfile", self.start, self.end)
        try:
            return interpret(split_node(self.text, self.escape, where))
        except DockerfileError:
            return None


def read_draft(text: str) -> list[Statement]:
    """Return the instructions of a text, whether or not they are valid; nothing is raised."""
    lines = text.split("\n")
    escape = "`" if lines and _ESCAPE.match(lines[0]) else "\\"
    ending = re.compile(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*\Z")
    statements: list[Statement] = []
    number = 0
    while number < len(lines):
        if _is_nothing(lines[number]):
            number += 1
            continue
        start, parts, goes_on = number, list[str](), True
        while goes_on and number < len(lines):
            line = lines[number]
            number += 1
            if len(parts) and _is_nothing(line) and number < len(lines):
                continue
            match = ending.search(line)
            goes_on = match is not None
            parts.append(line[: match.start()] if match else line)
        whole = "".join(parts)
        number, inside = _skip_heredocs(whole, lines, number)
        statements.append(Statement(start + 1, number, whole.lstrip(), escape, inside, goes_on))
    return statements


def _is_nothing(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _skip_heredocs(instruction: str, lines: Sequence[str], number: int) -> tuple[int, bool]:
    """Return (the line after the here-documents of an instruction, whether the last one is open)."""
    if "<<" not in instruction or not _HEREDOC_KEYWORD.match(instruction):
        return number, False
    try:
        openings = heredocs_of(instruction)
    except DockerfileError:
        return number, False
    for heredoc in openings:
        while number < len(lines):
            line = lines[number]
            number += 1
            if (line.lstrip("\t") if heredoc.chomp else line) == heredoc.name:
                break
        else:
            return number, True
    return number, False
