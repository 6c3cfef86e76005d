"""What the words of a cell mean, in a sentence each: instructions, flags, attributes of exporters."""

from __future__ import annotations

import re

import msgspec

from .cell import read_cell
from .draft import read_draft
from .line import attribute_docs, find_flag
from .offer import fields

REFERENCE = "https://docs.docker.com/reference/dockerfile/"
BUILD = "https://docs.docker.com/reference/cli/docker/buildx/build/"
EXPORTERS = "https://docs.docker.com/build/exporters/"


class Help(msgspec.Struct, frozen=True):
    """How a word is used, what it does, and the page that says more, if any."""

    usage: str
    text: str
    url: str


INSTRUCTIONS: dict[str, tuple[str, str]] = {
    "ADD": (
        "ADD [flags] SOURCE… DEST",
        "Copies files, URLs or Git repositories into the image; a local tar archive is unpacked.",
    ),
    "ARG": ("ARG NAME[=DEFAULT]", "A variable of the build, set by --build-arg. It is not in the image."),
    "CMD": (
        'CMD ["program", "argument"]',
        "What a container runs when it is given no command, or the arguments of the ENTRYPOINT.",
    ),
    "COPY": (
        "COPY [flags] SOURCE… DEST",
        "Copies files of the context, of another stage or of an image into the image.",
    ),
    "ENTRYPOINT": ('ENTRYPOINT ["program", "argument"]', "The program that a container of the image always runs."),
    "ENV": ("ENV NAME=VALUE …", "Sets environment variables, for the instructions that follow and in the image."),
    "EXPOSE": ("EXPOSE PORT[/PROTOCOL] …", "Says on which ports the program listens. It opens none."),
    "FROM": (
        "FROM [--platform=P] IMAGE [AS NAME]",
        "Begins a stage on an image, another stage, or scratch, which is empty.",
    ),
    "HEALTHCHECK": (
        "HEALTHCHECK [flags] CMD command",
        "How to tell whether a container works; NONE forgets the base's.",
    ),
    "LABEL": ("LABEL KEY=VALUE …", "Describes the image."),
    "MAINTAINER": (
        "MAINTAINER NAME",
        "Who made the image. Deprecated: LABEL org.opencontainers.image.authors says it.",
    ),
    "ONBUILD": ("ONBUILD INSTRUCTION", "An instruction for builds that use this image as their base."),
    "RUN": ("RUN [flags] command", "Runs a command in the image; the files that it changes are a new layer."),
    "SHELL": ('SHELL ["program", "argument"]', "The shell of RUN, CMD and ENTRYPOINT in their form without brackets."),
    "STOPSIGNAL": ("STOPSIGNAL SIGNAL", "The signal that asks a container to end."),
    "USER": ("USER NAME[:GROUP]", "Who runs what follows, and the container."),
    "VOLUME": ("VOLUME PATH …", "Paths whose content is not in the image but in a volume of each container."),
    "WORKDIR": (
        "WORKDIR PATH",
        "The directory in which what follows is done; it is made when it is not there.",
    ),
}

_COPIED = {
    "chown": "Owner and group of the copies.",
    "chmod": "Permissions of the copies.",
    "link": "The copies are a layer of their own, which stays cached when what is below changes.",
    "exclude": "Files that are left out, by a pattern.",
}
FLAGS: dict[str, dict[str, str]] = {
    "FROM": {"platform": "The platform of the image, when it has several."},
    "RUN": {
        "mount": "Files that are there while the command runs, and in no layer: bind, cache, tmpfs, secret or ssh.",
        "network": "default, none or host.",
        "security": "sandbox, or insecure for a command that needs all privileges.",
        "device": "A device of the machine that the command needs.",
    },
    "COPY": {
        "from": "The stage, image or named context that the files are copied from.",
        "parents": "Keeps the directories of the sources.",
        **_COPIED,
    },
    "ADD": {
        "keep-git-dir": "Keeps .git of a Git repository.",
        "checksum": "The digest that a URL's content has to have.",
        "unpack": "Whether archives are unpacked.",
        **_COPIED,
    },
    "HEALTHCHECK": {
        "interval": "The time from one check to the next, such as 30s.",
        "timeout": "The time after which a check has failed.",
        "start-period": "The time for which failing checks do not count.",
        "start-interval": "The time between checks in the start period.",
        "retries": "Checks that fail one after the other before the container is unhealthy.",
    },
}
"""By instruction and flag; the flags are those that the parser knows."""


def help_at(cell: str, offset: int) -> Help | None:
    """Help for what stands at `offset` of a cell: an instruction, a flag of one, a flag of the line, an attribute."""
    found = read_cell(cell)
    if found is None:
        return None
    lines = cell.split("\n")
    number = cell.count("\n", 0, offset)
    column = offset - sum(len(line) + 1 for line in lines[:number])
    if number < found.head:
        return _help_of_line(lines[number], column)
    near = re.finditer(r"--[\w-]+|[A-Za-z]+", lines[number])
    word = next((match[0] for match in near if match.start() <= column <= match.end()), "")
    for statement in read_draft(found.body):
        words = statement.text.split()
        if words and statement.start <= number + 1 - found.head <= statement.end:
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
        given = any(each.partition("=")[0] == word for each in words)
        return Help(f"{keyword} {word}=…", text, f"{REFERENCE}#{keyword.lower()}") if text and given else None
    if word.upper() not in keywords or word.upper() not in INSTRUCTIONS:
        return None
    usage, text = INSTRUCTIONS[word.upper()]
    return Help(usage, text, f"{REFERENCE}#{word.lower()}")
