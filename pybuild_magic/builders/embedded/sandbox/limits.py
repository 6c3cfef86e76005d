"""Limits of processes and their children, and the files of either version of cgroups in which they are written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ....errors import UsageError

ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
"""The period in microseconds for which a share of the processors is counted, as in Docker."""
Files = dict[str, str]


class Limits(msgspec.Struct, frozen=True):
    """The limits of processes, in the units of `docker run`; 0 and "" mean no limit."""

    memory: int = 0
    """Bytes. As in Docker, there may be as much swap again, unless `swap` says otherwise."""
    cpus: float = 0.0
    pids: int = 0
    swap: int = 0
    """Bytes of memory and swap together; -1 for any amount of swap."""
    shares: int = 0
    period: int = 0
    quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    parent: str = ""
    """The parent cgroup, as a path from the root of the hierarchy."""

    def __bool__(self) -> bool:
        return self != NO_LIMITS

    def __str__(self) -> str:
        """Return them for people: `memory 64 MiB, 1.5 CPUs, 100 processes`."""
        quota = f"{self.quota} of {self.period or _PERIOD} µs of a CPU" if self.quota > 0 else ""
        parts = (
            f"memory {_mebibytes(self.memory)}" if self.memory else "",
            f"memory and swap {_mebibytes(self.swap)}" if self.swap > 0 else "",
            f"{self.cpus:g} CPUs" if self.cpus else quota,
            f"{self.shares} shares of the CPUs" if self.shares else "",
            f"CPUs {self.cpuset_cpus}" if self.cpuset_cpus else "",
            f"memory nodes {self.cpuset_mems}" if self.cpuset_mems else "",
            f"{self.pids} processes" if self.pids else "",
            f"cgroup {self.parent}" if self.parent else "",
        )
        return ", ".join(part for part in parts if part)


NO_LIMITS = Limits()


class Reached(msgspec.Struct, frozen=True):
    """The limits that processes have reached; 0 for those that they have not. Its sentences are for people."""

    memory: int = 0
    """Bytes. Linux killed a process at this limit."""
    pids: int = 0
    """Linux refused to start another process at this limit."""
    shared: bool = False
    """Whether the limits are those of everything that a builder runs."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for each limit."""
        limit = f"the limit{' of all that is run here' if self.shared else ''} is"
        killed = f"Linux killed a process because memory ran out: {limit} {_mebibytes(self.memory)}."
        refused = f"Linux refused to start another process: {limit} {self.pids}."
        return (*([killed] if self.memory else ()), *([refused] if self.pids else ()))


NONE_REACHED = Reached()


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.4g} MiB"


_NUMBERS = {"memory": "memory", "memswap": "swap", "cpushares": "shares", "cpuperiod": "period", "cpuquota": "quota"}
_SETS = {"cpusetcpus": "cpuset_cpus", "cpusetmems": "cpuset_mems"}


def limits_of(attrs: Mapping[str, str]) -> Limits:
    """Return the limits for RUN from a request's attributes. Raises UsageError for a malformed number."""
    values: dict[str, int | str] = {}
    for attribute, field in _NUMBERS.items():
        if text := attrs.get(attribute, ""):
            if not text.removeprefix("-").isdigit():
                raise UsageError(f"--resource {attribute} must be a number, not {text!r}.")
            values[field] = int(text)
    values |= {field: attrs.get(attribute, "") for attribute, field in _SETS.items()}
    return msgspec.convert({**values, "parent": attrs.get("cgroup-parent", "")}, Limits)


def rlimits(limits: Limits) -> tuple[tuple[str, int, int], ...]:
    """Return the rlimits that say nearly what limits do, of each process; () where none can say all of them."""
    return (("data", limits.memory, limits.memory),) if limits == Limits(memory=limits.memory) else ()


def version_2(limits: Limits) -> Files:
    """Return the files of the unified hierarchy (Linux's admin-guide/cgroup-v2), with numbers converted as by runc."""
    quota, period = limits.quota or int(limits.cpus * _PERIOD), limits.period or _PERIOD
    swap = "max" if limits.swap < 0 else str(max(0, limits.swap - limits.memory) if limits.swap else limits.memory)
    values = {
        "memory.max": str(limits.memory) if limits.memory else "",
        "memory.swap.max": swap if limits.memory else "",
        "cpu.max": f"{quota if quota > 0 else 'max'} {period}" if quota or limits.period else "",
        "cpu.weight": str(1 + (limits.shares - 2) * 9999 // 262142) if limits.shares else "",
        "cpuset.cpus": limits.cpuset_cpus,
        "cpuset.mems": limits.cpuset_mems,
        "pids.max": str(limits.pids) if limits.pids else "",
    }
    return {name: value for name, value in values.items() if value}


def version_1(limits: Limits) -> dict[str, Files]:
    """Return the files of each controller; with a parent, the process is moved into it in each."""
    quota = limits.quota or int(limits.cpus * _PERIOD)
    cpu = {"cpu.shares": str(limits.shares)} if limits.shares else {}
    if quota or limits.period:
        cpu |= {"cpu.cfs_period_us": str(limits.period or _PERIOD), "cpu.cfs_quota_us": str(quota or -1)}
    memory = {
        "memory.limit_in_bytes": str(limits.memory),
        "memory.memsw.limit_in_bytes": str(limits.swap or 2 * limits.memory),
    }
    values: dict[str, Files] = {
        "memory": memory if limits.memory else {},
        "cpu": cpu,
        "cpuset": {
            name: value
            for name, value in (("cpuset.cpus", limits.cpuset_cpus), ("cpuset.mems", limits.cpuset_mems))
            if value
        },
        "pids": {"pids.max": str(limits.pids)} if limits.pids else {},
    }
    return {name: files for name, files in values.items() if files or (limits.parent and (ROOT / name).is_dir())}
