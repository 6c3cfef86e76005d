"""The examination of the machine for the facts. It takes a second at most, mostly for registries."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import stat
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from ..builders.embedded.sandbox import doctor
from ..errors import BuildError
from ..portable import file_system, user_path
from ..store import Store
from ..store.limit import DEFAULT, limit_of, quota_of
from . import network
from .causes import SETTINGS
from .facts import Facts, Limits, StoreFacts, System, Version

_PACKAGES = ("pybuild_magic", "ipython", "ipykernel", "ipywidgets", "anywidget", "jupyterlab", "notebook")
_STATUS = "/proc/self/status"
_UNLIMITED = 1 << 60
"""A limit above this is considered none."""
_CGROUPS = Path("/sys/fs/cgroup")
_PULL = 600.0
"""Seconds that may be between the mounting of a pod's volumes and its first process: its image is pulled then."""


def look(open_store: Callable[[], Store], limit: int = DEFAULT) -> Facts:
    """Return all the facts; `limit` is the user's setting for the size of the store, in bytes."""
    answers = network.ask()
    try:
        opened = open_store()
    except BuildError as error:
        sandbox = doctor.SandboxFacts(problem="There is no store in which to run it.")
        store = StoreFacts(problem=f"{error.message} {error.hint}".strip())
    else:
        sandbox, store = doctor.look(opened), look_at_store(opened.root, limit)
    limits, versions, extension = look_at_limits(), look_at_versions(), look_for_extension()
    return Facts(look_at_system(), sandbox, store, limits, answers(), versions, extension, network.proxy())


def look_at_system() -> System:
    """Return this process's identity and privileges."""
    status = {name: value for name, _, value in (line.partition(":") for line in _read(_STATUS).splitlines())}
    settings: dict[str, int] = {}
    for name in SETTINGS:
        if (text := _read(f"/proc/sys/{name.replace('.', '/')}")).isdigit():
            settings[name] = int(text)
    uid, gid = (os.geteuid(), os.getegid()) if hasattr(os, "geteuid") else (-1, -1)
    user, login_gid, group = _names(uid, gid)
    home = str(user_path("~"))
    return System(
        sys.platform,
        platform.release(),
        uid,
        gid,
        user,
        home,
        _container(),
        "JUPYTERHUB_API_URL" in os.environ,
        _apparmor(_read("/proc/self/attr/apparmor/current")),
        no_new_privileges=status.get("NoNewPrivs", "0").strip() == "1",
        capabilities=int(status.get("CapEff", "-1").strip(), 16),
        bounding=int(status.get("CapBnd", "-1").strip(), 16),
        filtered=status.get("Seccomp", "0").strip() != "0",
        masked=any(line.split()[4].startswith("/proc/") for line in _read("/proc/self/mountinfo").splitlines()),
        settings=settings,
        login_gid=login_gid,
        group=group,
        has_home=_may_write(home),
        temporary=_temporary(),
    )


def look_at_store(root: Path, setting: int = DEFAULT) -> StoreFacts:
    """Return the file system of the store, and its free space."""
    limit = limit_of(root, setting)
    on = file_system(root)
    facts = StoreFacts(
        str(root), "", on.kind, on.noexec, on.place, on.options, limit=limit.size, why=limit.why, quota=quota_of(root)
    )
    if not hasattr(os, "statvfs"):
        return facts
    from msgspec.structs import replace

    status = os.statvfs(root)
    facts = replace(facts, free=status.f_bavail * status.f_frsize, size=status.f_blocks * status.f_frsize)
    if status.f_files:
        facts = replace(facts, inodes=status.f_favail)
    return replace(facts, xattrs=_has_xattrs(root), locks=_has_locks(root), regrouped=regrouped(root))


