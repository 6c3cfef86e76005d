"""The path of a Dockerfile's lock, and the variable that tells buildx to use it. Pure."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..portable import user_path
from .options import BuildOptions
from .values import is_remote

VARIABLE = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
"""The environment variable that names a policy for every build, as in buildx."""


def lock_path(options: BuildOptions) -> Path:
    """Return the path of a build's lock: beside its Dockerfile, or in the directory of a cell's context.

    Raises UsageError for a Dockerfile that is fetched, because there is no directory for its lock.
    """
    context = options.context
    remote = isinstance(context, str) and is_remote(context)
    if remote and options.dockerfile is None and not options.file:
        raise UsageError("The Dockerfile is fetched, so there is no place for a lock beside it.", hint="Use -f FILE.")
    root = user_path(context) if isinstance(context, str) and context != "-" and not remote else Path()
    file = user_path(options.file) if options.file else root / "Dockerfile"
    return file.with_name(f"{file.name}.lock")
