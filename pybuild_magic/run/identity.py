"""The ID of a run, in docker's form, and the file of `--cidfile` that tells it to others."""

from __future__ import annotations

import os

from ..errors import UsageError
from ..portable import user_path


def new_identity() -> str:
    """Return an ID for a run."""
    return os.urandom(32).hex()


def write_identity(path: str, identity: str) -> None:
    """Write an ID to a new file; do nothing for the path "". Raises UsageError."""
    if not path:
        return
    try:
        with user_path(path).open("x", encoding="ascii") as file:
            file.write(identity)
    except FileExistsError:
        hint = "Remove it, or name another file."
        raise UsageError(f"--cidfile {path} exists already, perhaps for another run.", hint=hint) from None
    except OSError as error:
        raise UsageError(f"--cidfile {path} cannot be written: {error.strerror}.") from error
