"""Where the lock of a Dockerfile is, and how buildx is told of it. Pure."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..portable import user_path
from .options import BuildOptions
from .values import is_remote

VARIABLE = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
"""The variable of the environment that names a policy for every build, as with buildx."""


def lock_path(options: BuildOptions) -> Path:
    """Return where the lock of a build is: beside its Dockerfile, or in the directory of a cell's context.

    Raises UsageError for a Dockerfile that is fetched, which has nothing beside it.
    """
    context = options.context
    remote = isinstance(context, str) and is_remote(context)
    if remote and options.dockerfile is None and not options.file:
        raise UsageError("The Dockerfile is fetched, so there is no place for a lock beside it.", hint="Use -f FILE.")
    root = user_path(context) if isinstance(context, str) and context != "-" and not remote else Path()
    file = user_path(options.file) if options.file else root / "Dockerfile"
    return file.with_name(f"{file.name}.lock")
