"""The sandbox that runs RUN, without a daemon and without root: layer directories, processes, changes as layers."""

from .process import Hold, Output
from .rungs import Rung
from .sandbox import Sandbox
from .spec import RunOutcome, RunSpec, SandboxMount, Snapshot
from .users import User, resolve_user

__all__ = [
    "Hold",
    "Output",
    "RunOutcome",
    "RunSpec",
    "Rung",
    "Sandbox",
    "SandboxMount",
    "Snapshot",
    "User",
    "resolve_user",
]
