"""The flags of `%build env` and `%build test`, and the options that they mean."""

from __future__ import annotations

import math
import os
import re

import msgspec

from ..errors import UsageError
from ..request.flags import Flag, Kind, ParsedFlags
from ..request.rows import Parse, Row, RowInput, defaults_of, last_word, read_fields, row
from ..run.flags import ROWS as RUN_FLAGS
from ..run.options import RunOptions, options_of_flags

LOCKS = ("requirements.txt", "pylock.toml")
"""The forms of a lock; the first is the default."""


class FreezeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What of an environment goes into an image, and how; names are those of the flags."""

    name: str = "env"
    only_imports: bool = False
    notebook: tuple[str, ...] = ()
    installer: str = ""
    """`pip`, `uv` or `conda`; "" for what installed most of what is there."""
    base: str = ""
    python: str = ""
    platform: str = ""
    apt: tuple[str, ...] = ()
    hashes: bool = True
    lock: str = "requirements.txt"
    """One of `LOCKS`."""
    write: str = ""


class TestOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How notebooks are run and compared; `run` has what of the machine their kernel sees beside them."""

    __test__ = False

    image: str = ""
    lax: bool = False
    sanitize_with: str = ""
    junit: str = ""
    timeout: float = 600
    """Seconds for a cell."""
    run: RunOptions = RunOptions()


def _installer(name: str) -> Parse:
    def parse(source: RowInput) -> str:
        if not source.on:
            return source.field
        if source.field:
            raise UsageError(f"--{source.field} and --{name} exclude each other.")
        return name

    return parse


def _packages(source: RowInput) -> tuple[str, ...]:
    return tuple(name for word in source.words for name in re.split(r"[\s,]+", word) if name)


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise UsageError(f"--timeout {value} is not a number of seconds above zero.")
    return seconds


_BOOL, _ONE, _MANY = Kind.BOOL, Kind.ONE, Kind.MANY

FREEZE_FLAGS: tuple[Row, ...] = (
    row("apt", _MANY, "PKG", "Additional Debian packages, separated by commas", parse=_packages),
    row("base", _ONE, "IMAGE", "The base image; by default python:X.Y-slim"),
    row("conda", _BOOL, "", "Install with micromamba what conda installed here", "installer", _installer("conda")),
    row("lock", _ONE, "FILE", "The form of the lock: requirements.txt, the default, or pylock.toml", choices=LOCKS),
    row("no-hashes", _BOOL, "", "Lock only versions, without the digests of files", "hashes",
        lambda source: not source.on),
    row("notebook", _MANY, "NB.ipynb", "Keep only what this notebook or script imports, and its dependencies"),
    row("only-imports", _BOOL, "", "Keep only what the code of this notebook imports, and its dependencies"),
    row("pip", _BOOL, "", "Install with pip", "installer", _installer("pip")),
    row("platform", _ONE, "OS/ARCH", "The platform of the image; by default this machine's"),
    row("python", _ONE, "X.Y", "The version of Python; by default this one's"),
    row("uv", _BOOL, "", "Install with uv", "installer", _installer("uv")),
    row("write", _ONE, "DIR", "Also write the Dockerfile and its files to a directory"),
)  # fmt: skip
"""The flags of `%build env`."""
_OWN: tuple[Row, ...] = (
    row("in", _ONE, "REF", "The image whose kernel runs them", "image"),
    row("junit", _ONE, "FILE", "Write the results as JUnit XML, for CI"),
    row("lax", _BOOL, "", "Compare only cells marked # NBVAL_CHECK_OUTPUT"),
    row("sanitize-with", _ONE, "FILE", "Replacements to make before comparing, in nbval's format"),
    row("timeout", _ONE, "SECONDS", "Time limit of a cell", parse=last_word(_seconds)),
)
_OF_RUNS = ("env", "env-file", "mount", "network", "platform", "tmpfs", "volume", "memory", "cpus")
TEST_FLAGS: tuple[Flag, ...] = (*_OWN, *(flag for flag in RUN_FLAGS if flag.name in _OF_RUNS))
"""The flags of `%build test`: its own, and those of `%build run` that a kernel has."""


def freeze_options_of(flags: ParsedFlags) -> FreezeOptions:
    """Return the options that flags, and the name among their arguments, mean. Raises UsageError."""
    fields = read_fields(FREEZE_FLAGS, flags.values, defaults_of(FreezeOptions), os.environ)
    if flags.arguments:
        fields["name"] = flags.arguments[0]
    return FreezeOptions(**fields)


def test_options_of(flags: ParsedFlags) -> TestOptions:
    """Return the options that flags mean. Raises UsageError."""
    fields = read_fields(_OWN, flags.values, defaults_of(TestOptions), os.environ)
    return TestOptions(**fields, run=options_of_flags(flags))
