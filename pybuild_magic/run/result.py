"""The result of a process: its exit code, its output and its changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ..builders.embedded.sandbox import RunOutcome
    from ..results.difference import Difference

LIMIT = 64 << 20
"""How many of the first bytes of each stream are kept."""


NOT_A_PROGRAM = 255
"""The exit code for a file that is not a program. It is not 126, since runc finds this out only once it has started."""


NO_WORKDIR = 125
"""The exit code of `docker run` when the working directory is not a directory."""


def code_of(code: int, error: str) -> int:
    """Return the exit code of `docker run` and `docker exec` for a process that ended with this code and error."""
    return NOT_A_PROGRAM if error.endswith("exec format error") else code


def code_of_outcome(outcome: RunOutcome) -> int:
    """Return the exit code of `docker run` for the outcome of a process."""
    return NO_WORKDIR if outcome.no_workdir else code_of(outcome.exit_code, outcome.error)


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended.

    `exit_code` is its own, 128+n for signal n, or 127 or 126 when it could not be started.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    duration: float
    """Seconds."""
    truncated: bool = False
    """Whether the process wrote more than is kept here."""
    changes: Difference | None = None
    """The changes of files, if they were asked for."""
    image: str = ""
    """The name of the image that was made of the files that the process left."""
    limits: str = ""
    """The limits of all its processes, and the means that enforced them."""
    warnings: tuple[str, ...] = ()
    """Sentences about what was asked for but did not hold, or held in another way."""

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def error_text(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace")

    def __bool__(self) -> bool:
        return self.exit_code == 0

    def __repr__(self) -> str:
        changes = f", {len(self.changes)} files changed" if self.changes is not None else ""
        name = f", made {self.image}" if self.image else ""
        limits = f", {self.limits}" if self.limits else ""
        return f"<RunResult: exit code {self.exit_code} after {self.duration:.2f} s{changes}{name}{limits}>"


class Captured:
    """The first bytes of a stream."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.data = bytearray()
        self.truncated = False
        self._limit = limit

    def add(self, data: bytes) -> bytes:
        """Keep as much of the data as there is room for, and return that part."""
        head = data[: self._limit - len(self.data)]
        self.data += head
        self.truncated = self.truncated or len(head) < len(data)
        return head
