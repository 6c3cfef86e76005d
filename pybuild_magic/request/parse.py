"""From a command line, or from keyword arguments, to BuildOptions: both by the table, so that both mean the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from ..errors import UsageError
from .flags import ParsedFlags, parse_flags
from .options import BuildOptions, Context
from .rows import defaults_of, read_fields
from .table import OPTIONS

DEFAULTS = defaults_of(BuildOptions)
"""The value that each field has when nothing sets it."""


def parse_options(
    argv: Sequence[str],
    *,
    dockerfile: str | None = None,
    context: Context = None,
    environ: Mapping[str, str] | None = None,
) -> BuildOptions:
    """Read the words of a `%%build` line, or of `docker buildx build`.

    `context` is used when no argument names one. `environ` (default: the process's) has the variables that options
    refer to, as `--build-arg NAME` does. Raises `UsageError` with the nearest valid flag, type or value.
    """
    return options_from(parse_flags(argv, OPTIONS), dockerfile=dockerfile, context=context, environ=environ)


def options_from(
    flags: ParsedFlags,
    *,
    dockerfile: str | None = None,
    context: Context = None,
    environ: Mapping[str, str] | None = None,
) -> BuildOptions:
    """Read flags that are sorted already, as `parse_options` does."""
    environ = os.environ if environ is None else environ
    if len(flags.arguments) + isinstance(context, Mapping) > 1:
        extra = " ".join(flags.arguments[0 if isinstance(context, Mapping) else 1 :])
        raise UsageError(f"A build takes one context, but was given more: {extra}.", hint="Quote names with spaces.")
    fields = read_fields(OPTIONS, flags.values, DEFAULTS, environ)
    options = BuildOptions(dockerfile=dockerfile, context=flags.arguments[0] if flags.arguments else context, **fields)
    if dockerfile is not None and options.file:
        raise UsageError(
            "The cell is the Dockerfile, so --file has no meaning here.",
            hint=f"Use %build -f {options.file} on a line.",
        )
    return options


def flags_of(arguments: Mapping[str, object]) -> ParsedFlags:
    """Sort keyword arguments by the table, as if a command line had given them as words.

    None and empty values count as not given. Raises `UsageError` for a value that the flag does not take.
    """
    parsed = ParsedFlags({}, [])
    for option in OPTIONS:
        for word in _words(arguments.get(option.argument)):
            option.check(word, f"--{option.name}")
            parsed.values.setdefault(option.name, []).append(word)
    return parsed


def _words(value: object) -> list[str]:
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return [f"{name}" if text is None else f"{name}={text}" for name, text in pairs.items()]
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [str(word) for word in cast("Iterable[object]", value)]
    return [] if value is None or value == "" else [str(value)]
