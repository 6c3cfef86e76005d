"""One-sentence help for the words of a cell: instructions, flags, attributes of exporters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ..request.flags import Flag, by_word
from ..request.table import OPTIONS, Option
from .cell import read_cell
from .draft import read_draft
from .line import attribute_docs
from .offer import fields

REFERENCE = "https://docs.docker.com/reference/dockerfile/"
BUILD = "https://docs.docker.com/reference/cli/docker/buildx/build/"
EXPORTERS = "https://docs.docker.com/build/exporters/"


class Help(msgspec.Struct, frozen=True):
    """The syntax of a word, its description, and a page with more, if any."""

    usage: str
    text: str
    url: str


class Instruction(msgspec.Struct, frozen=True):
    """The syntax of an instruction, and its description."""

    usage: str
    text: str


class _Words(msgspec.Struct, frozen=True):
    instructions: dict[str, Instruction]
    flags: dict[str, dict[str, str]]


_WORDS = msgspec.json.decode(Path(__file__).with_name("dockerfile.json").read_bytes(), type=_Words)
"""The page has the same file, so that it can help without a kernel."""
INSTRUCTIONS = _WORDS.instructions
FLAGS = _WORDS.flags
"""By instruction and flag; the flags are those that the parser knows."""


FlagsAfter = Callable[[Sequence[str]], Sequence[Flag]]
"""Returns the flags that may follow the words at the beginning of a line, which may be those of a command."""


def help_at(cell: str, offset: int, flags_after: FlagsAfter = lambda _: OPTIONS) -> Help | None:
    """Return help for the word at `offset` of a cell: an instruction, its flag, a flag of the line, an attribute."""
    build_cell = read_cell(cell)
    if build_cell is None:
        return None
    number = cell.count("\n", 0, offset)
    start = cell.rfind("\n", 0, offset) + 1
    column, line = offset - start, cell[start:].partition("\n")[0]
    if number < build_cell.head:
        here = next((match for match in re.finditer(r"\S+", line) if match.start() <= column <= match.end()), None)
        before = read_cell(cell[: start + here.start()]) if here else None
        if here is None or before is None:
            return None
        words = before.line.split()
        flags = flags_after(words) if build_cell.may_be_command else OPTIONS
        return _help_of_line(words, here[0], column - here.start(), flags)
    if build_cell.is_script:
        return None
    suggestion = re.finditer(r"--[\w-]+|[A-Za-z]+", line)
    word = next((match[0] for match in suggestion if match.start() <= column <= match.end()), "")
    for statement in read_draft(build_cell.body):
        words = statement.text.split()
        if words and statement.start <= number + 1 - build_cell.head <= statement.end:
            return _help(words, word)
    return None


def _help_of_line(words: Sequence[str], word: str, column: int, flags: Sequence[Flag]) -> Help | None:
    """Return help for `column` of `word`, which comes after `words`: for one of the flags, or for its value."""
    by_name = by_word(flags)
    name = word.partition("=")[0]
    flag = by_name.get(name)
    if flag and column <= len(name):
        metavar = f" {flag.metavar}" if flag.metavar else ""
        is_docker = isinstance(flag, Option) and not flag.notebook
        return Help(f"--{flag.name}{metavar}", f"{flag.doc}.", BUILD if is_docker else "")
    before = by_name.get(words[-1]) if words else None
    value = word.partition("=")[2] if flag else word
    owner = flag or before
    if not isinstance(owner, Option) or owner.field != "outputs":
        return None
    position = word[:column].count(",")
    field = value.split(",")[position] if position <= value.count(",") else ""
    kind = fields(value.split(",")).get("type", "")
    about = attribute_docs(kind).get(field.partition("=")[0], "")
    return Help(f"type={kind},{field.partition('=')[0]}=…", about, EXPORTERS) if about else None


def _help(words: list[str], word: str) -> Help | None:
    keywords = [words[0].upper(), *(w.upper() for w in words[1:2] if words[0].upper() == "ONBUILD")]
    keyword = keywords[-1]
    if word.startswith("--"):
        text = FLAGS.get(keyword, {}).get(word[2:])
        is_set = any(other.partition("=")[0] == word for other in words)
        return Help(f"{keyword} {word}=…", text, f"{REFERENCE}#{keyword.lower()}") if text and is_set else None
    if word.upper() not in keywords or word.upper() not in INSTRUCTIONS:
        return None
    entry = INSTRUCTIONS[word.upper()]
    return Help(entry.usage, entry.text, f"{REFERENCE}#{word.lower()}")