def look_at_limits() -> Limits:
    """Return the limits of this process."""
    try:
        import resource
    except ImportError:  # Windows
        return Limits(cpus=os.cpu_count() or 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes = [_limited(resource.getrlimit(resource.RLIMIT_NPROC)[0]), _cgroup("pids.max", "pids")]
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    memory = [_cgroup("memory.max", "memory", "memory.limit_in_bytes"), machine]
    shm = -1
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            status = os.statvfs("/dev/shm")
            shm = status.f_blocks * status.f_frsize
    return Limits(_limited(soft), _limited(hard), _least(processes), _least(memory), _cpus(), shm)


def look_at_versions() -> tuple[Version, ...]:
    """Return the packages of this Python that notebooks need."""
    versions: list[Version] = []
    for name in _PACKAGES:
        try:
            versions.append(Version(name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            versions.append(Version(name))
    return tuple(versions)


def look_for_extension() -> str:
    """Return the version of the JupyterLab extension in this Python's directories; "" when it is not installed."""
    for base in (Path(sysconfig.get_path("data")), user_path("~/.local"), Path("/usr/local"), Path("/usr")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            text = (base / "share/jupyter/labextensions/pybuild_magic/package.json").read_text("utf-8")
            return str(json.loads(text)["version"])
    return ""


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _apparmor(label: str) -> str:
    profile, _, mode = label.partition(" ")
    return profile if mode == "(enforce)" else ""


def _names(uid: int, gid: int) -> tuple[str, int, str]:
    """Return the name and the group of the user's entry in passwd, and the name of the group `gid`."""
    user, login_gid, group = "", -1, ""
    with contextlib.suppress(ImportError, KeyError):
        import grp
        import pwd

        with contextlib.suppress(KeyError):
            user, login_gid = pwd.getpwuid(uid).pw_name, pwd.getpwuid(uid).pw_gid
        group = grp.getgrgid(gid).gr_name
    return user, login_gid, group


def _may_write(path: str) -> bool:
    """Return whether owner and mode of a directory allow it, which a volume over it takes from it."""
    try:
        status = Path(path).stat()
    except OSError:
        return False
    if not hasattr(os, "geteuid") or os.geteuid() in (0, status.st_uid):
        return path != "/"
    bit = stat.S_IWGRP if status.st_gid in (os.getegid(), *os.getgroups()) else stat.S_IWOTH
    return path != "/" and bool(status.st_mode & bit)


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return ""


def regrouped(root: Path) -> int:
    """Return the group that a cluster gave to all files of the store when this container started; -1 for none.

    A pod's `fsGroup` does that to its volumes. It also adds rights of the group and the set-group-ID bit, which the
    directory around an extracted layer does not have by itself.
    """
    bits = stat.S_ISGID | stat.S_IWGRP
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = int(_read("/proc/1/stat").rpartition(")")[2].split()[19])
        ago = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        for entry in os.scandir(root / "rootfs"):
            status = entry.stat(follow_symlinks=False)
            before = time.time() - status.st_ctime > ago + _PULL
            if status.st_mode & bits == bits and status.st_gid in os.getgroups() and not before:
                return status.st_gid
    return -1


def _container() -> str:
    if "KUBERNETES_SERVICE_HOST" in os.environ or Path("/var/run/secrets/kubernetes.io").exists():
        return "kubernetes"
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    root = next((line for line in _read("/proc/self/mountinfo").splitlines() if line.split()[4] == "/"), "")
    return "container" if " - overlay " in root else ""


def _has_xattrs(root: Path) -> bool:
    path = root / f".doctor-{os.getpid()}"
    try:
        path.touch()
        os.setxattr(path, "user.pybuild", b"1")
    except (OSError, AttributeError):
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


def _has_locks(root: Path) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    path = root / f".doctor-{os.getpid()}"
    try:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


def _cgroup(name: str, controller: str, old_name: str = "") -> int:
    """Return a limit of this process's control group, of either hierarchy; 0 when there is none."""
    places = [_CGROUPS / name, _CGROUPS / controller / (old_name or name)]
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            places.append(_CGROUPS / path.lstrip("/") / name)
        elif controller in controllers.split(","):
            places.append(_CGROUPS / controller / path.lstrip("/") / (old_name or name))
    return _least([_limited(int(text)) for place in places if (text := _read(place)).isdigit()])


def _cpus() -> float:
    count = float(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else float(os.cpu_count() or 0)
    quota, _, period = _read(_CGROUPS / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(_CGROUPS / "cpu/cpu.cfs_quota_us"), _read(_CGROUPS / "cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        count = min(count, int(quota) / int(period))
    return count


def _limited(value: int) -> int:
    return 0 if value < 0 or value > _UNLIMITED else value


def _least(values: list[int]) -> int:
    return min(filter(None, values), default=0)
