"""The environment of a notebook in R or Julia, from the lock of its language, as in a repository."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import UsageError
from ..portable import user_path
from ..session import MemorySource
from .frozen import Frozen
from .imports import notebook_of
from .kernel_dockerfile import fixed_times
from .options import FreezeOptions
from .repository.compiled import compile_repository
from .repository.files import OnDisk, RepositoryFiles

_LOCKS: Mapping[str, tuple[str, ...]] = {
    "r": ("renv.lock",),
    "julia": ("Manifest.toml", "Project.toml"),
}
"""By language, the required files, the lock first."""
_HINTS = {"r": "renv::snapshot() writes it.", "julia": "Pkg.resolve() writes it, in the project of the notebook."}


def language_of(path: Path) -> str:
    """Return the language of a notebook in lower case; `python` when it does not say, or is not a notebook.

    Raises UsageError for an unreadable file.
    """
    if path.suffix != ".ipynb":
        return "python"
    try:
        metadata: object = notebook_of(path.read_text("utf-8"), path).get("metadata")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise UsageError(f"The notebook {path} cannot be read: {reason}.") from None
    for table, key in (("kernelspec", "language"), ("language_info", "name")):
        language = _entry(_entry(metadata, table), key)
        if isinstance(language, str) and language:
            return language.lower()
    return "python"


def freeze_by_lock(options: FreezeOptions) -> Frozen | None:
    """Return the environment of a notebook in another language; None when all notebooks are in Python.

    Raises UsageError for an unsupported language, and for a notebook without its lock beside it.
    """
    others = [(user_path(name), language) for name in options.notebook if _is_other(language := _language(name))]
    if not others:
        return None
    path, language = others[0]
    if len(options.notebook) > 1:
        raise UsageError(f"{path} is a notebook in another language than Python.", hint="Freeze it separately.")
    if language not in _LOCKS:
        raise UsageError(f"{path} is a notebook in {language}, which is not supported.")
    files: dict[str, str | bytes] = {
        name: (path.parent / name).read_bytes() for name in _LOCKS[language] if (path.parent / name).is_file()
    }
    lacking = [name for name in _LOCKS[language] if name not in files]
    if lacking:
        raise UsageError(
            f"{path.name} is a notebook in {language.title()}, but {lacking[0]} is missing beside it.",
            hint=_HINTS[language],
        )
    compiled = compile_repository(RepositoryFiles(OnDisk(MemorySource(files))), options.base)
    frozen = Frozen(
        options.name,
        compiled.dockerfile,
        files,
        fixed_times(options),
        {},
        tuple(f"{finding.path}: {finding.why}." for finding in compiled.findings),
    )
    if options.write:
        frozen.write(options.write)
    return frozen


def _language(name: str) -> str:
    return language_of(user_path(name))


def _is_other(language: str) -> bool:
    return not language.startswith(("python", "ipython"))


def _entry(value: object, key: str) -> object:
    return cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
