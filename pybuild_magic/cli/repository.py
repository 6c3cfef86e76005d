"""`pybuild repo`: the Dockerfile of a repository, on standard output."""

from __future__ import annotations

from ..environments.repository.opening import repository_of
from ..notebook.repository_command import listing, watched
from ..request.flags import ParsedFlags
from ..untrusted.printable import visible_lines
from .messages import tell


def repository(flags: ParsedFlags) -> int:
    """Print the Dockerfile, or with `--list` what was found. Raises BuildError."""
    repository, only_list = repository_of(flags, watched)
    if only_list:
        print(listing(repository))
        return 0
    print(visible_lines(repository.dockerfile), end="")
    tell(f"Build it with: pybuild build -f - {repository.line}")
    return 0
