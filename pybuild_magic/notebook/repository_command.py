"""`%build repo`: the Dockerfile of a repository in the next cell, and the files that it was made from."""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..api.run import watch
from ..cancel import Cancel
from ..display.plain import Plain
from ..display.table import Table
from ..environments.repository.opening import FLAGS, Repository, repository_of
from ..request.flags import ParsedFlags
from ..status.report import VertexReport
from .cells import next_cell
from .command import command


@command(
    "repo",
    "[PATH|URL]",
    takes="one repository",
    hint="A path, or a URL as git clone takes it.",
    names=("folder",),
    flags=FLAGS,
)
def repository(flags: ParsedFlags) -> Table:
    """Put a Dockerfile for a repository into the next cell, made as repo2docker does."""
    repository, only_list = repository_of(flags, watched)
    if only_list:
        return listing(repository)
    next_cell(repository.cell)
    return listing(repository, "Its Dockerfile is in the next cell, to read, change and run.")


def listing(repository: Repository, note: str = "") -> Table:
    """Return a table of the files that were found, one per row."""
    rows = tuple((finding.path, finding.use.value, finding.why) for finding in repository.findings)
    if not rows:
        note = f"No file says what the environment is: it has Jupyter and the code. {note}".rstrip()
    return Table(("FILE", "USE", "WHY"), rows, note)


def watched(name: str, work: Callable[[VertexReport], tuple[str, ...]], cancel: Cancel) -> tuple[str, ...]:
    """Fetch a repository as a step whose progress is shown."""
    return watch(name, work, Plain(sys.stderr.write), cancel)
