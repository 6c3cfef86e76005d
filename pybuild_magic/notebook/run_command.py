"""`%build run` and `%%build run`: run a process, or the cell as a script, with its output in the cell."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..errors import UsageError
from ..portable import split_words
from ..request.flags import ParsedFlags
from ..run import BackgroundRun, RunOptions, RunResult, run_with, start_with
from ..run.flags import FLAGS
from ..run.options import input_of, options_of_flags
from .command import Command, command

_VARIABLE = re.compile(r"(?<!\S)\$([A-Za-z_]\w*)(?!\S)")
_INPUT = re.compile(
    r"""(?<!\S)(--stdin(?:=|\s+))\$([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*|\[(?:-?\d+|"[^"]*"|'[^']*')\])*)(?!\S)"""
)
_STEP = re.compile(r"\.(\w+)|\[([^\]]+)\]")
_MARK = "pybuild-value-"
_MARKED = re.compile(rf"{_MARK}(\d+)")

Run = RunResult | BackgroundRun


@command(
    "run",
    "REF [COMMAND...]",
    takes="an image, and a command",
    hint="For example: %build run busybox echo hello",
    names=("image", "failed", "file"),
    flags=FLAGS,
    with_command=True,
    forms={
        "%build run [FLAGS] REF [COMMAND...]": "run a process on an image, as docker run does",
        "%%build run [FLAGS] REF [ARGUMENTS...]": "run the cell as a script on it",
    },
    notes="REF is an image in the store or in a registry, the path of a layout or an archive, or $name, a result.",
)
def run(flags: ParsedFlags) -> Run:
    """Run a process on an image, as docker run does."""
    name, *rest = flags.arguments
    return run_or_start(name, tuple(rest), options_of_flags(flags))


class _Path(msgspec.Struct, frozen=True):
    """`$name` after `--stdin`, with a path to a part of the value: `.member`, `[0]` or `["key"]`."""

    name: str
    path: str
    names: Mapping[str, Any]

    def __str__(self) -> str:
        """Return it as a word of a command, which has a flag of its own with the name."""
        try:
            return str(self.value())
        except UsageError:
            return f"${self.name}{self.path}"

    def value(self) -> Any:
        """Return the value. Raises UsageError when there is none."""
        if self.name not in self.names:
            raise UsageError(f"There is no variable {self.name} for --stdin.", hint="Set it in a cell before.")
        value = self.names[self.name]
        for step in _STEP.finditer(self.path):
            try:
                key = step[2] or ""
                quoted = key[:1] in "\"'" and len(key) > 1
                value = getattr(value, step[1]) if step[1] else value[key[1:-1] if quoted else int(key)]
            except (AttributeError, LookupError, TypeError, ValueError):
                before = f"{self.name}{self.path[: step.start()]}"
                raise UsageError(f"--stdin: there is no {step[0]} in {before}.") from None
        return value


def run_line(
    command: Command, line: str, cell: str | None, names: Mapping[str, Any], expand: Callable[[str], str]
) -> Any:
    """Do what a line of `run` or `exec` says; `$name` in it may be any value. Return the result. Raises BuildError."""
    values: list[Any] = []

    def mark(value: Any) -> str:
        values.append(value)
        return f"{_MARK}{len(values) - 1}"

    def input_at(match: re.Match[str]) -> str:
        return f"{match[1]}{mark(_Path(match[2], match[3], names))}"

    def text_at(match: re.Match[str]) -> str:
        return str(values[int(match[1])])

    def keep(match: re.Match[str]) -> str:
        return mark(names[match[1]]) if match[1] in names else match[0]

    try:
        # The input first: it may be large, and its words are not words of the line.
        words = split_words(expand(_VARIABLE.sub(keep, _INPUT.sub(input_at, line))))
    except ValueError as error:
        raise UsageError(f"The line cannot be split into words: {error}.", hint="Check its quotes.") from None
    flags = command.parse(words, f"%build {command.name}")
    stdin = _MARKED.fullmatch(flags.last("stdin"))
    given = {"stdin": input_of(values[int(stdin[1])].value())} if stdin else {}
    options = options_of_flags(flags, **given)
    if options.interactive and options.stdin is None and not options.detach:
        hint = "Give the process its input with --stdin $variable."
        raise UsageError("A cell has nothing to type into.", hint=hint)
    first, *rest = (_MARKED.sub(text_at, word) for word in flags.arguments)
    if command is run:
        ref = _MARKED.fullmatch(flags.arguments[0])
        return run_or_start(values[int(ref[1])] if ref else first, tuple(rest), options, cell)
    if cell is not None:
        raise UsageError(
            "%build exec takes no cell.", hint="Give it the text with --stdin: exec --stdin $script NAME sh"
        )
    return enter(first, tuple(rest), options)


def enter(name: str, command: tuple[str, ...], options: RunOptions) -> RunResult:
    """Run another process in a background run to its end, with its output in the cell."""
    from ..run.background import find_run

    return find_run(name).entered(command, options).captured(Writer())


def run_or_start(ref: Any, command: tuple[str, ...], options: RunOptions, script: str | None = None) -> Run:
    """Run a process to its end, with its output in the cell, or start it in the background."""
    if options.detach:
        return start_with(ref, command, options, script)
    return run_with(ref, command, options, Writer(), script)


class Writer:
    """Writes the output of a process to the standard streams of the cell, without splitting characters."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {1: decoder("replace"), 2: decoder("replace")}

    def __call__(self, stream: int, data: bytes) -> None:
        """Write the next bytes of a stream."""
        target = sys.stdout if stream == 1 else sys.stderr
        target.write(self._decoders[stream].decode(data))
        target.flush()
