"""The machine as this process sees it, from which each rung decides whether it works."""

from __future__ import annotations

import msgspec

UNTRIED = "it was not tried"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The reasons and facts about a machine; a reason is "" when nothing is wrong."""

    system: str = ""
    """The reason why there is no sandbox of any kind: not Linux, or the helper does not start."""
    namespaces: str = ""
    """The reason why this user cannot make namespaces."""
    unstacked: str = ""
    """The reason why layers cannot be stacked in them, where a tracer does better."""
    noexec: str = ""
    """The reason why no program can be run from the store's files, other than through overlayfs."""
    proc: str = ""
    """The reason why a new PID namespace cannot have its own /proc."""
    pivot: str = ""
    """The reason why pivot_root is denied."""
    userns: bool = False
    single: bool = False
    """Whether there is a single id."""
    unmapped: str = ""
    """The reason why there are no subordinate ids."""
    root: bool = False
    tracer: str = UNTRIED
    """The reason why a process cannot be traced."""
    lossy: str = ""
    """The shortcomings of the tracer, where another program replaces ours."""

    @property
    def missing(self) -> str:
        """Return why the rungs with namespaces do not work."""
        return self.system or self.namespaces or self.unstacked

    @property
    def one_id(self) -> str:
        """Return a clause that there is a single id, and why."""
        return f"one user id stands for all: {self.unmapped}" if self.single else ""
