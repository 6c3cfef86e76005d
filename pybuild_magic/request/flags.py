"""The syntax of flags on Docker's command lines, for any table of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from ..errors import UsageError, nearest
from ..golang.parsebool import parse_bool


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

    def check(self, value: str, shown: str) -> None:
        """Raise `UsageError` naming `shown` for a value that the flag does not take."""
        if self.kind is Kind.BOOL:
            truth(value, shown)
        if self.choices and value not in self.choices:
            near = nearest(value, self.choices)
            raise UsageError(
                f"{shown} {value!r} is not known; it takes {', '.join(self.choices)}.",
                hint=f"Did you mean {near}?" if near else "",
            )


def truth(value: str, what: str) -> bool:
    """Return the boolean that `value` spells. Raises `UsageError` naming `what`."""
    answer = parse_bool(value)
    if answer is None:
        raise UsageError(f"{what} is true or false, not {value!r}.")
    return answer


class ParsedFlags(msgspec.Struct):
    """The words of a command line, sorted: the values of each flag by its long name, in order, and the arguments."""

    values: dict[str, list[str]]
    arguments: list[str]

    def on(self, name: str) -> bool:
        """Return whether a boolean flag is on: its last value counts. Raises `UsageError`."""
        return truth((self.values.get(name) or ["false"])[-1], f"--{name}")


def flag_lines(flags: Sequence[Flag]) -> list[str]:
    """Return the lines of help for flags, each with its meaning beside it, or below it where there is no room."""
    lines: list[str] = []
    for flag in flags:
        names = f"-{flag.short}, --{flag.name}" if flag.short else f"    --{flag.name}"
        head = f"  {names} {flag.metavar}"
        lines.append(head.ljust(44) + flag.doc if len(head) < 44 else f"{head}\n{'':44}{flag.doc}")
    return lines


def parse_flags(argv: Sequence[str], table: Sequence[Flag], *, mixed: bool = True) -> ParsedFlags:
    """Sort `argv` by the table, with the syntax of Docker's command line (`--a=b`, `--a b`, `-ab`, `-qt x`).

    Unless `mixed`, all is an argument from the first argument on, as where a command follows. Raises `UsageError` for
    an unknown flag (with the nearest one), a missing value or a bad choice.
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
                near = nearest(name, list(by_name))
                raise UsageError(f"Unknown flag --{name}.", hint=f"Did you mean --{near}?" if near else "")
            _take(parsed, flag, f"--{name}", value if equals else None, words)
        elif word.startswith("-") and len(word) > 1:
            _take_short(parsed, by_short, word[1:], words)
        else:
            parsed.arguments.append(word)
            if not mixed:
                parsed.arguments += words
                break
    return parsed


def _take_short(parsed: ParsedFlags, by_short: dict[str, Flag], letters: str, words: list[str]) -> None:
    while letters:
        flag = by_short.get(letters[0])
        if flag is None:
            known = ", ".join(f"-{short}" for short in by_short)
            raise UsageError(f"Unknown flag -{letters[0]}.", hint=f"The short flags are {known}.")
        rest = letters[1:]
        if flag.kind is Kind.BOOL and not rest.startswith("="):
            _take(parsed, flag, f"-{flag.short}", None, words)
            letters = rest
        else:
            _take(parsed, flag, f"-{flag.short}", rest.removeprefix("=") if rest else None, words)
            return


def _take(parsed: ParsedFlags, flag: Flag, shown: str, value: str | None, words: list[str]) -> None:
    if value is None:
        if flag.kind is Kind.BOOL:
            value = "true"
        elif not words:
            raise UsageError(f"{shown} needs a value: {flag.metavar}.")
        else:
            value = words.pop(0)
    flag.check(value, shown)
    parsed.values.setdefault(flag.name, []).append(value)
