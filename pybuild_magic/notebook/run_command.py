"""`%build run` and `%%build run`: run a process, or the cell as a script, with its output in the cell."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UsageError
from ..portable import split_words
from ..request.flags import ParsedFlags
from ..run import BackgroundRun, RunOptions, RunResult, run_with, start_with
from ..run.flags import FLAGS
from ..run.options import input_of, options_of_flags
from .command import command

_VARIABLE = re.compile(r"(?<!\S)\$([A-Za-z_]\w*)(?!\S)")
_MARK = "pybuild-value-"

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


def run_line(line: str, cell: str | None, names: Mapping[str, Any], expand: Callable[[str], str]) -> Run:
    """Run the process that the line describes; `$name` in it may be any value. Return the result. Raises BuildError."""
    values: list[Any] = []

    def keep(match: re.Match[str]) -> str:
        if match[1] not in names:
            return match[0]
        values.append(names[match[1]])
        return f"{_MARK}{len(values) - 1}"

    try:
        words = split_words(expand(_VARIABLE.sub(keep, line)))
    except ValueError as error:
        raise UsageError(f"The line cannot be split into words: {error}.", hint="Check its quotes.") from None
    stdin: dict[str, Any] = {}
    for number, word in enumerate(words):
        if word.startswith(_MARK) and number and words[number - 1] == "--stdin":
            stdin = {"stdin": input_of(values[int(word.removeprefix(_MARK))])}
    flags = run.parse(words, "%build run")
    if not stdin and _VARIABLE.fullmatch(name := flags.last("stdin")):
        raise UsageError(f"There is no variable {name.removeprefix('$')} for --stdin.", hint="Set it in a cell before.")
    options, rest = options_of_flags(flags, **stdin), flags.arguments
    if options.interactive and options.stdin is None and not options.detach:
        raise UsageError("A cell has nothing to type into.", hint="Give the process its input with --stdin $variable.")
    expanded = [values[int(word.removeprefix(_MARK))] if word.startswith(_MARK) else word for word in rest]
    return run_or_start(expanded[0], tuple(map(str, expanded[1:])), options, cell)


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
