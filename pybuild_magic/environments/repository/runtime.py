"""`runtime.txt`, and the choice of Python for an environment."""

from __future__ import annotations

import re
from datetime import date

import msgspec

from ...errors import UsageError

DEFAULT_PYTHON = "3.12"
PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10", "3.9", "3.8", "3.7", "3.6")
"""The versions in which some JupyterLab can be installed."""

_FORM = re.compile(r"([A-Za-z]+)(?:-(\d+(?:\.\d+){0,2}))?(?:-(\d{4}-\d{2}-\d{2}))?")
_HINT = "Write python-3.11, r-4.4-2025-06-01 or r-2025-06-01."


class Runtime(msgspec.Struct, frozen=True):
    """A language, its version, and the date of its packages; "" and None when not given."""

    name: str
    version: str = ""
    day: date | None = None


def parse_runtime(text: str, path: str) -> Runtime:
    """Read a `runtime.txt`: NAME-VERSION, NAME-DATE or NAME-VERSION-DATE. Raises UsageError."""
    text = text.strip()
    match = _FORM.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise UsageError(f"{path} says {text[:60]!r}, which is not a valid runtime.", hint=_HINT)
    name, version, day = match[1].lower(), match[2] or "", match[3]
    if name not in ("python", "r"):
        raise UsageError(f"{path} asks for {name}, but only python and r are supported.", hint=_HINT)
    try:
        return Runtime(name, version, date.fromisoformat(day) if day else None)
    except ValueError:
        raise UsageError(f"{path} has {day}, which is not a valid date.", hint=_HINT) from None


def checked_python(version: str, path: str) -> str:
    """Return a version as `X.Y`, the default of its major version for `X`. Raises UsageError for one too old."""
    major, _, rest = version.partition(".")
    if not rest and major == "3":
        return DEFAULT_PYTHON
    short = ".".join(version.split(".")[:2])
    if short not in PYTHONS and (major != "3" or int(rest.split(".")[0]) < 6):
        raise UsageError(
            f"{path} asks for Python {version}, in which JupyterLab does not run.",
            hint=f"Use {PYTHONS[-1]} or later.",
        )
    return version


def python_for(specifier: str, path: str) -> str:
    """Return a Python version allowed by `requires-python`, preferably the default. Raises UsageError."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        raise UsageError(f"{path} requires Python {specifier[:60]!r}, which is not a version specifier.") from None
    for version in (DEFAULT_PYTHON, *PYTHONS):
        # `>3.11` and `!=3.12.0` concern patch versions, of which an image has a recent one.
        if f"{version}.99" in allowed or version in allowed:
            return version
    raise UsageError(
        f"{path} requires Python {specifier[:60]}, which none of {PYTHONS[0]} to {PYTHONS[-1]} satisfies.",
    )


def allows(specifier: str, version: str) -> bool:
    """Return whether a `requires-python` allows a version, given as `X.Y` or in full."""
    from packaging.specifiers import SpecifierSet

    allowed = SpecifierSet(specifier)
    return version in allowed or (version.count(".") < 2 and f"{version}.99" in allowed)
