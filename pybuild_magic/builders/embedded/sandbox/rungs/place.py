"""The place where this process runs, from which each rung says whether it holds."""

from __future__ import annotations

import msgspec

UNTRIED = "it was not tried"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Reasons and facts; a reason is "" where there is nothing to say."""

    system: str = ""
    """Why there is no sandbox of any kind: not Linux, or the helper does not start."""
    namespaces: str = ""
    """Why this user gets no namespaces."""
    unstacked: str = ""
    """Why layers cannot be stacked in them, where a tracer does better."""
    proc: str = ""
    """Why a new PID namespace gets no /proc of its own."""
    pivot: str = ""
    """Why pivot_root is refused."""
    userns: bool = False
    single: bool = False
    """Whether one id stands for all."""
    unmapped: str = ""
    """Why there are no subordinate ids."""
    root: bool = False
    tracer: str = UNTRIED
    """Why a process cannot be traced."""
    lossy: str = ""
    """The shortcomings of the tracer, where another stands in for ours."""

    @property
    def missing(self) -> str:
        """Why the rungs with namespaces do not hold."""
        return self.system or self.namespaces or self.unstacked

    @property
    def one_id(self) -> str:
        """That one id stands for all, and why."""
        return f"one user id stands for all: {self.unmapped}" if self.single else ""
