"""The sandbox of an OCI runtime (runc): the same process and mounts, described in a config.json."""

from __future__ import annotations

import errno
import os
import stat

from . import linux, security
from .base import SHM_SIZE
from .container import Container, cwd_owner
from .init import FORWARDED
from .inside import PathError, Root, clean
from .light import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .container import Report
    from .jobs import MountJob, RunJob

_UNLIMITED = 1 << 64
"""-1 in 64 bits: RLIM_INFINITY."""
_MAGIC = {"cwd", "exe", "fd", "map_files", "ns", "root"}
"""Names in a process's directory of /proc that are not files, but lead to those of another file system."""


def start(container: Container, name: str, report: Report) -> NoReturn:
    """Run the job under its runtime, as pid 1 of a PID namespace, so that killing this kills all of it.

    runc makes cgroups of the container's `name`, which must be unique at any time.
    """
    job, scratch = container.job, container.scratch
    place = container.mount_root()
    root = Root(place)
    container.stage_sources()
    points = [("/proc", True), ("/dev", True), ("/sys", True)]
    for item, fd in zip(job["mounts"], container.sources, strict=True):
        if not (path := clean(item["dest"])).startswith(("/proc/", "/dev/", "/sys/")):
            points.append((path, fd < 0 or stat.S_ISDIR(os.stat(fd).st_mode)))
    report(("stubs", _prepare(job, root, points)), container.images)
    cwd = root.resolve(job["cwd"])
    for path in (cwd, *(root.resolve(item["dest"]) for item in job["mounts"])):
        _check(path)
    # The runtime uses /proc/self, which the /proc of the outer PID namespace does not have.
    linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
    sources: list[str] = []
    for number, fd in enumerate(container.sources):
        sources.append(_place(f"{scratch}/m{number}", fd) if fd >= 0 else "")
    import json  # seldom needed, and slow to import, which would delay the start of every helper

    config = _config(container, place, cwd, sources)
    with open(f"{scratch}/config.json", "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(config, file, ensure_ascii=False)
    status = _run(job["runtime"], scratch, name)
    with open(f"{scratch}/log", encoding="utf-8", errors="replace") as file:
        if (log := file.read()) and status != 0 and (message := _message(log)):
            report(("error", _exit_code(message), message))
    os._exit(status)


def remove_cgroups(name: str) -> None:
    """Remove the remains of a runc that was killed: a cgroup in each hierarchy, in or beside the cgroup of this
    process.
    """
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().splitlines()
    for line in lines:
        _, controllers, own = line.split(":", 2)
        # The second hierarchy is "unified" beside those of the first; a container may see its own part as "/".
        for hierarchy in (controllers.removeprefix("name="),) if controllers else ("", "unified"):
            for parent in {"/", own, os.path.dirname(own)}:
                try:
                    os.rmdir(f"/sys/fs/cgroup/{hierarchy}/{parent}/{name}")
                except OSError:
                    pass  # it is usually not there


def _prepare(job: RunJob, root: Root, points: list[tuple[str, bool]]) -> list[str]:
    """Make the working directory and the mount points, and return the stubs."""
    stubs = root.missing(["/etc/resolv.conf", "/etc/hosts", *(item["dest"] for item in job["mounts"])])
    os.close(root.make(job["cwd"], directory=True, owner=cwd_owner(job)))
    for path, directory in points:
        os.close(root.make(path, directory=directory))
    return stubs


def _check(path: str) -> None:
    """Refuse a path (without links of the image) that leads to an open file of one of the runtime's processes."""
    parts = path.split("/")[1:]
    process = len(parts) > 2 and (parts[1].isdigit() or parts[1] in ("self", "thread-self"))
    if process and parts[0] == "proc" and not _MAGIC.isdisjoint(parts[2:]):
        raise PathError(errno.ELOOP, f"{path} leads to an open file of a process")


def _place(place: str, fd: int) -> str:
    """Bind `fd` to a path that can be given to a runtime."""
    if stat.S_ISDIR(os.stat(fd).st_mode):
        os.mkdir(place)
    else:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    target = os.open(place, os.O_PATH | os.O_CLOEXEC)
    linux.bind(fd, target)
    os.close(target)
    os.close(fd)
    return place


def _run(runtime: str, scratch: str, container: str) -> int:
    """Run the runtime, and reap processes meanwhile; return the exit status, 128+n for signal n."""
    name = os.path.basename(runtime)
    options = ["--root", f"{scratch}/state", "--log", f"{scratch}/log"]
    os.close(os.open(f"{scratch}/log", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    child = os.fork()
    if child == 0:
        try:
            linux.prctl(linux.PR_SET_PDEATHSIG, 9)
            linux.close_from(3)
            environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}
            os.execve(runtime, [name, *options, "run", "--bundle", scratch, container], environment)
        finally:
            os._exit(125)
    for number in (*FORWARDED, signal.SIGWINCH):
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _message(log: str) -> str:
    """Return why the process was not started, "" when it was."""
    line = log.strip().splitlines()[-1]
    message = line.partition('msg="')[2].rstrip('"').replace('\\"', '"')
    return message if "run failed" in message else ""


def _exit_code(message: str) -> int:
    """Return 127 or 126, as a shell would, for a runtime's complaint about the command; else 125."""
    text = message.lower()
    if "not found" in text or "no such file" in text:
        return 127
    return 126 if "permission denied" in text or "is a directory" in text or "exec format" in text else 125


def _config(container: Container, root: str, cwd: str, sources: list[str]) -> dict[str, object]:
    """Return the runtime specification of the job (opencontainers/runtime-spec, config.md)."""
    job, scratch = container.job, container.scratch
    namespaces = ["pid", "ipc", "uts", "mount"]
    namespaces += ["cgroup"] if linux.has_cgroup2() else []
    namespaces += ["network"] if job["network"] == "none" else []
    process: dict[str, object] = {
        "args": job["args"],
        "env": job["env"],
        "cwd": cwd,
        "user": {
            "uid": job["uid"],
            "gid": job["gid"],
            "umask": 0o022,
            "additionalGids": [] if container.identity.single else job["groups"],
        },
        "noNewPrivileges": False,
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft % _UNLIMITED, "hard": hard % _UNLIMITED}
            for name, soft, hard in job["ulimits"]
        ],
    }
    linux_part: dict[str, object] = {"namespaces": [{"type": name} for name in namespaces]}
    allowed = security.allowed(job["network"], job["capabilities"])
    capabilities = list(security.ALL_CAPABILITIES[:38] if job["insecure"] else allowed)
    if "ALL" in (job["capabilities"] or ()):
        available = linux.permitted()
        capabilities = [name for name, number in allowed.items() if available >> number & 1]
    process["capabilities"] = dict.fromkeys(("bounding", "permitted", "effective"), capabilities)
    if not job["insecure"]:
        linux_part["maskedPaths"] = list(security.MASKED_PATHS)
        linux_part["readonlyPaths"] = list(security.READONLY_PATHS)
        linux_part["seccomp"] = security.seccomp_profile()
    if any(item["device"] for item in job["mounts"]):
        linux_part["resources"] = {"devices": [{"allow": True, "access": "rwm"}]}
    hooks: dict[str, list[object]] = {"createContainer": [], "startContainer": []}
    for path, args, env, inside in job["hooks"]:
        point = "startContainer" if inside else "createContainer"
        hooks[point].append({"path": path, "args": args or [path], "env": env})
    return {
        "ociVersion": "1.0.2",
        "hooks": hooks,
        "process": process,
        "root": {"path": root, "readonly": job["readonly_root"]},
        "hostname": job["hostname"],
        "mounts": _mounts(job, scratch, sources, single=container.identity.single, userns=container.identity.userns),
        "linux": linux_part,
    }


