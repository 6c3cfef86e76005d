"""Limits of processes and their children: version 2 cgroups where they are delegated, else version 1."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ....errors import UnsupportedError, UsageError

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "pybuild-"
_CPUSET = ("cpuset.cpus", "cpuset.mems")
_PERIOD = 100_000
"""The period in microseconds for which a share of the processors is counted, as in Docker."""
_ENDED_SECONDS = 5.0
_OLD_SECONDS = 60.0
"""The age in seconds from which an empty cgroup of ours is known to be abandoned."""

Files = dict[str, str]


class Limits(msgspec.Struct, frozen=True):
    """The limits of processes, in the units of `docker run`; 0 and "" mean no limit."""

    memory: int = 0
    """Bytes; including swap, unless `swap` allows more."""
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
            f"memory {self.memory / (1 << 20):.4g} MiB" if self.memory else "",
            f"memory and swap {self.swap / (1 << 20):.4g} MiB" if self.swap > 0 else "",
            f"{self.cpus:g} CPUs" if self.cpus else quota,
            f"{self.shares} shares of the CPUs" if self.shares else "",
            f"CPUs {self.cpuset_cpus}" if self.cpuset_cpus else "",
            f"memory nodes {self.cpuset_mems}" if self.cpuset_mems else "",
            f"{self.pids} processes" if self.pids else "",
            f"cgroup {self.parent}" if self.parent else "",
        )
        return ", ".join(part for part in parts if part)


NO_LIMITS = Limits()
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


@contextmanager
def limited(limits: Limits) -> Generator[list[str]]:
    """Make cgroups for a process; yield the files through which it joins them. They are removed when it is dead.

    Raises UnsupportedError where this user cannot make any.
    """
    cgroups: list[Path] = []
    try:
        try:
            _make(limits, cgroups)
        except OSError as error:
            raise UnsupportedError(
                f"Limits need a cgroup, which cannot be made here: {error.strerror or error}.",
                hint="Use --ulimit, which limits a single process.",
            ) from error
        yield [str(place / "cgroup.procs") for place in cgroups if place.name.startswith(_PREFIX)]
    finally:
        for place in reversed(cgroups):
            _remove(place)


def version() -> int:
    """Return the version of the cgroups by which limits hold here."""
    return 2 if (_ROOT / "cgroup.controllers").exists() else 1


def rlimits(limits: Limits) -> tuple[tuple[str, int, int], ...]:
    """Return the rlimits that say nearly what limits do, of each process; () where none can say all of them."""
    return (("data", limits.memory, limits.memory),) if limits == Limits(memory=limits.memory) else ()


def standing_limits() -> Limits:
    """Return the limits on everything that a builder runs, so that a runaway process only kills itself.

    They are lower than the limits of this process's cgroups, and than the machine's resources.
    """
    memory = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    memory += _found("memory", "memory.max", "memory.limit_in_bytes")
    pids = [int(_read(Path("/proc/sys/kernel/pid_max")) or 0), *_found("pids", "pids.max", "pids.max")]
    return Limits(memory=min(memory) * 9 // 10, pids=min(pids) * 8 // 10)


class Guard:
    """The cgroups around a process that runs others, where they are available, and the limits that they enforce."""

    def __init__(self, limits: Limits, pid: int) -> None:
        self.limits = limits
        self.why = ""
        """The reason why there are none."""
        self._made: list[Path] = []
        try:
            sweep()
            _make(limits, self._made)
            for place in self._made:
                (place / "cgroup.procs").write_text(str(pid), "ascii")
        except OSError as error:
            self.why = error.strerror or str(error)
            self.close()

    def close(self) -> None:
        """Remove the cgroups, once the process has ended."""
        while self._made:
            _remove(self._made.pop())


def sweep(age: float = _OLD_SECONDS) -> None:
    """Remove cgroups left by processes that were killed: those that are empty and not new."""
    for place in _places():
        with suppress(OSError):
            for entry in os.scandir(place):
                if entry.name.startswith(_PREFIX) and time.time() - entry.stat().st_mtime > age:
                    _remove_all(Path(entry.path))


def _places() -> set[Path]:
    """Return the parents of cgroups of ours: this process's cgroups, their parents, and the roots, where runc makes
    them.
    """
    places: set[Path] = set()
    for controllers, path in _own_cgroups().items():
        name = controllers.removeprefix("name=")
        for root in (_ROOT / name,) if name else (_ROOT, _ROOT / "unified"):
            own = root / path.lstrip("/")
            places |= {root, own, own.parent} if own != root else {root}
    return places


def _make(limits: Limits, cgroups: list[Path]) -> None:
    name = f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
    for parent, values in _wanted(limits).items():
        for place in [*[above for above in (parent, *parent.parents) if not above.exists()][::-1], parent / name]:
            place.mkdir()
            cgroups.append(place)
            for file in _CPUSET:
                if whole := _read(place.parent / file):  # version 1: nobody enters a cgroup in which either is empty
                    (place / file).write_text(whole, "ascii")
        place = parent / name
        for file, value in values.items():
            with suppress(FileNotFoundError):  # without swap there is no file for its limit
                (place / file).write_text(value, "ascii")


def _wanted(limits: Limits) -> dict[Path, Files]:
    """Return the files to write, by the cgroup below which they are."""
    if version() == 2:
        values = version_2(limits)
        return {_delegated({name.partition(".")[0] for name in values}, limits.parent): values}
    own, places = _own_cgroups(), dict[Path, Files]()
    for controller, values in version_1(limits).items():
        root = _ROOT / controller
        place = root / (limits.parent or own.get(controller, "/")).lstrip("/")
        # A container sees its own part as the root.
        place = place if limits.parent or place.is_dir() else root
        places[place] = values
    return places


def version_2(limits: Limits) -> Files:
    """Return the files of the unified hierarchy (Linux's admin-guide/cgroup-v2), with numbers converted as by runc."""
    quota, period = limits.quota or int(limits.cpus * _PERIOD), limits.period or _PERIOD
    swap = "max" if limits.swap < 0 else str(max(0, limits.swap - limits.memory) if limits.swap else 0)
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
        "memory.memsw.limit_in_bytes": str(limits.swap or limits.memory),
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
    return {name: files for name, files in values.items() if files or (limits.parent and (_ROOT / name).is_dir())}


def _delegated(controllers: set[str], parent: str) -> Path:
    """Return the cgroup of the unified hierarchy in which others with these `controllers` can be made.

    It is the nearest above this process to which this user may write. Raises OSError when there is none.
    """
    own = _ROOT / (parent or _own_cgroups().get("", "/")).lstrip("/")
    if parent:
        own.mkdir(parents=True, exist_ok=True)
    missing = controllers
    for place in (own, *own.parents) if not parent else (own,):
        if not (place / "cgroup.subtree_control").exists():
            break
        enabled = set(_read(place / "cgroup.subtree_control").split())
        available = set(_read(place / "cgroup.controllers").split())
        if not controllers <= enabled and controllers <= available:
            with suppress(OSError):  # a cgroup that has processes delegates nothing, unless it is the root
                (place / "cgroup.subtree_control").write_text(
                    " ".join(f"+{name}" for name in sorted(controllers - enabled))
                )
                enabled = controllers
        if controllers <= enabled and os.access(place / "cgroup.procs", os.W_OK):
            return place
        missing = controllers - enabled or missing
    raise OSError(0, f"this process's cgroup delegates no {' and no '.join(sorted(missing))}")


def _found(controller: str, unified: str, separate: str) -> list[int]:
    """Return the limits of one kind on this process, from its cgroup and all parents."""
    own = _own_cgroups()
    new = version() == 2
    root = _ROOT if new else _ROOT / controller
    place = root / own.get("" if new else controller, "/").lstrip("/")
    place = place if place.is_dir() else root
    above = [place, *(parent for parent in place.parents if root in (parent, *parent.parents))]
    texts = [_read(directory / (unified if new else separate)) for directory in above]
    return [int(text) for text in texts if text.isdigit()]


def _own_cgroups() -> Mapping[str, str]:
    """Return the cgroup of this process by controller; "" stands for version 2."""
    paths: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines():
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path)
    return paths


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except OSError:
        return ""


def _remove(place: Path) -> None:
    """Remove a cgroup, and those in it, whose last process is just ending."""
    deadline = time.monotonic() + _ENDED_SECONDS
    while time.monotonic() < deadline and not _remove_all(place):
        time.sleep(0.005)


def _remove_all(place: Path) -> bool:
    """Remove a cgroup and those in it, and return whether they are gone. One with processes stays."""
    try:
        place.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        with suppress(OSError):
            for entry in os.scandir(place):
                if entry.is_dir(follow_symlinks=False) and entry.name.startswith(_PREFIX):
                    _remove_all(Path(entry.path))
            place.rmdir()
            return True
        return False
    return True
