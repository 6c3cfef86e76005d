"""The parser: from the text of a Dockerfile to its directives and instructions, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from ..errors import DockerfileError, SourceRange
from ..golang.text import lstrip, strip
from . import rules
from .check_syntax import check_description, check_node
from .checks import Checks
from .directives import DirectiveReader, read_directives
from .document import Dockerfile
from .heredoc import heredocs_of
from .instructions import From, Heredoc, Instruction
from .interpret import interpret
from .node import SyntaxNode, split_node

_LONGEST_LINE = 65535
"""The most bytes of a line, as in BuildKit."""
_ESCAPES = ("`", "\\")


class Parsed(msgspec.Struct, frozen=True):
    """The nodes of a text, before they are interpreted."""

    nodes: tuple[SyntaxNode, ...]
    escape: str
    empty_continuations: tuple[SourceRange, ...]
    """The last lines of instructions that contain an empty line."""


def parse(text: str, filename: str = "Dockerfile", checks: Checks | None = None) -> Dockerfile:
    """Parse a Dockerfile; `checks` receives violations in its text, up to the first error.

    Raises DockerfileError, in BuildKit's words and with the lines at fault, for what BuildKit's parser refuses: first
    for text that cannot be split, then for the first invalid instruction.
    """
    try:
        parsed = parse_nodes(text, filename)
    except RecursionError:
        raise DockerfileError("an instruction is nested too deep") from None
    checks = checks or Checks()
    for line in parsed.empty_continuations:
        checks.report(rules.NO_EMPTY_CONTINUATION, line)
    instructions: list[Instruction] = []
    in_stage = False
    for node in parsed.nodes:
        try:
            check_node(node, checks.under(node.comments))
            instruction = interpret(node)
            check_description(instruction, checks.under(node.comments))
        except DockerfileError as error:
            raise DockerfileError(
                f"dockerfile parse error on line {node.location.start}: {error.message}",
                location=error.location,
            ) from None
        except RecursionError:
            raise DockerfileError("the instruction is nested too deep", location=node.location) from None
        in_stage = in_stage or isinstance(instruction, From)
        if not in_stage and node.keyword.lower() != "arg":
            raise DockerfileError("no build stage in current context", location=node.location)
        instructions.append(instruction)
    return Dockerfile(
        directives=read_directives(text, filename, parsed.escape),
        instructions=tuple(instructions),
        text=text,
        filename=filename,
    )


def parse_trigger(expression: str, location: SourceRange) -> Instruction:
    """Return the instruction of an ONBUILD trigger in an image's config; `location` is that of the FROM.

    Raises DockerfileError there unless the trigger is a single instruction other than FROM.
    """
    try:
        nodes = parse_nodes(expression).nodes
        if len(nodes) != 1:
            raise DockerfileError("onbuild trigger should be a single expression")
        instruction = interpret(nodes[0])
        if isinstance(instruction, From):
            raise DockerfileError("FROM isn't allowed as an ONBUILD trigger")
    except DockerfileError as error:
        raise DockerfileError(error.message, location=location) from None
    return msgspec.structs.replace(instruction, location=location)


def parse_nodes(text: str, filename: str = "Dockerfile") -> Parsed:
    """Split a Dockerfile into instructions without interpreting them."""
    return _Parser(text, filename).run()


class _Parser:
    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self.filename = filename
        self.number = 0
        """The number of the line read last, from 1."""
        self.too_long = False
        self.lines = self._read_lines()
        self.directives = DirectiveReader()
        self.escape = "\\"
        self.comments: list[str] = []
        self.nodes: list[SyntaxNode] = []
        self.empty_continuations: list[SourceRange] = []

    def run(self) -> Parsed:
        for line in self.lines:
            self._note_comment(line)
            content = self._content(lstrip(line.rstrip("\r\n")))
            content, continues = self._without_continuation(content)
            if content or continues:
                self._instruction(content, continues)
        if not self.nodes:
            raise DockerfileError("file with no instructions", location=self._range(self.number))
        if self.too_long:
            raise DockerfileError(
                f"dockerfile line greater than max allowed size of {_LONGEST_LINE}",
                location=self._range(max(1, self.number)),
            )
        return Parsed(tuple(self.nodes), self.escape, tuple(self.empty_continuations))

    def _read_lines(self) -> Iterator[str]:
        """Yield the lines with their line ends; stop before an overlong one, as if the file ended there."""
        text = self.text.removeprefix("\ufeff")
        start = 0
        while start < len(text):
            end = text.find("\n", start) + 1 or len(text)
            line = text[start:end]
            if (
                len(line) > _LONGEST_LINE // 4
                and len(line.rstrip("\n").encode("utf-8", "surrogatepass")) > _LONGEST_LINE
            ):
                self.too_long = True
                return
            self.number += 1
            yield line
            start = end

    def _instruction(self, content: str, continues: bool) -> None:
        start = self.number
        parts = [content]
        empty = False
        while continues and (line := next(self.lines, None)) is not None:
            content = self._content(line.rstrip("\r\n"))
            if _is_comment(line):
                continue
            if not lstrip(content):
                empty = True
                continue
            content, continues = self._without_continuation(content)
            parts.append(content)
        whole = "".join(parts)
        if empty:
            self.empty_continuations.append(self._range(self.number))
        node = split_node(whole, self.escape, self._range(start), tuple(self.comments))
        heredocs = self._heredocs(whole, start) if node.takes_heredocs else ()
        self.nodes.append(
            msgspec.structs.replace(node, heredocs=heredocs, location=self._range(start)) if heredocs else node
        )
        self.comments = []

    def _heredocs(self, line: str, start: int) -> tuple[Heredoc, ...]:
        if "<<" not in line:
            return ()
        try:
            openings = heredocs_of(line)
        except DockerfileError as error:
            raise error.at(self._range(start)) from None
        return tuple(self._heredoc(heredoc, start) for heredoc in openings)

    def _heredoc(self, heredoc: Heredoc, start: int) -> Heredoc:
        data: list[str] = []
        for line in self.lines:
            end = line.rstrip("\r\n")
            if (end.lstrip("\t") if heredoc.chomp else end) == heredoc.name:
                return msgspec.structs.replace(heredoc, data="".join(data))
            data.append(line)
        raise DockerfileError("unterminated heredoc", location=self._range(start))

    def _content(self, line: str) -> str:
        """Return the line, or "" when it is a comment; directives are processed on the way."""
        try:
            directive = self.directives.read(line)
            if directive and directive[0] == "escape":
                self._set_escape(directive[1])
        except DockerfileError as error:
            # BuildKit counts the line of a directive from 0.
            number = max(1, self.number - 1)
            raise error.at(SourceRange(self.filename, number, number, self.text)) from None
        if directive:
            self.comments.pop()
        return "" if _is_comment(line) else line

    def _set_escape(self, value: str) -> None:
        if value not in _ESCAPES:
            raise DockerfileError(f"invalid escape token '{value}' does not match ` or \\")
        self.escape = value

    def _note_comment(self, line: str) -> None:
        """Keep the comments directly above an instruction; an empty comment detaches earlier ones."""
        if not _is_comment(line):
            return
        if comment := strip(line[1:]):
            self.comments.append(comment)
        else:
            self.comments = []

    def _without_continuation(self, line: str) -> tuple[str, bool]:
        match = _continuation(self.escape).search(line)
        return (line[: match.start()], True) if match else (line, False)

    def _range(self, start: int) -> SourceRange:
        """Return the lines from `start` to the one read last."""
        return SourceRange(self.filename, start, max(start, self.number), self.text)


@lru_cache(maxsize=2)
def _continuation(escape: str) -> re.Pattern[str]:
    """Return an escape at the end of a line (blanks may follow), unless another escape precedes it."""
    e = re.escape(escape)
    return re.compile(rf"(?<!{e}){e}[ \t]*\Z")


def _is_comment(line: str) -> bool:
    return lstrip(line).startswith("#")