def _mounts(job: RunJob, scratch: str, sources: list[str], *, single: bool, userns: bool) -> list[dict[str, object]]:
    quiet = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *([] if single else ["gid=5"])]
    shm = [*quiet, "mode=1777", f"size={job['shm_size'] or SHM_SIZE}"]
    writable = [] if job["insecure"] else ["ro"]
    has_host_network = userns and job["network"] != "none"
    rows = [
        ("/proc", "proc", "proc", quiet),
        ("/dev", "bind", f"{scratch}/dev", ["rbind", "nosuid", "nodev"]),
        ("/dev/pts", "devpts", "devpts", pts),
        ("/dev/shm", "tmpfs", "shm", shm),
        ("/dev/mqueue", "mqueue", "mqueue", quiet),
        ("/sys", "bind", "/sys", ["rbind", *quiet, *writable])
        if has_host_network
        else ("/sys", "sysfs", "sysfs", [*quiet, *writable]),
        ("/etc/resolv.conf", "bind", f"{scratch}/resolv", [*quiet, "rbind", "ro"]),
        ("/etc/hosts", "bind", f"{scratch}/hosts", [*quiet, "rbind", "ro"]),
    ]
    table: dict[str, dict[str, object]] = {}
    for row in rows:
        table[row[0]] = _row(*row)
    for item, source in zip(job["mounts"], sources, strict=True):
        table[clean(item["dest"])] = _row(clean(item["dest"]), *_own(item, source, insecure=job["insecure"]))
    return list(table.values())


def _own(item: MountJob, source: str, *, insecure: bool) -> tuple[str, str, list[str]]:
    options = [*(["ro"] if item["readonly"] else []), *([] if insecure or item["device"] else ["nodev"])]
    if item["kind"] == "tmpfs":
        size = [f"size={item['size']}"] if item["size"] else []
        words = [word for word in item["options"].split(",") if word and word != "dev"]
        return "tmpfs", "tmpfs", ["nosuid", *options, *size, *words]
    if item["kind"] == "secret":
        noexec = [] if item["mode"] & 0o111 else ["noexec"]
        return "bind", source, ["ro", "rbind", "nodev", "nosuid", *noexec]
    return "bind", source, ["rbind", *options]


def _row(destination: str, kind: str, source: str, options: list[str]) -> dict[str, object]:
    return {"destination": destination, "type": kind, "source": source, "options": options}
