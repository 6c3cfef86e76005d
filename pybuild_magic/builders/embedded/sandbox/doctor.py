"""The abilities of a machine for the sandbox, and whether a RUN works on it, found by trying, for `%build doctor`."""

from __future__ import annotations

import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from ....cancel import Cancel
from ....errors import BuildError
from ....store import Store
from .limits import NO_LIMITS, Limits
from .rungs import Rung
from .sandbox import Sandbox
from .spec import RunSpec

_START = "import sys; sys.path.append(sys.argv[1]); from helper.abilities import main; main(sys.argv[2])"
_SECONDS = 10
_PROBE = "/.pybuild-doctor"


class SandboxFacts(msgspec.Struct, frozen=True):
    """The state of the sandbox on this machine."""

    works: bool = False
    problem: str = ""
    """The reason why RUN does not work, in a build's words."""
    rungs: tuple[Rung, ...] = ()
    """The rungs, best first, each with the reason if it does not work here."""
    selected: Rung | None = None
    """The rung that is used."""
    unmapped: str = ""
    """The reason for a single id; "" where there are several."""
    unassigned: tuple[str, ...] = ()
    """The files of /etc, subuid and subgid, that assign no ids to this user."""
    ids: int = 1 << 32
    """The number of user ids that there are, from 0 on; a container in a user namespace has fewer than the machine."""
    mapper: bool = False
    """Whether newuidmap and newgidmap are installed."""
    capable: bool = False
    """Whether both have file capabilities, which work in a container, instead of the set-user-ID bit."""
    overlay: bool = False
    """Whether layers are stacked instead of being copied for each RUN."""
    copied: bool = False
    """Whether they are copied nevertheless, because proot replaces the tracer."""
    limits: Limits = NO_LIMITS
    """The limits on everything that runs in sandboxes."""
    unlimited: str = ""
    """The reason why no cgroup enforces them."""
    images: bool = False
    """Whether layers are mounted as images instead of being written to directories first."""
    abilities: dict[str, str] = {}
    """For each ability (named as in `helper.abilities`) "" when it is there, else the system's error."""


def look(store: Store) -> SandboxFacts:
    """Try everything. This takes some tenths of a second, and leaves nothing behind."""
    if not sys.platform.startswith("linux"):
        return SandboxFacts(problem=f"RUN needs Linux; this is {sys.platform}.")
    with Sandbox(store) as sandbox:
        facts = _subordinate(SandboxFacts(rungs=sandbox.rungs(), selected=sandbox.rung, abilities=_abilities(store)))
        try:
            outcome = sandbox.run(RunSpec((_PROBE,)), lambda _stream, _data: None, Cancel())
        except BuildError as error:
            return msgspec.structs.replace(facts, problem=error.message)
        sandbox.discard(outcome)
        # An empty root has no such command: a RUN that reports it as missing has come as far as it can.
        works = outcome.exit_code == 127
        return msgspec.structs.replace(
            facts,
            works=works,
            problem="" if works else outcome.error or f"A process ended with {outcome.exit_code}.",
            unmapped=sandbox.unmapped,
            overlay=sandbox.overlay,
            images=sandbox.rootfs.images,
            copied=sandbox.copied,
            limits=sandbox.guard.limits if sandbox.guard else NO_LIMITS,
            unlimited=sandbox.guard.why if sandbox.guard else "",
        )


def _subordinate(facts: SandboxFacts) -> SandboxFacts:
    """Add what there is for mapping more ids than the user's own."""
    from .helper.idmap import find, own_ids, subordinate  # it only works on Linux

    ids = sum(count for _, _, count in own_ids())
    unassigned = tuple(name for name in ("subuid", "subgid") if not subordinate(f"/etc/{name}", os.geteuid()))
    tools = find("newuidmap"), find("newgidmap")
    mapper = all(tools)
    capable = mapper and all("security.capability" in os.listxattr(tool) for tool in tools)
    return msgspec.structs.replace(facts, unassigned=unassigned, ids=ids, mapper=mapper, capable=capable)


def _abilities(store: Store) -> dict[str, str]:
    work = store.rootfs.workdir()
    command = [sys.executable, "-I", "-S", "-c", _START, str(Path(__file__).parent), str(work)]
    try:
        process = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        return marshal.loads(process.stdout) if process.stdout else {}  # noqa: S302 - from a process of ours
    except (OSError, subprocess.SubprocessError):
        return {}
    finally:
        shutil.rmtree(work, ignore_errors=True)
