"""The syntax of flags on Docker's command lines, for any table of flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec

from ..errors import UsageError, nearest
from ..golang.parsebool import parse_bool


class MisreadError(UsageError):
    """An unknown flag, or a flag without a valid value, for which docker's command line has a separate exit code."""


class Kind(StrEnum):
    """How often a flag is given, and whether it takes a value."""

    BOOL = "bool"
    ONE = "one"
    MANY = "many"


class Flag(msgspec.Struct, frozen=True):
    """One flag: its long name, one-letter form, kind, the shape of its value, and one line of help."""

    name: str
    kind: Kind
    metavar: str
    doc: str
    short: str = ""
    choices: tuple[str, ...] = ()
    refused: str = ""
    """Why a flag of docker's is not taken, to follow its name; neither help nor completion shows such a flag."""
    instead: str = ""
    """What to do instead, as a hint."""
    same: tuple[str, ...] = ()
    """The values with which it is taken all the same, since they ask for what holds anyway."""

    def check(self, value: str, spelling: str) -> None:
        """Raise `UsageError` naming `spelling` for a value that the flag does not take."""
        if self.kind is Kind.BOOL:
            value = str(truth(value, spelling, MisreadError)).lower()
        if self.refused and value not in self.same:
            shown = spelling if self.kind is Kind.BOOL else f"{spelling} {value}"
            raise UsageError(f"{shown} {self.refused}.", hint=self.instead)
        if self.choices and value not in self.choices:
            suggestion = nearest(value, self.choices)
            raise UsageError(
                f"{spelling} {value!r} is not known; use one of {', '.join(self.choices)}.",
                hint=f"Did you mean {suggestion}?" if suggestion else "",
            )


F = TypeVar("F", bound=Flag)


def by_word(flags: Iterable[F]) -> dict[str, F]:
    """Return the flags by the words that name them on a line: `--tag` and `-t`."""
    return {word: flag for flag in flags for word in (f"--{flag.name}", f"-{flag.short}") if word != "-"}


def truth(value: str, subject: str, error: type[UsageError] = UsageError) -> bool:
    """Return the boolean that `value` spells. Raises an `error` naming `subject`."""
    answer = parse_bool(value)
    if answer is None:
        raise error(f"{subject} must be true or false, not {value!r}.")
    return answer


class ParsedFlags(msgspec.Struct):
    """The words of a command line, sorted: the values of each flag by its long name, in order, and the arguments."""

    values: dict[str, list[str]]
    arguments: list[str]

    def on(self, name: str) -> bool:
        """Return whether a boolean flag is on: its last value counts. Raises `UsageError`."""
        return truth(self.last(name, "false"), f"--{name}")

    def last(self, name: str, default: str = "") -> str:
        """Return the last value of a flag, which is the one that counts, or `default` where it is not given."""
        return (self.values.get(name) or [default])[-1]

    def every(self, name: str) -> list[str]:
        """Return all values of a flag, in order."""
        return self.values.get(name, [])


def taken(flags: Iterable[F]) -> list[F]:
    """Return the flags without those that are refused."""
    return [flag for flag in flags if not flag.refused]


def shown_flag(flag: Flag) -> str:
    """Return a flag as the line of a command shows it: by its shorter name, with the shape of its value."""
    return f"{f'-{flag.short}' if flag.short else f'--{flag.name}'} {flag.metavar}".rstrip()


def flag_lines(flags: Sequence[Flag]) -> list[str]:
    """Return the lines of help for flags, each with its meaning beside it, or below it where there is no room."""
    lines: list[str] = []
    for flag in taken(flags):
        names = f"-{flag.short}, --{flag.name}" if flag.short else f"    --{flag.name}"
        lines += beside(f"  {names} {flag.metavar}", flag.doc)
    return lines


def beside(head: str, text: str) -> list[str]:
    """Return a line of help with its meaning beside it, or below it where there is no room."""
    return [head.ljust(44) + text] if len(head) < 44 else [head, " " * 44 + text]


def parse_flags(argv: Sequence[str], table: Sequence[Flag], *, mixed: bool = True) -> ParsedFlags:
    """Sort `argv` by the table, with the syntax of Docker's command line (`--a=b`, `--a b`, `-ab`, `-qt x`).

    Unless `mixed`, everything from the first argument on is an argument, as for a command to run. Raises `UsageError`
    for an unknown flag (with the nearest one), a missing value or a bad choice.
    """
    by_name = {flag.name: flag for flag in table}
    by_short = {flag.short: flag for flag in table if flag.short}
    parsed = ParsedFlags({}, [])
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            parsed.arguments += words
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flag = by_name.get(name)
            if flag is None:
                raise MisreadError(f"Unknown flag --{name}.", hint=_known(name, [flag.name for flag in taken(table)]))
            _take(parsed, flag, f"--{name}", value if equals else None, words)
        elif word.startswith("-") and len(word) > 1:
            _take_short(parsed, by_short, word[1:], words)
        else:
            parsed.arguments.append(word)
            if not mixed:
                parsed.arguments += words
                break
    return parsed


_FEW = 6
"""The most flags that an error lists."""


def _known(name: str, names: Sequence[str]) -> str:
    """Return a hint with the flag that was probably meant, or with all flags when they are few."""
    suggestion = nearest(name, names)
    if suggestion:
        return f"Did you mean --{suggestion}?"
    if not names:
        return "It takes no flags."
    return f"It takes {', '.join(f'--{known}' for known in names)}." if len(names) <= _FEW else ""


def _take_short(parsed: ParsedFlags, by_short: dict[str, Flag], letters: str, words: list[str]) -> None:
    while letters:
        flag = by_short.get(letters[0])
        if flag is None:
            known = ", ".join(f"-{flag.short}" for flag in taken(by_short.values()))
            hint = f"The short flags are {known}." if known else "It takes no short flags."
            raise MisreadError(f"Unknown flag -{letters[0]}.", hint=hint)
        rest = letters[1:]
        if flag.kind is Kind.BOOL and not rest.startswith("="):
            _take(parsed, flag, f"-{flag.short}", None, words)
            letters = rest
        else:
            _take(parsed, flag, f"-{flag.short}", rest.removeprefix("=") if rest else None, words)
            return


def _take(parsed: ParsedFlags, flag: Flag, spelling: str, value: str | None, words: list[str]) -> None:
    if value is None:
        if flag.kind is Kind.BOOL:
            value = "true"
        elif not words:
            raise MisreadError(f"{spelling} needs a value: {flag.metavar}.")
        else:
            value = words.pop(0)
    flag.check(value, spelling)
    parsed.values.setdefault(flag.name, []).append(value)
