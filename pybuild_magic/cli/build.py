"""`pybuild build`: the flags, the progress and the exit codes of `docker buildx build`."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..api.run import Progress, run
from ..cancel import Cancel
from ..display.plain import Plain, RawJson
from ..errors import RunError, UsageError
from ..request.flags import parse_flags
from ..request.options import BuildOptions
from ..request.parse import options_from
from ..request.table import OPTIONS
from ..untrusted.printable import visible
from . import SyntaxUsageError, tell

PROGRESS = ("auto", "tty", "plain", "rawjson", "quiet", "none")


def build(words: Sequence[str]) -> int:
    """Build, and print the image's ID with `-q`. Raises BuildError."""
    progress, words = _progress(words)
    try:
        flags = parse_flags(words, OPTIONS)
    except UsageError as error:
        raise SyntaxUsageError(error.message, hint=error.hint) from None
    if len(flags.arguments) != 1:
        raise UsageError("pybuild build takes one PATH, URL or - (the Dockerfile is read).", hint="Such as: build .")
    dockerfile = None
    if "-" in (flags.arguments[0], *flags.values.get("file", [])):
        # As with buildx: `-f -` is the Dockerfile, and as the context it is that with nothing beside it.
        dockerfile = sys.stdin.read()
        flags = msgspec.structs.replace(flags, values={k: v for k, v in flags.values.items() if k != "file"})
    with tempfile.TemporaryDirectory(prefix="pybuild-") as place:
        archive = Path(place, "archive")
        outputs = flags.values.get("output", [])
        flags.values["output"] = [_to_file(value, archive) for value in outputs]
        if flags.values["output"] != outputs and sys.stdout.isatty():
            raise UsageError("An archive is not written to a terminal.", hint="Such as: build -o - . > image.tar")
        code = _built(options_from(flags, dockerfile=dockerfile), progress)
        if archive.exists():
            with archive.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
    return code


def _to_file(value: str, archive: Path) -> str:
    """An `--output` that goes to standard output, sent to a file first: archives are not written in one go."""
    if value == "-":
        return f"type=tar,dest={archive}"
    return re.sub(r"(^|,)dest=-(?=,|$)", lambda match: f"{match[1]}dest={archive}", value)


def _built(options: BuildOptions, progress: str) -> int:
    """Build what the options say; returns the exit code."""
    if options.background or options.into:
        raise UsageError("--background and --into are of a notebook.", hint="A shell has & for that.")
    if options.dry_run:
        from ..notebook.commands import dry_run

        print(dry_run(options))
        return 0
    try:
        result = run(options, _display(options, progress), Cancel())
    except RunError as error:
        if options.debug and error.kept:
            return _debug(error)
        raise
    if options.call.method != "build":
        from ..display.calls import call_result

        print(call_result(options.call.method, options.call.format, result.metadata["result.json"]))
    elif options.quiet:
        print(visible(result.image_id))
    return 0


def bake(words: Sequence[str]) -> int:
    """Build the targets of Bake files; `--print` and `--list` build nothing. Raises BuildError."""
    from ..notebook.bake_command import bake_line

    progress, words = _progress(words)

    def show(options: BuildOptions, _: Cancel) -> Progress | None:
        return _display(options, progress)

    print(bake_line(words, show=show))
    return 0


def _progress(words: Sequence[str]) -> tuple[str, list[str]]:
    """Return the value of `--progress`, and the other words: a terminal has other kinds of it than a notebook."""
    mode, rest, todo = os.environ.get("BUILDKIT_PROGRESS") or "auto", list[str](), list(words)
    while todo:
        word = todo.pop(0)
        name, equals, value = word.partition("=")
        if name != "--progress":
            rest.append(word)
        elif equals or todo:
            mode = value if equals else todo.pop(0)
        else:
            raise UsageError("--progress needs a value: MODE.")
    if mode not in PROGRESS:
        raise UsageError(f"--progress {mode!r} is not known; it takes {', '.join(PROGRESS)}.")
    return mode, rest


def _display(options: BuildOptions, mode: str) -> Progress | None:
    if options.quiet or mode in ("quiet", "none") or options.call.method != "build":
        return None
    if mode == "rawjson":
        return RawJson(sys.stderr.write)
    if mode == "tty" or (mode == "auto" and sys.stderr.isatty()):
        from ..display.screen import Screen

        return Screen(sys.stderr)
    return Plain(sys.stderr.write)


def _debug(error: RunError) -> int:
    """Open what the failed step left, as buildx's `--invoke=on-error` does; the build has failed all the same."""
    from .run import run as run_line

    tell(error.render())
    tell("A shell where the step failed; its end ends this.")
    run_line(["-i", *(["-t"] if sys.stdin.isatty() else []), "@failed"])
    return 1
