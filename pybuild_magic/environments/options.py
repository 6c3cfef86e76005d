"""The flags of `%build env` and `%build test`, and the options that they mean."""

from __future__ import annotations

import re

import msgspec

from ..errors import UsageError
from ..request.flags import Flag, Kind, ParsedFlags, truth
from ..run.options import FLAGS as RUN_FLAGS
from ..run.options import RunOptions, options_of_flags

FREEZE_FLAGS: tuple[Flag, ...] = (
    Flag("apt", Kind.MANY, "PKG", "More Debian packages, with commas between them"),
    Flag("base", Kind.ONE, "IMAGE", "The image to begin with; by default python:X.Y-slim"),
    Flag("conda", Kind.BOOL, "", "Install by micromamba what conda has installed here"),
    Flag("no-hashes", Kind.BOOL, "", "Lock versions alone, without the digests of files"),
    Flag("notebook", Kind.MANY, "NB.ipynb", "Keep what this notebook or script imports, with what that needs"),
    Flag("only-imports", Kind.BOOL, "", "Keep what the code of this notebook imports, with what that needs"),
    Flag("pip", Kind.BOOL, "", "Install by pip"),
    Flag("platform", Kind.ONE, "OS/ARCH", "The platform of the image; by default this machine's"),
    Flag("python", Kind.ONE, "X.Y", "The version of Python; by default this one's"),
    Flag("uv", Kind.BOOL, "", "Install by uv"),
    Flag("write", Kind.ONE, "DIR", "Write the Dockerfile and its files to a directory, too"),
)
"""What `%build env` takes."""
_OWN = (
    Flag("in", Kind.ONE, "REF", "The image whose kernel runs them"),
    Flag("junit", Kind.ONE, "FILE", "Write the results as JUnit XML, for CI"),
    Flag("lax", Kind.BOOL, "", "Compare only cells that say # NBVAL_CHECK_OUTPUT"),
    Flag("sanitize-with", Kind.ONE, "FILE", "Replacements in what is compared, as nbval reads them"),
    Flag("timeout", Kind.ONE, "SECONDS", "How long a cell may take"),
)
_OF_RUNS = ("env", "env-file", "mount", "network", "platform", "tmpfs", "volume", "memory", "cpus")
TEST_FLAGS: tuple[Flag, ...] = (*_OWN, *(flag for flag in RUN_FLAGS if flag.name in _OF_RUNS))
"""What `%build test` takes."""


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


def freeze_options_of(parsed: ParsedFlags) -> FreezeOptions:
    """Return the options that flags mean. Raises UsageError."""
    values = parsed.values

    def given(name: str) -> bool:
        return name in values and truth(values[name][-1], f"--{name}")

    if len(parsed.arguments) > 1:
        raise UsageError("%build env takes one name, which is the image's.", hint="Such as: %build env analysis:1")
    installers = [name for name in ("conda", "pip", "uv") if given(name)]
    if len(installers) > 1:
        raise UsageError(f"--{installers[0]} and --{installers[1]} exclude each other.")
    packages = [word for value in values.get("apt", ()) for word in re.split(r"[\s,]+", value) if word]
    return FreezeOptions(
        name=parsed.arguments[0] if parsed.arguments else "env",
        only_imports=given("only-imports"),
        notebook=tuple(values.get("notebook", ())),
        installer=installers[0] if installers else "",
        base=values.get("base", [""])[-1],
        python=values.get("python", [""])[-1],
        platform=values.get("platform", [""])[-1],
        apt=tuple(packages),
        hashes=not given("no-hashes"),
        write=values.get("write", [""])[-1],
    )


def test_options_of(parsed: ParsedFlags) -> tuple[list[str], TestOptions]:
    """Return the notebooks and the options that flags mean. Raises UsageError."""
    values = parsed.values

    def last(name: str) -> str:
        return values[name][-1] if name in values else ""

    own = {flag.name for flag in _OWN}
    try:
        timeout = float(last("timeout") or 600)
    except ValueError:
        raise UsageError(f"--timeout {last('timeout')} is no number of seconds.") from None
    return parsed.arguments, TestOptions(
        image=last("in"),
        lax=bool(last("lax")) and truth(last("lax"), "--lax"),
        sanitize_with=last("sanitize-with"),
        junit=last("junit"),
        timeout=timeout,
        run=options_of_flags(ParsedFlags({name: words for name, words in values.items() if name not in own}, [])),
    )
