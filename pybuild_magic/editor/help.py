"""One-sentence help for the words of a cell: instructions, flags, attributes of exporters."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from .cell import read_cell
from .draft import read_draft
from .line import attribute_docs, find_flag
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


def help_at(cell: str, offset: int) -> Help | None:
    """Return help for the word at `offset` of a cell: an instruction, its flag, a flag of the line, an attribute."""
    build_cell = read_cell(cell)
    if build_cell is None:
        return None
    lines = cell.split("\n")
    number = cell.count("\n", 0, offset)
    column = offset - sum(len(line) + 1 for line in lines[:number])
    if number < build_cell.head:
        return _help_of_line(lines[number], column)
    near = re.finditer(r"--[\w-]+|[A-Za-z]+", lines[number])
    word = next((match[0] for match in near if match.start() <= column <= match.end()), "")
    for statement in read_draft(build_cell.body):
        words = statement.text.split()
        if words and statement.start <= number + 1 - build_cell.head <= statement.end:
            return _help(words, word)
    return None


def _help_of_line(line: str, column: int) -> Help | None:
    words = list(re.finditer(r"\S+", line))
    here = next((match for match in words if match.start() <= column <= match.end()), None)
    if here is None:
        return None
    name = here[0].partition("=")[0]
    flag = find_flag(name)
    if flag and column <= here.start() + len(name):
        metavar = f" {flag.metavar}" if flag.metavar else ""
        return Help(f"--{flag.name}{metavar}", f"{flag.doc}.", "" if flag.notebook else BUILD)
    before = find_flag(words[words.index(here) - 1][0])
    value = here[0].partition("=")[2] if flag else here[0]
    if (flag or before) is not find_flag("--output"):
        return None
    begun = here[0][: column - here.start()].count(",")
    field = value.split(",")[begun] if begun <= value.count(",") else ""
    kind = fields(value.split(",")).get("type", "")
    about = attribute_docs(kind).get(field.partition("=")[0], "")
    return Help(f"type={kind},{field.partition('=')[0]}=…", about, EXPORTERS) if about else None


def _help(words: list[str], word: str) -> Help | None:
    keywords = [words[0].upper(), *(w.upper() for w in words[1:2] if words[0].upper() == "ONBUILD")]
    keyword = keywords[-1]
    if word.startswith("--"):
        text = FLAGS.get(keyword, {}).get(word[2:])
        given = any(other.partition("=")[0] == word for other in words)
        return Help(f"{keyword} {word}=…", text, f"{REFERENCE}#{keyword.lower()}") if text and given else None
    if word.upper() not in keywords or word.upper() not in INSTRUCTIONS:
        return None
    entry = INSTRUCTIONS[word.upper()]
    return Help(entry.usage, entry.text, f"{REFERENCE}#{word.lower()}")
