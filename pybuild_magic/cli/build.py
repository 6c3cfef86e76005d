"""`pybuild build`: the flags, the progress and the exit codes of `docker buildx build`."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..api.run import Progress, run
from ..cancel import Cancel
from ..display.plain import Plain, RawJson
from ..errors import RunError, UsageError
from ..notebook.bake_command import FLAGS as BAKE_FLAGS
from ..notebook.bake_command import build_targets
from ..notebook.command import Syntax
from ..request.calls import exit_code
from ..request.flags import Flag, ParsedFlags
from ..request.options import BuildOptions
from ..request.parse import options_from
from ..request.table import OPTIONS
from ..temporary import temporary_directory
from ..untrusted.printable import visible
from .messages import tell

PROGRESS = ("auto", "tty", "plain", "rawjson", "quiet", "none")
_OF_NOTEBOOKS = ("background", "into", "view")


def _in_a_terminal(flags: Sequence[Flag]) -> tuple[Flag, ...]:
    """Return the flags that make sense in a terminal, which has other kinds of progress than a notebook."""
    return tuple(
        msgspec.structs.replace(flag, choices=PROGRESS) if flag.name == "progress" else flag
        for flag in flags
        if flag.name not in _OF_NOTEBOOKS
    )


BUILD = Syntax(
    arguments="PATH|URL|-",
    takes="one PATH, URL or - (the Dockerfile is read)",
    hint="For instance: pybuild build .",
    names=("folder",),
    flags=_in_a_terminal(OPTIONS),
)
BAKE = Syntax(arguments="[TARGET...]", names=("target",), flags=_in_a_terminal(BAKE_FLAGS))


def build(flags: ParsedFlags) -> int:
    """Build, and print the image's ID with `-q`. Raises BuildError."""
    progress, flags = _progress(flags)
    dockerfile = None
    if "-" in (flags.arguments[0], *flags.values.get("file", [])):
        # As in buildx, `-f -` reads the Dockerfile from standard input, and a context of `-` is a Dockerfile without
        # files.
        dockerfile = sys.stdin.read()
        flags = msgspec.structs.replace(flags, values={k: v for k, v in flags.values.items() if k != "file"})
    with temporary_directory() as place:
        archive = Path(place, "archive")
        outputs = flags.values.get("output", [])
        flags.values["output"] = [_to_file(value, archive) for value in outputs]
        if flags.values["output"] != outputs and sys.stdout.isatty():
            raise UsageError(
                "An archive cannot be written to a terminal.",
                hint="Redirect it, for instance: pybuild build -o - . > image.tar",
            )
        code = _built(options_from(flags, dockerfile=dockerfile), progress)
        if archive.exists():
            with archive.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
    return code


def _to_file(value: str, archive: Path) -> str:
    """Return an `--output` to standard output that goes to a file first: archives are not written sequentially."""
    if value == "-":
        return f"type=tar,dest={archive}"
    return re.sub(r"(^|,)dest=-(?=,|$)", lambda match: f"{match[1]}dest={archive}", value)


def _built(options: BuildOptions, progress: str) -> int:
    """Build with the given options, and return the exit code."""
    if options.dry_run:
        from ..notebook.commands import dry_run

        print(dry_run(options))
        return 0
    try:
        result = run(options, _display(options, progress), Cancel())
    except RunError as error:
        if options.debug and error.step_ref:
            return _debug(error)
        raise
    if options.call.method != "build":
        from ..display.calls import call_result

        print(call_result(options.call.method, options.call.format, result.metadata["result.json"]))
        return exit_code(result.metadata, ignore_status=options.call.ignore_status)
    if options.quiet:
        print(visible(result.image_id))
    return 0


def bake(flags: ParsedFlags) -> int:
    """Build the targets of Bake files; `--print` and `--list` build nothing. Raises BuildError."""
    progress, flags = _progress(flags)

    def watch(options: BuildOptions, _: Cancel) -> Progress | None:
        return _display(options, progress)

    try:
        answer = build_targets(flags, watch=watch)
    except RunError as error:
        if error.step_ref and flags.on("debug"):
            return _debug(error)
        raise
    print(answer)
    return getattr(answer, "exit_code", 0)


def _progress(flags: ParsedFlags) -> tuple[str, ParsedFlags]:
    """Return the kind of progress, and the flags without it: a build itself knows only those of a notebook."""
    mode = flags.last("progress") or os.environ.get("BUILDKIT_PROGRESS") or "auto"
    if mode not in PROGRESS:
        raise UsageError(f"BUILDKIT_PROGRESS {mode!r} is not known; use one of {', '.join(PROGRESS)}.")
    values = {name: words for name, words in flags.values.items() if name != "progress"}
    return mode, ParsedFlags(values, flags.arguments)


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
    """Open a shell in the state of the failed step, as buildx's `--invoke=on-error` does; the build still counts as
    failed.
    """
    from .run import run as run_line

    tell(error.render())
    tell("This shell runs where the step failed; leave it with exit.")
    run_line(["-i", *(["-t"] if sys.stdin.isatty() else []), "@failed"])
    return 1
