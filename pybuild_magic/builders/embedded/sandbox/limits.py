"""Limits of a process and all that it starts: a cgroup of version 2 where one is delegated, else those of version 1."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ....errors import UnsupportedError

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
"""Microseconds in which a share of the processors is counted, as Docker has it."""
_ENDED_SECONDS = 5.0


class Limits(msgspec.Struct, frozen=True):
    """The upper limits of a process; 0 is no limit."""

    memory: int = 0
    """Bytes, swap included."""
    cpus: float = 0.0
    pids: int = 0

    def __bool__(self) -> bool:
        return any((self.memory, self.cpus, self.pids))


@contextmanager
def limited(limits: Limits) -> Generator[list[str]]:
    """Make cgroups for a process; the files that it joins them by. They are removed at the end, when it is dead.

    Raises UnsupportedError where this user can make none.
    """
    made: list[Path] = []
    try:
        try:
            _make(limits, made)
        except OSError as error:
            raise UnsupportedError(
                f"Limits take a cgroup, which cannot be made here: {error.strerror or error}.",
                hint="--ulimit limits what one process may have.",
            ) from error
        yield [str(place / "cgroup.procs") for place in made]
    finally:
        for place in made:
            _remove(place)


def _make(limits: Limits, made: list[Path]) -> None:
    name = f"pybuild-{os.getpid()}-{os.urandom(4).hex()}"
    for parent, values in _wanted(limits).items():
        place = parent / name
        place.mkdir()
        made.append(place)
        for file, value in values.items():
            with suppress(FileNotFoundError):  # without swap there is no limit of it
                (place / file).write_text(value, "ascii")


def _wanted(limits: Limits) -> dict[Path, dict[str, str]]:
    """Return the files to write, by the cgroup below which they are."""
    own = _own_cgroups()
    unified = _ROOT / own.get("", "/").lstrip("/")
    quota = int(limits.cpus * _PERIOD)
    if (_ROOT / "cgroup.controllers").exists():
        values = {
            "memory.max": str(limits.memory) if limits.memory else "",
            "memory.swap.max": "0" if limits.memory else "",
            "cpu.max": f"{quota} {_PERIOD}" if quota else "",
            "pids.max": str(limits.pids) if limits.pids else "",
        }
        needed = {name.partition(".")[0] for name, value in values.items() if value}
        missing = needed - set((unified / "cgroup.subtree_control").read_text("ascii").split())
        if missing:
            raise OSError(0, f"this process's cgroup delegates no {' and no '.join(sorted(missing))}")
        return {unified: {name: value for name, value in values.items() if value}}
    memory = {"memory.limit_in_bytes": str(limits.memory), "memory.memsw.limit_in_bytes": str(limits.memory)}
    wanted = {
        "memory": memory if limits.memory else {},
        "cpu": {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(quota)} if quota else {},
        "pids": {"pids.max": str(limits.pids)} if limits.pids else {},
    }
    found: dict[Path, dict[str, str]] = {}
    for controller, values in wanted.items():
        if values:
            place = _ROOT / controller / own.get(controller, "/").lstrip("/")
            found[place if place.is_dir() else _ROOT / controller] = values  # a container sees its part as the root
    return found


def _own_cgroups() -> Mapping[str, str]:
    """Return where this process is, by controller; "" is that of version 2."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        found |= dict.fromkeys(controllers.split(","), path)
    return found


def _remove(place: Path) -> None:
    """Remove a cgroup whose last process is just dying."""
    deadline = time.monotonic() + _ENDED_SECONDS
    while time.monotonic() < deadline:
        try:
            place.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.005)
        else:
            return
