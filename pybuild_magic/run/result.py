"""The result of a process: its end, its output and its changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from ..results.difference import Difference

LIMIT = 64 << 20
"""Bytes of each stream that are kept: the first ones."""


NOT_A_PROGRAM = 255
"""The exit code of a file that is no program, which runc tells only when it has started: it is not 126."""


def code_of(code: int, error: str) -> int:
    """Return the exit code that `docker run` and `docker exec` have for a process of the code and the error."""
    return NOT_A_PROGRAM if error.endswith("exec format error") else code


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended: `exit_code` is its own, 128+n for signal n, 127 and 126 when it could not be started."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    duration: float
    """Seconds."""
    truncated: bool = False
    """Whether it wrote more than is kept here."""
    changes: Difference | None = None
    """The changes of its files, when they were asked for."""
    image: str = ""
    """The name of the image that was made of what it left."""
    limits: str = ""
    """The limits of all its processes, and by what they held."""
    warnings: tuple[str, ...] = ()
    """Sentences about what was asked for and did not hold, or held otherwise."""

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
        more = f", {len(self.changes)} files changed" if self.changes is not None else ""
        name = f", made {self.image}" if self.image else ""
        limits = f", {self.limits}" if self.limits else ""
        return f"<RunResult: exit code {self.exit_code} after {self.duration:.2f} s{more}{name}{limits}>"


class Captured:
    """The bytes of one stream, of which the first are kept."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.data = bytearray()
        self.truncated = False
        self._limit = limit

    def add(self, data: bytes) -> bytes:
        """Keep what there is room for; returns that."""
        kept = data[: self._limit - len(self.data)]
        self.data += kept
        self.truncated = self.truncated or len(kept) < len(data)
        return kept
