"""Every command completes, accepts, documents and refuses the same flags: in cells, in shells and in its help."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import pytest

from pybuild_magic.cli.commands import table
from pybuild_magic.cli.completion import candidates
from pybuild_magic.editor.completion import complete
from pybuild_magic.editor.help import help_at
from pybuild_magic.errors import UsageError
from pybuild_magic.notebook.bake_command import targets
from pybuild_magic.notebook.command import Syntax
from pybuild_magic.notebook.commands import COMMANDS
from pybuild_magic.notebook.completion import complete as complete_magic
from pybuild_magic.notebook.operands import complete_command, flags_after
from pybuild_magic.request.flags import Flag, Kind, MisreadError, parse_flags, taken


def lines(commands: Mapping[str, Syntax]) -> Iterator[tuple[tuple[str, ...], Syntax]]:
    """Return each command and subcommand, by its words."""
    for name, syntax in commands.items():
        yield (name,), syntax
        for words, own in lines(syntax.words):
            yield (name, *words), own


CELLS = dict(lines(COMMANDS))
SYNTAXES = {name: command.syntax for name, command in table().items()}
SHELLS = dict(lines(SYNTAXES))
KNOWN: dict[str, Flag] = {
    flag.name: flag for syntax in (*CELLS.values(), *SHELLS.values(), targets) for flag in syntax.flags
} | {"nosuch": Flag("nosuch", Kind.BOOL, "", "")}


def accepted(syntax: Syntax) -> set[str]:
    """Return those flags of any command that a given command line accepts, but for those that it knows to refuse."""
    names: set[str] = set()
    refused = {flag.name for flag in syntax.flags if flag.refused}
    for name, flag in KNOWN.items():
        try:
            syntax.parse([f"--{name}={'true' if flag.kind is Kind.BOOL else 'x'}"], "")
        except MisreadError as error:
            if error.message == f"Unknown flag --{name}.":
                continue
        except UsageError:
            pass  # about the value, or about missing arguments
        names.add(name)
    return names - refused


def named(texts: Iterable[str]) -> set[str]:
    return {text.removeprefix("--") for text in texts if text.startswith("--")}


@pytest.mark.parametrize("words", CELLS, ids=" ".join)
def test_a_cell_completes_the_flags_that_a_command_accepts(words: tuple[str, ...]) -> None:
    text = f"%build {' '.join(words)} --"
    offer = complete(text, len(text), {}, {name: command.about for name, command in COMMANDS.items()}, complete_command)
    syntax = CELLS[words]
    assert offer is not None
    assert named(item.text for item in offer.items) == accepted(syntax)
    page = COMMANDS[words[0]]([*words[1:], "--help"])
    assert {flag.name for flag in taken(syntax.flags)} <= named(re.findall(r"--[a-z-]+", repr(page)))


@pytest.mark.parametrize("words", CELLS, ids=" ".join)
def test_help_is_about_the_flag_of_that_command(words: tuple[str, ...]) -> None:
    for flag in CELLS[words].flags:
        for word in (f"--{flag.name}", f"-{flag.short}")[: 2 if flag.short else 1]:
            text = f"%build {' '.join(words)} {word}"
            topic = help_at(text, len(text), flags_after)
            assert topic is not None
            assert (topic.usage, topic.text) == (f"--{flag.name} {flag.metavar}".rstrip(), f"{flag.doc}.")


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("%build run -it --netw", None),
        ("%build run --network", "--network MODE"),
        ("%%build run --rm --workdir", "--workdir PATH"),
        ("%build run busybox ls --network", None),
        ("%build prune --pull", None),
        ("%build lock --pull", "--pull"),
        ("%build imagetools create --tag", "--tag NAME"),
        ("%%build prune --until", None),
        ("%%build prune --pull", "--pull"),
        ("%%build run busybox\n--pull", None),
    ],
)
def test_help_on_the_line_of_a_command(text: str, usage: str | None) -> None:
    topic = help_at(text, len(text), flags_after)
    assert (topic.usage if topic else None) == usage


@pytest.mark.parametrize("words", SHELLS, ids=" ".join)
def test_a_shell_completes_the_flags_that_a_command_accepts(words: tuple[str, ...]) -> None:
    assert named(candidates([*words, "--"], SYNTAXES)) == accepted(SHELLS[words])


def test_bake_completes_the_flags_that_it_accepts() -> None:
    text = "%bake --"
    offer = complete_magic(text, len(text), None)
    assert named(item.text for item in offer["completions"]) == accepted(targets)


@pytest.mark.parametrize("words", CELLS, ids=" ".join)
def test_a_flag_that_is_misspelt_is_told(words: tuple[str, ...]) -> None:
    for flag in taken(CELLS[words].flags):
        with pytest.raises(MisreadError, match=f"Unknown flag --{flag.name}x.") as caught:
            COMMANDS[words[0]]([*words[1:], f"--{flag.name}x"])
        assert caught.value.hint == f"Did you mean --{flag.name}?"
    with pytest.raises(MisreadError, match="Unknown flag --@@"):
        COMMANDS[words[0]]([*words[1:], "--@@"])


REFUSED = [(words, flag) for words, syntax in CELLS.items() for flag in syntax.flags if flag.refused]


@pytest.mark.parametrize(("words", "flag"), REFUSED, ids=lambda value: getattr(value, "name", None))
def test_a_flag_of_docker_that_has_no_place_here_is_answered_with_the_reason(
    words: tuple[str, ...], flag: Flag
) -> None:
    value = {"": "true", "true": "false", "false": "true"}[flag.same[-1]] if flag.kind is Kind.BOOL else "other"
    with pytest.raises(UsageError, match=re.escape(f"--{flag.name}")) as caught:
        COMMANDS[words[0]]([*words[1:], f"--{flag.name}={value}", "busybox", "true"])
    assert (flag.refused in caught.value.message, caught.value.hint) == (True, flag.instead)
    assert flag.instead
    for same in filter(None, flag.same):
        parse_flags([f"--{flag.name}={same}"], CELLS[words].flags)


@pytest.mark.parametrize("syntax", [*CELLS.values(), *SHELLS.values()])
def test_a_flag_has_one_meaning_on_a_line(syntax: Syntax) -> None:
    names = [flag.name for flag in syntax.flags]
    shorts = [flag.short for flag in syntax.flags if flag.short]
    assert len(set(names)) == len(names)
    assert len(set(shorts)) == len(shorts)
