"""The Docker daemon that tests share: its root filesystem, its namespaces, who uses it, and its end.

A newer Debian than the machine's carries a Docker with a current BuildKit. It is installed into a root
filesystem of its own by debootstrap, kept in the cache directory, and started in mount and PID namespaces
with that root as `/` (runc cannot pivot out of a plain chroot). Its data start empty each time and its socket
is a path in the cache directory: the machine's own Docker, where there is one, is never touched. Its bridge is
its own too, without iptables rules, so RUN has a network but no way out to the internet.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import debian
from .common import ServiceError, ServiceMissingError, cache_dir, lock, need_root, run, tail, tool

SUITES = ("sid", "trixie")
"""sid has the newest Docker but may be uninstallable for a day; trixie is fixed."""
PACKAGES = (
    *("docker.io", "docker-cli", "docker-buildx", "containerd", "runc", "iptables"),
    *("git", "ca-certificates", "xz-utils"),
)

SOCKET = "docker.sock"
START_SECONDS = 60
STOP_SECONDS = 15

# $1 is the root filesystem, in which nothing is written; $2 is the directory for data, socket and settings.
ENTER = """
cd "$1"
mount --bind "$1" "$1"
cd "$1"
mkdir -p .old engine
mount --bind "$2" engine
mount --bind engine/resolv.conf etc/resolv.conf
mount --rbind /sys sys
mount --rbind /dev dev
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
pivot_root . .old
umount -l /.old
exec docker-init -s -- dockerd --config-file /engine/daemon.json -H unix:///engine/docker.sock
"""


@dataclass(frozen=True)
class Process:
    """A process told from a later one with the same number by its start time, in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this number now, or None."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # proc(5): the state is field 3, the start time field 22
        return None if fields[0] == "Z" else cls(pid, int(fields[19]))

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return Process.of(self.pid) == self


@dataclass(frozen=True)
class Daemon:
    """A running daemon, as the state file records it for all processes that share it."""

    process: Process
    """The `unshare` that holds the namespaces; when it dies, all in them dies."""
    suite: str
    kept: bool = False
    """Started by hand, to run until it is stopped by hand."""
    users: tuple[Process, ...] = field(default=())
    place: str = ""
    """Where one that is not shared has its socket and data."""

    @property
    def home(self) -> Path:
        """The directory for its socket, data and log."""
        return Path(self.place) if self.place else home()

    @property
    def root(self) -> Path:
        """The daemon's root filesystem."""
        return cache_dir() / f"engine-root-{self.suite}"


def home() -> Path:
    """The directory for the daemon's socket, data, log and state."""
    return cache_dir() / "engine"


def socket(place: Path | None = None) -> Path:
    """The Unix socket of Docker's API, or of a daemon's in another place."""
    path = (place or home()) / SOCKET
    if len(os.fsencode(path)) > 107:  # sun_path, unix(7)
        raise ServiceMissingError(f"{path} is too long for a Unix socket: set XDG_CACHE_HOME to a shorter path")
    return path


def acquire(*, keep: bool = False) -> Daemon:
    """Join the running daemon as a user, or start one; with `keep` it then runs until `stop`.

    Raises:
        ServiceMissingError: the machine cannot run one.
        ServiceError: it did not start; the message has the end of its log.
    """
    need_root("a Docker engine of the tests' own")
    with lock("engine"):
        daemon = _load() or _start()
        me = Process.of(os.getpid())
        users = {user for user in daemon.users if user.alive} | ({me} if me and not keep else set())
        daemon = replace(daemon, kept=daemon.kept or keep, users=tuple(users))
        _save(daemon)
        return daemon


def release() -> None:
    """Leave the daemon; the last user of one that is not kept stops it."""
    with lock("engine"):
        if daemon := _load():
            users = tuple(user for user in daemon.users if user.alive and user.pid != os.getpid())
            if users or daemon.kept:
                _save(replace(daemon, users=users))
            else:
                _stop(daemon)


def stop() -> bool:
    """Stop the daemon whoever uses it; False when none runs."""
    with lock("engine"):
        daemon = _load()
        if daemon:
            _stop(daemon)
        return daemon is not None


def running() -> Daemon | None:
    """The daemon that runs now, or None."""
    with lock("engine"):
        return _load()


def log(place: Path | None = None) -> str:
    """What the daemon, or the one in another place, has written to its log."""
    path = (place or home()) / "dockerd.log"
    return path.read_text(errors="replace") if path.exists() else ""


def processes(daemon: Daemon) -> list[int]:
    """The numbers of the daemon's own processes (dockerd, containerd, shims), not those in containers."""
    namespace = Path(f"/proc/{_init(daemon)}/ns/pid").readlink()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "ns/pid").readlink() == namespace:
                found.append(int(entry.name))
    return found


def place_of(daemon: Daemon, path: str) -> Path:
    """A path of the daemon's own file system, /run included, as it is reached from here."""
    return Path(f"/proc/{_init(daemon)}/root{path}")


def _init(daemon: Daemon) -> int:
    """PID 1 of the daemon's namespace, by its number here."""
    pid = daemon.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _load() -> Daemon | None:
    try:
        state: dict[str, Any] = json.loads((home() / "state.json").read_bytes())
    except FileNotFoundError:
        return None
    daemon = Daemon(
        Process(**state["process"]),
        state["suite"],
        state["kept"],
        tuple(Process(**user) for user in state["users"]),
    )
    return daemon if daemon.process.alive else None


