"""A command of `%build`: the row from which its line is parsed, completed and documented, and its function."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ..display.table import Document
from ..errors import UsageError, nearest
from ..request.flags import Flag, Kind, ParsedFlags, flag_lines, parse_flags, shown_flag, taken

Answer = Callable[[ParsedFlags], Any]


class Syntax(msgspec.Struct, frozen=True, kw_only=True):
    """The line of a command: its flags and its arguments."""

    arguments: str = ""
    """The arguments as help shows them: `[X]` is optional, and `X...` may be repeated."""
    takes: str = ""
    """The same in words, for an error: `one image`."""
    hint: str = ""
    """The hint of that error."""
    names: tuple[str, ...] = ()
    """The kinds of names that the arguments may be: keys of `operands._NAMES`, or `target`, `file` or `folder`."""
    flags: tuple[Flag, ...] = ()
    with_command: bool = False
    """Whether the words after the first argument are a command to run, whose flags are its own."""
    words: Mapping[str, Syntax] = {}
    """The subcommands, by name."""

    @property
    def line(self) -> str:
        """The flags and arguments in the form of a line of help; too many flags become `[FLAGS]`."""
        if self.words and not self.arguments:
            return " | ".join(f"{word} {own.arguments}".rstrip() for word, own in self.words.items())
        flags = " ".join(f"[{shown_flag(flag)}]" for flag in taken(self.flags))
        return f"{flags if len(flags) < 32 else '[FLAGS]'} {self.arguments}".strip()

    def parse(self, words: Sequence[str], command: str) -> ParsedFlags:
        """Sort the words that follow a command; `command` is its name for errors. Raises UsageError."""
        parsed = parse_flags(words, self.flags, mixed=not self.with_command)
        count, shapes = len(parsed.arguments), self.arguments.split()
        least = sum(not shape.startswith("[") for shape in shapes)
        if least <= count and ("..." in self.arguments or count <= len(shapes)):
            return parsed
        if not shapes:
            word = parsed.arguments[0]
            suggestion = nearest(word, list(self.words))
            known = f"It takes {', '.join(self.words)}." if self.words else ""
            raise UsageError(
                f"{command} does not take {word}.", hint=f"Did you mean {suggestion}?" if suggestion else known
            )
        raise UsageError(f"{command} takes {self.takes or self.arguments}.", hint=self.hint)

    def asks_for_help(self, words: Sequence[str]) -> bool:
        """Return whether `--help` is among the words, before any command to run."""
        spellings = {f"--{flag.name}" for flag in self.flags if flag.kind is not Kind.BOOL}
        spellings |= {f"-{flag.short}" for flag in self.flags if flag.kind is not Kind.BOOL and flag.short}
        is_value = False
        for word in words:
            if is_value:
                is_value = False
            elif word == "--help":
                return True
            elif word == "--" or (self.with_command and not word.startswith("-")):
                return False
            else:
                is_value = word in spellings
        return False

    def help_lines(self) -> list[str]:
        """Return the lines of help for the flags, and for those of the subcommands."""
        parts = {"Flags": self} | {f"Flags of {word}": own for word, own in self.words.items()}
        return [line for title, own in parts.items() if own.flags for line in ("", title, *flag_lines(own.flags))]


class Command(Syntax, frozen=True, kw_only=True):
    """A command, which is called with the words of its line."""

    name: str
    answer: Answer
    forms: Mapping[str, str] = {}
    """The lines in which it can be written, each with its purpose; empty when there is only one form."""
    notes: str = ""
    """A sentence of help on its arguments."""

    @property
    def about(self) -> str:
        """The purpose of the command, in a few words."""
        return re.split(r"[.:;](?=\s|$)", self.answer.__doc__ or "")[0]

    def __call__(self, words: Sequence[str] = ()) -> Any:
        """Run the command with the words of its line. Raises BuildError."""
        if self.asks_for_help(words):
            return self.help()
        own = self.words.get(words[0]) if words else None
        if isinstance(own, Command):
            return own(words[1:])
        return self.answer(self.parse(words, f"%build {self.name}"))

    def help(self) -> Document:
        """Return the page of help on the command."""
        forms = self.forms or {f"%build {self.name} {self.line}".rstrip(): self.about}
        lines = [form.ljust(44) + purpose for form, purpose in forms.items()]
        lines += [f"%build {own.name} {own.line}".ljust(44) + own.about for own in _commands(self.words)]
        lines += ["", self.notes] if self.notes else []
        return Document((("", "\n".join([*lines, *self.help_lines()])),))


def _commands(words: Mapping[str, Syntax]) -> list[Command]:
    return [own for own in words.values() if isinstance(own, Command)]


def command(name: str, arguments: str = "", **syntax: Any) -> Callable[[Answer], Command]:
    """Make the decorated function the command `name`; `syntax` are more fields of Command."""

    def decorate(answer: Answer) -> Command:
        return Command(name=name, answer=answer, arguments=arguments, **syntax)

    return decorate
