"""The docker command that means the same as a build: for people to read, to copy and to run."""

from __future__ import annotations

import shlex

import msgspec

from ..untrusted.printable import visible
from ..untrusted.redaction import redact, redact_url
from .flags import Kind
from .lockfile import VARIABLE, lock_path
from .options import BuildOptions, Context
from .parts import default_outputs
from .table import OPTIONS, Option

_PLACES = {"builder": 0, "tag": 1, "output": 2, "file": 4}
"""The positions of options that people write first or last; all others are in between, at 3."""
_DICT = "context"
"""The directory that stands for a dict in the command."""
_NAMED = 5
"""The most files of a dict that are named above the command."""


def equivalent_command(options: BuildOptions) -> str:
    """Return the `docker buildx build` command that means the same; credentials are left out."""
    # The default output depends on the builder, so the command names it.
    effective = msgspec.structs.replace(options, outputs=default_outputs(options, "embedded"))
    written = sorted(OPTIONS, key=lambda option: _PLACES.get(option.name, 3))
    words = [word for option in written for word in _words(option, effective)]
    context, note = _context(options.context)
    heredoc = ""
    if options.dockerfile is not None:
        end = "DOCKERFILE"
        while end in options.dockerfile:
            end += "_"
        words += ["-"] if context == "-" else ["-f", "-", context]
        heredoc = f" <<'{end}'\n{options.dockerfile.rstrip()}\n{end}"
    else:
        words.append(context)
    policy = f"{VARIABLE}={shlex.quote(str(lock_path(options)))} " if options.locked else ""
    return redact(f"{note}{policy}docker buildx build {shlex.join(words)}{heredoc}")


def _words(option: Option, options: BuildOptions) -> list[str]:
    flag = f"-{option.short}" if option.short else f"--{option.name}"
    values = option.show(getattr(options, option.field))
    if option.kind is Kind.BOOL:
        return [flag for _ in values]
    return [word for value in values for word in (flag, value)]


def _context(context: Context) -> tuple[str, str]:
    """Return a context as the command names it, and a line on what to do before running it."""
    if isinstance(context, str):
        return redact_url(context), ""
    if context is None:
        return ".", ""
    names = [shlex.quote(name) for name in list(context)[:_NAMED]]
    omitted = len(context) - len(names)
    listed = ", ".join(visible(name) for name in names) + (f" and {omitted:,} more" if omitted else "")
    files = f"the file of the dict ({listed})" if len(context) == 1 else f"the files of the dict ({listed})"
    return _DICT, f"# First write {files} to a directory named {_DICT}.\n" if context else f"# First: mkdir {_DICT}\n"
