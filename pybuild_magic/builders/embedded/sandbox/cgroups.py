"""Cgroups that hold processes to limits: of version 2 where they are delegated, else of version 1."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ....errors import UnsupportedError, UsageError
from .limits import NO_LIMITS, NONE_REACHED, ROOT, Files, Limits, Reached, version_1, version_2

_PREFIX = "pybuild-"
_INIT = f"{_PREFIX}init"
"""The cgroup that takes the processes of one that is to enable controllers."""
_MOVES = 10
_MARKS = ("user.delegate", "trusted.delegate")
"""The attributes of a cgroup that systemd has delegated (systemd's CGROUP_DELEGATION.md)."""
_CPUSET = ("cpuset.cpus", "cpuset.mems")
_ENDED_SECONDS = 5.0
_OLD_SECONDS = 60.0
"""The age in seconds from which an empty cgroup of ours is known to be abandoned."""


class Cgroups:
    """The cgroups that hold processes to limits. Raises OSError where this user cannot make any."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._made: list[Path] = []
        self._counts = 0, 0
        try:
            _make(limits, self._made)
        except BaseException:
            self.close()
            raise
        self._counters = [_counter(self._made, _KILLED), _counter(self._made, _REFUSED)]

    @property
    def files(self) -> list[str]:
        """The files through which a process joins them."""
        return [str(place / "cgroup.procs") for place in self._made if place.name.startswith(_PREFIX)]

    def reached(self, *, shared: bool = False) -> Reached:
        """Return the limits that were reached since the last call; `shared` as in `Reached`."""
        killed, refused = self._counts
        self._counts = _count(self._counters[0]), _count(self._counters[1])
        return Reached(
            memory=self.limits.memory if self._counts[0] > killed else 0,
            pids=self.limits.pids if self._counts[1] > refused else 0,
            shared=shared,
        )

    def close(self) -> None:
        """Remove them, once their processes are dead."""
        while self._made:
            if (place := self._made.pop()).name.startswith(_PREFIX):
                _remove(place)
            else:
                with suppress(OSError):  # a parent that another process uses by now
                    place.rmdir()


_KILLED = {"memory.events.local": "oom", "memory.events": "oom_kill", "memory.oom_control": "oom_kill"}
"""Where the kernel counts how often a cgroup's limit of memory made it kill a process, best first.

Processes may have divided a cgroup of version 2 and reached limits of their own, which only `.local` leaves out.
"""
_REFUSED = {"pids.events.local": "max", "pids.events": "max"}
"""The same for processes that were not started."""


def _counter(places: list[Path], files: Files) -> tuple[Path, str] | None:
    """Return the first of the files that counts, with the beginning of its line."""
    counters = ((place / name, f"{key} ") for name, key in files.items() for place in places)
    return next((counter for counter in counters if f"\n{counter[1]}" in f"\n{_read(counter[0])}"), None)


def _count(counter: tuple[Path, str] | None) -> int:
    if counter is None:
        return 0
    line = next((line for line in _read(counter[0]).splitlines() if line.startswith(counter[1])), "0")
    return int(line.rpartition(" ")[2])


@contextmanager
def limited(limits: Limits) -> Generator[Cgroups]:
    """Make cgroups for a process, which are removed when it is dead.

    Raises UnsupportedError where this user cannot make any, and UsageError for a limit that Linux refuses.
    """
    try:
        cgroups = Cgroups(limits)
    except OSError as error:
        raise UnsupportedError(
            f"Limits need a cgroup, which cannot be made here: {error.strerror or error}.",
            hint="Use --ulimit, which limits a single process.",
        ) from error
    try:
        yield cgroups
    finally:
        cgroups.close()


def version() -> int:
    """Return the version of the cgroups by which limits hold here."""
    return 2 if (ROOT / "cgroup.controllers").exists() else 1


def standing_limits() -> Limits:
    """Return the limits on everything that a builder runs, so that a runaway process only kills itself.

    They are lower than the limits of this process's cgroups, and than the machine's resources.
    """
    memory = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    memory += _found("memory", "memory.max", "memory.limit_in_bytes")
    pids = [int(_read(Path("/proc/sys/kernel/pid_max")) or 0), *_found("pids", "pids.max", "pids.max")]
    most = min(memory) * 9 // 10
    return Limits(memory=most, swap=most, pids=min(pids) * 8 // 10)


class Guard:
    """The cgroups around a process that runs others, where they are available, and the limits that they enforce.

    Where this user may limit only memory or only processes, that is done.
    """

    def __init__(self, limits: Limits, pid: int) -> None:
        self.limits = NO_LIMITS
        self.why = ""
        """The reason why there are none, or not all."""
        self._cgroups: Cgroups | None = None
        with suppress(OSError):
            sweep()
        replace = msgspec.structs.replace
        for attempt in (limits, replace(limits, memory=0, swap=0), replace(limits, pids=0)):
            try:
                self._cgroups = Cgroups(attempt)
                for file in self._cgroups.files:
                    Path(file).write_text(str(pid), "ascii")
                self.limits = attempt
                return
            except (OSError, UsageError) as error:
                self.why = self.why or (error.strerror if isinstance(error, OSError) else "") or str(error)
                self.close()

    def reached(self) -> Reached:
        """Return the limits that were reached since the last call."""
        return self._cgroups.reached(shared=True) if self._cgroups else NONE_REACHED

    def close(self) -> None:
        """Remove the cgroups, once the process has ended."""
        if self._cgroups is not None:
            self._cgroups.close()


def sweep(age: float = _OLD_SECONDS) -> None:
    """Remove cgroups left by processes that were killed: those that are empty and not new."""
    for place in _places():
        with suppress(OSError):
            for entry in os.scandir(place):
                if entry.name.startswith(_PREFIX) and time.time() - entry.stat().st_mtime > age:
                    _remove_all(Path(entry.path))


def _places() -> set[Path]:
    """Return the places of cgroups of ours: this process's cgroups, and those above them up to the roots, where runc
    makes them.
    """
    places: set[Path] = set()
    for controllers, path in _own_cgroups().items():
        name = controllers.removeprefix("name=")
        for root in (ROOT / name,) if name else (ROOT, ROOT / "unified"):
            own = root / path.lstrip("/")
            places |= {root, *(place for place in (own, *own.parents) if root in place.parents)}
    return places


def _make(limits: Limits, cgroups: list[Path]) -> None:
    name = f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
    unified = version() == 2
    for parent, values in _wanted(limits).items():
        for place in [*[above for above in (parent, *parent.parents) if not above.exists()][::-1], parent / name]:
            if unified and place.name == name and limits.parent:
                _enable(parent, _controllers(values))
            place.mkdir()
            cgroups.append(place)
            for file in () if unified else _CPUSET:
                if whole := _read(place.parent / file):  # version 1: nobody enters a cgroup in which either is empty
                    (place / file).write_text(whole, "ascii")
        for file, value in values.items():
            _write(parent / name / file, value)


def _write(file: Path, value: str) -> None:
    """Write a limit. Raises UsageError for a value that is none here, such as a processor that does not exist."""
    try:
        file.write_text(value, "ascii")
    except FileNotFoundError:
        if "sw" not in file.name:  # without swap there is no file for its limit
            raise
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ERANGE, errno.EACCES):
            raise
        raise UsageError(
            f"A limit cannot be {value!r} here: Linux refuses it for {file.name} ({error.strerror})."
        ) from error


def _wanted(limits: Limits) -> dict[Path, Files]:
    """Return the files to write, by the cgroup below which they are."""
    if version() == 2:
        values = version_2(limits)
        if limits.parent:
            place = ROOT / limits.parent.lstrip("/")
            _check_way(place)
            return {place: values}
        return {_delegated(_controllers(values)): values}
    own, places = _own_cgroups(), dict[Path, Files]()
    for controller, values in version_1(limits).items():
        root = ROOT / controller
        place = root / (limits.parent or own.get(controller, "/")).lstrip("/")
        # A container sees its own part as the root.
        place = place if limits.parent or place.is_dir() else root
        places[place] = values
    return places


def _controllers(values: Files) -> set[str]:
    return {name.partition(".")[0] for name in values}


def _delegated(controllers: set[str]) -> Path:
    """Return the cgroup of the unified hierarchy in which others with these `controllers` can be made.

    It is the nearest at or above this process's in which this user may make some. Raises OSError when there is none.
    """
    own = _own_place()
    first: OSError | None = None
    for place in (own, *own.parents):
        if place != ROOT and ROOT not in place.parents:
            break
        try:
            _enable(place, controllers)
            if os.access(place / "cgroup.procs", os.W_OK) and os.access(place, os.W_OK):
                return place
            raise PermissionError(errno.EACCES, f"this user may make none in {_name(place)}")
        except OSError as error:
            first = first or error
    if _is_delegated(own) and controllers <= _words(own / "cgroup.controllers"):
        _vacate(own, controllers)
        return own
    raise first or OSError(errno.ENOENT, "no cgroups are mounted at /sys/fs/cgroup")


def _enable(place: Path, controllers: set[str]) -> None:
    """Enable controllers for the cgroups in `place`, and for that itself. Raises OSError where that is impossible."""
    if _read(place / "cgroup.type") not in ("", "domain"):
        raise OSError(errno.EOPNOTSUPP, f"{_name(place)} is threaded")
    missing = controllers - _words(place / "cgroup.subtree_control")
    if not missing:
        return
    if (lacking := controllers - _words(place / "cgroup.controllers")) and place != ROOT:
        _enable(place.parent, controllers)
        lacking = controllers - _words(place / "cgroup.controllers")
    if lacking:
        raise OSError(errno.ENOENT, f"{_name(place)} has no {' and no '.join(sorted(lacking))} to limit")
    # With processes in it, enabling cpu and pids would make it threaded, and no process could join a cgroup in it.
    # The root of the hierarchy, which alone has no type, is exempt.
    if (place / "cgroup.type").exists() and _read(place / "cgroup.procs"):
        lacking = " and no ".join(sorted(missing))
        raise OSError(errno.EBUSY, f"{_name(place)} has processes of its own, and delegates no {lacking}")
    try:
        (place / "cgroup.subtree_control").write_text(_adding(missing), "ascii")
    except OSError as error:
        raise OSError(error.errno, f"{_name(place)} delegates nothing to this user ({error.strerror})") from error


def _check_way(place: Path) -> None:
    """Raise OSError where this user's processes may not be moved into a cgroup, by cgroup-v2's rule of delegation."""
    own = _own_place()
    common = Path(os.path.commonpath([own, place]))
    if not os.access(common / "cgroup.procs", os.W_OK):
        raise PermissionError(errno.EACCES, f"this user may not move processes from {_name(own)} to {_name(place)}")


def _own_place() -> Path:
    """Return this process's cgroup of the unified hierarchy; a container may see its own part as the root."""
    own = ROOT / _own_cgroups().get("", "/").lstrip("/")
    return own if own.is_dir() else ROOT


def _is_delegated(place: Path) -> bool:
    """Return whether a cgroup is this user's to divide: a container's own, systemd's `Delegate=yes`, or the user's."""
    if place == ROOT or (0 != os.geteuid() == place.stat().st_uid):
        return True
    with suppress(OSError):
        return not {*_MARKS}.isdisjoint(os.listxattr(place))
    return False


def _vacate(place: Path, controllers: set[str]) -> None:
    """Move the processes of a cgroup into one in it, so that it may enable controllers, as Docker's own container does.

    Raises OSError where one may not be moved.
    """
    below = place / _INIT
    below.mkdir(exist_ok=True)
    for attempt in range(_MOVES):  # a process may be starting others right now
        for pid in _read(place / "cgroup.procs").split():
            with suppress(ProcessLookupError):
                (below / "cgroup.procs").write_text(pid, "ascii")
        try:
            (place / "cgroup.subtree_control").write_text(_adding(controllers), "ascii")
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == _MOVES - 1:
                raise


def _adding(controllers: set[str]) -> str:
    return " ".join(f"+{name}" for name in sorted(controllers))


def _name(place: Path) -> str:
    """Return what people call a cgroup: its path from the root."""
    return f"the cgroup /{place.relative_to(ROOT)}".removesuffix(".")


def _words(path: Path) -> set[str]:
    return set(_read(path).split())


def _found(controller: str, unified: str, separate: str) -> list[int]:
    """Return the limits of one kind on this process, from its cgroup and all parents."""
    own = _own_cgroups()
    new = version() == 2
    root = ROOT if new else ROOT / controller
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