def _save(daemon: Daemon) -> None:
    part = home() / "state.json.part"
    part.write_text(json.dumps(asdict(daemon)))
    part.rename(home() / "state.json")


def _root() -> tuple[Path, str]:
    """A root filesystem with Docker and its suite: the cached one, else the first suite that installs."""
    for suite in SUITES:
        root = cache_dir() / f"engine-root-{suite}"
        if (root / "usr/bin/xz").exists():  # ADD of an .xz needs it; roots without it were made by an earlier version
            return root, suite
        shutil.rmtree(root, ignore_errors=True)
    failures: list[str] = []
    for suite in SUITES:
        root = cache_dir() / f"engine-root-{suite}"
        try:
            debian.bootstrap(root, suite, PACKAGES)
        except ServiceError as failure:
            failures.append(str(failure))
        else:
            return root, suite
    raise ServiceMissingError("Docker could not be installed into a root filesystem: " + "; ".join(failures))


def _start() -> Daemon:
    tool("ip")
    socket()
    root, suite = _root()
    try:
        return Daemon(_run(root, home(), _bridge()), suite)
    except ServiceError:
        _drop_bridge()
        raise


@contextlib.contextmanager
def fresh(place: Path) -> Iterator[Daemon]:
    """A daemon of the block's own in `place`, which knows nothing of any build; its RUN has no network.

    Raises:
        ServiceMissingError: the machine cannot run one.
        ServiceError: it did not start.
    """
    need_root("a Docker engine of the tests' own")
    root, suite = _root()
    daemon = Daemon(_run(root, place, "none"), suite, place=str(place))
    try:
        yield daemon
    finally:
        _end(daemon, 0)  # nothing of it stays


def _run(root: Path, place: Path, bridge: str) -> Process:
    """Start a daemon with empty data in `place`, and wait until it answers."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "data").mkdir(parents=True)
    config = {
        "data-root": "/engine/data",
        # Without the containerd image store Docker's BuildKit has no `oci` exporter.
        "features": {"containerd-snapshotter": True},
        "bridge": bridge,
        "iptables": False,
        "ip6tables": False,
        "ip-forward": False,
        "builder": {
            # On a disk that is nearly full it would collect what a test has just put into the cache.
            "gc": {"enabled": False},
            "Entitlements": {"network-host": True, "security-insecure": True},
        },
    }
    (place / "daemon.json").write_text(json.dumps(config))
    shutil.copyfile("/etc/resolv.conf", place / "resolv.conf")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    with (place / "dockerd.log").open("wb") as out:
        process = subprocess.Popen(
            [*command, "sh", "-euc", ENTER, "enter", str(root), str(place)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            start_new_session=True,
        )
    identity = Process.of(process.pid)
    until = time.monotonic() + START_SECONDS
    while "API listen on" not in log(place) or not (place / SOCKET).exists():
        if process.poll() is not None or time.monotonic() > until or identity is None:
            process.kill()
            process.wait()
            raise ServiceError(f"dockerd did not start; the end of its log:\n{tail(log(place))}")
        time.sleep(0.05)
    assert identity is not None
    return identity


def _stop(daemon: Daemon) -> None:
    """End the daemon, and remove its data and bridge."""
    _end(daemon)
    _drop_bridge()
    shutil.rmtree(home(), ignore_errors=True)


def _end(daemon: Daemon, patience: float = STOP_SECONDS) -> None:
    """End the daemon in order, and after so many seconds by force."""
    with contextlib.suppress(OSError, IndexError):
        os.kill(_init(daemon), signal.SIGTERM)
    until = time.monotonic() + patience
    while daemon.process.alive:
        if time.monotonic() > until:
            # --kill-child: with it die PID 1 of the namespace, and thereby all the rest.
            os.kill(daemon.process.pid, signal.SIGKILL)
        time.sleep(0.02)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(daemon.process.pid, 0)


def _bridge_name() -> str:
    """One bridge a cache directory, in at most 15 characters."""
    return "pybuild" + hashlib.sha256(os.fsencode(cache_dir())).hexdigest()[:8]


def _bridge() -> str:
    """Make the bridge for RUN and return its name."""
    _drop_bridge()
    name, network = _bridge_name(), _free_network()
    ip = tool("ip")
    run([ip, "link", "add", name, "type", "bridge"])
    run([ip, "address", "add", f"{network[1]}/{network.prefixlen}", "dev", name])
    run([ip, "link", "set", name, "up"])
    return name


def _drop_bridge() -> None:
    run([tool("ip"), "link", "delete", _bridge_name()], check=False)


def _free_network() -> ipaddress.IPv4Network:
    """A network that no address or route of this machine touches, out of those kept for benchmarks (RFC 2544)."""
    taken = list(_networks_in_use())
    for candidate in ipaddress.IPv4Network("198.18.0.0/15").subnets(new_prefix=24):
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise ServiceMissingError("every network of 198.18.0.0/15 is in use on this machine; none is left for RUN")


def _networks_in_use() -> Iterator[ipaddress.IPv4Network]:
    ip = tool("ip")
    for link in json.loads(run([ip, "-json", "-4", "address"]).stdout or "[]"):
        for address in link.get("addr_info", []):
            yield ipaddress.IPv4Network(f"{address['local']}/{address['prefixlen']}", strict=False)
    for route in json.loads(run([ip, "-json", "-4", "route", "show", "table", "all"]).stdout or "[]"):
        destination = route.get("dst", "default")
        if destination != "default":
            yield ipaddress.IPv4Network(destination, strict=False)
