"""The source policies that apply to a build: the environment's, and the lock beside its Dockerfile."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import BuildError, ContextError
from ..llb.sourcepolicy import SourcePolicy, decode, merged
from ..portable import kind_of, user_path
from ..request.lockfile import VARIABLE, lock_path
from ..request.options import BuildOptions


def source_policy(options: BuildOptions, environ: Mapping[str, str] = os.environ) -> SourcePolicy | None:
    """Read the policies that apply to a build: the environment's, and its lock. Raises UsageError, ContextError."""
    named = environ.get(VARIABLE, "")
    policies: list[SourcePolicy] = []
    if named:
        policies.append(_read(user_path(named), VARIABLE))
    if options.locked:
        path = lock_path(options)
        if not kind_of(path):
            raise ContextError(f"The lock {path} does not exist.", hint="Write it with %build lock.")
        policies.append(lock := _read(path, "--locked"))
        if not any(rule.action == "DENY" for rule in lock.rules):
            raise ContextError(f"{path} locks nothing: it denies no source.", hint="Write it again with %build lock.")
    return merged(*policies)


def _read(path: Path, reason: str) -> SourcePolicy:
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise ContextError(f"{path}, which {reason} asks for, cannot be read: {error.strerror or error}.") from error


def explained(error: BuildError, options: BuildOptions) -> BuildError:
    """Add to an error that a stale lock is the cause."""
    if options.locked and "denied by policy" in error.message:
        error.hint = f"{lock_path(options).name} is stale: this source is not in it. Write it again with %build lock."
    return error
