"""Processes with limits, in each place where cgroups of version 2 are had, or are not; see `test_cgroups`.

This is run as root in a Linux of its own, whose cgroups it may change. It writes a line of JSON for each place.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.builders.embedded.sandbox import client
from pybuild_magic.builders.embedded.sandbox.cgroups import sweep
from pybuild_magic.builders.embedded.sandbox.limits import Limits
from pybuild_magic.errors import BuildError, RunError
from pybuild_magic.images.load import load_image
from pybuild_magic.notebook.background_commands import ps
from pybuild_magic.run import run, start
from pybuild_magic.run.result import RunResult
from tests.run.processes import processes
from tests.search import cgroups

ROOT = Path("/sys/fs/cgroup")
USER = 1000
_CONTROLLERS = "+cpu +memory +pids"
_CLONE_NEWNS, _CLONE_NEWCGROUP = 0x20000, 0x2000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 1 << 14, 1 << 18
_MNT_DETACH = 2
_SMALL = Limits(memory=96 << 20, swap=96 << 20, pids=48)

GREEDY = "dd if=/dev/zero of=/dev/null bs=100M count=1"
BOMB = "f() { f | f & }; f; sleep 1; for i in $(seq 100); do sleep 30 & done; echo all of them"
_ASLEEP = "7654"
_SLEEPING = f"sleep {_ASLEEP} & setsid sleep {_ASLEEP} & wait"
SPIN = "i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done"


def told(action: Callable[[], Any]) -> Any:
    """What a run, or the error of a build, tells."""
    try:
        done = action()
    except BuildError as error:
        code = error.exit_code if isinstance(error, RunError) else None
        return {"error": error.message, "hint": error.hint, "code": code, "logs": list(error.logs)}
    if isinstance(done, RunResult):
        return {"code": done.exit_code, "text": done.text, "limits": done.limits, "warnings": list(done.warnings)}
    return repr(done)


def left() -> list[str]:
    """The cgroups made for processes; not those that a place's own processes were moved into."""
    return sorted(str(path.relative_to(ROOT)) for path in cgroups("pybuild-*") if path.name != "pybuild-init")


def shell(script: str, **flags: Any) -> Any:
    return told(lambda: run("busybox", "sh", "-c", script, **flags))


def step(script: str, **flags: Any) -> Any:
    return told(lambda: build(f"FROM busybox\nRUN {script}", "-", progress="quiet", **flags))


def limited() -> dict[str, Any]:
    """Everything that a place with cgroups can do."""
    builder = embedded_builder()
    builder.sandbox.check()
    guard = builder.sandbox.guard
    facts: dict[str, Any] = {"rung": getattr(builder.sandbox.rung, "number", 0)}
    facts["guard"] = [str(guard.limits), guard.why] if guard else None
    facts["memory"] = shell(f"{GREEDY}; echo $?", memory="32m")
    facts["pids"] = shell("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all", pids_limit=5)
    facts["all"] = shell("true", memory="64m", cpus="0.5", pids_limit=50)
    facts["step"] = step(GREEDY, resources=["memory=32m"])
    facts["after"] = left()
    builder.close()
    facts["closed"] = left()
    return facts


def bombs() -> dict[str, Any]:
    """What runs without being given limits, where all together may have little."""
    standing, client.standing_limits = client.standing_limits, lambda: _SMALL
    builder = embedded_builder()
    try:
        facts = {"bomb": step(BOMB), "greedy": step(GREEDY), "still": shell("echo still here")}
    finally:
        client.standing_limits = standing
        builder.close()
    return {**facts, "bombed": left()}


def more() -> dict[str, Any]:
    """What needs no repetition in every place."""
    facts: dict[str, Any] = {}
    spent = [_processor_seconds(cpus) for cpus in ("0.25", "0")]
    facts["pace"] = spent
    facts["bad"] = step("true", resources=["cpu-period=1"])
    facts["parent"] = step(
        "cat /proc/self/cgroup; exit 3", cgroup_parent="/of-a-test/inner", resources=["cpu-shares=512"]
    )
    facts["parents"] = (ROOT / "of-a-test").exists()
    embedded_builder().close()
    facts["killed"] = _left_by_killed()
    facts["background"] = _in_the_background()
    return facts


def _processor_seconds(cpus: str) -> float:
    begin = time.monotonic()
    shell(SPIN, cpus=cpus)
    return time.monotonic() - begin


def _left_by_killed() -> dict[str, Any]:
    """What a process that is killed during a limited run leaves, and what of that when the next has looked."""
    code = f"from pybuild_magic.run import run; run('busybox', 'sh', '-c', {_SLEEPING!r}, memory='64m')"
    kernel = subprocess.Popen([sys.executable, "-c", code])
    _until(lambda: len(_sleepers()) >= 2)
    during = [left(), _sleepers()]
    kernel.kill()
    kernel.wait()
    _until(lambda: not _sleepers())
    _until(lambda: sweep(0.0) or not left())
    return {"during": during, "after": [left(), _sleepers()]}


def _sleepers() -> list[int]:
    return list(processes(f"sleep\0{_ASLEEP}\0"))


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def _in_the_background() -> dict[str, Any]:
    """What is shown of a run in the background that has limits, while it goes on and after it was killed for them."""
    going = start("busybox", "sh", "-c", f"sleep 2; {GREEDY}; exit $?", name="greedy", memory="32m")
    shown = repr(ps([]))
    return {"code": going.wait(), "during": shown, "after": repr(ps(["-a"]))}


def nested() -> dict[str, Any]:
    """What a run that runs and builds in itself tells, where it may make cgroups and where it may not."""
    code = "import tests.run.cgroup_places as places; places.print_inside()"
    needed = ("/usr", "/lib", "/lib64", sys.base_prefix, sys.prefix, str(Path.cwd()), sys.argv[1])
    volumes = [f"{path}:{path}:ro" for path in dict.fromkeys(needed) if Path(path).is_dir()]
    facts: dict[str, Any] = {}
    for name, more in {"plain": {}, "privileged": {"privileged": True}}.items():
        done = run(
            "busybox",
            *(sys.executable, "-c", code, sys.argv[1]),
            volumes=volumes,
            workdir=str(Path.cwd()),
            env={
                "PYTHONPATH": str(Path.cwd()),
                "PYTHONDONTWRITEBYTECODE": "1",
                "HOME": "/tmp",
                "PYBUILD_HOME": "/tmp/in",
            },
            memory="512m",
            **more,
        )
        lines = done.text.splitlines()
        facts[name] = json.loads(lines[-1]) if done.exit_code == 0 and lines else {"failed": done.error_text}
        facts[name]["reached"] = list(done.warnings)
    embedded_builder().close()
    return {"nested": facts, "nested left": left()}


def print_inside() -> None:
    """Run in a run: print what limits do there."""
    load_image(embedded_builder().store, Path(sys.argv[1]), "busybox")
    embedded_builder().sandbox.check()
    guard = embedded_builder().sandbox.guard
    facts = {
        "guard": [str(guard.limits), guard.why] if guard else None,
        "memory": shell(f"{GREEDY}; echo $?", memory="32m"),
        "step": step("echo built"),
    }
    embedded_builder().close()
    print(json.dumps(facts))


def in_place(name: str, enter: Callable[[], None], *parts: Callable[[], dict[str, Any]], uid: int = 0) -> None:
    """Write what `parts` find in a process of its own, in the place."""
    begin = time.monotonic()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        facts: dict[str, Any] = {"place": name}
        try:
            enter()
            home = Path(f"/tmp/{name}")
            home.mkdir()
            os.chown(home, uid, uid)
            if uid:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                _linux("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: its files in /proc are its own again
            os.environ.update(PYBUILD_HOME=f"{home}/store", HOME=str(home))
            load_image(embedded_builder().store, Path(sys.argv[1]), "busybox")
            for part in parts:
                facts |= part()
        except BaseException:
            facts["failed"] = traceback.format_exc()
        facts["seconds"] = round(time.monotonic() - begin, 1)
        with os.fdopen(writing, "w") as file:
            json.dump([facts, [name for name in sys.modules if name.startswith("pybuild_magic")]], file)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        facts, modules = json.load(file)
    os.waitpid(pid, 0)
    with Path("/run/shared/facts").open("a") as file:
        print(json.dumps(facts), file=file)
    for module in modules:  # so that the next process need not
        importlib.import_module(module)


def _linux(function: str, *arguments: Any) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments):
        raise OSError(ctypes.get_errno(), function)


def make(path: str, owner: int = 0) -> Path:
    """Make a cgroup, delegated to a user as systemd does."""
    place = ROOT
    for part in path.split("/"):
        (place / "cgroup.subtree_control").write_text(_CONTROLLERS)
        place = place / part
        place.mkdir(exist_ok=True)
    for file in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(place / file, owner, owner)
    return place


def into(place: Path) -> Callable[[], None]:
    return lambda: [(place / "cgroup.procs").write_text("0"), None][1]


def container(name: str, flags: int = 0) -> Callable[[], None]:
    """Enter a cgroup as the root of a container, mounted with `flags`."""
    place = make(f"system.slice/{name}.scope")

    def enter() -> None:
        into(place)()
        _linux("unshare", _CLONE_NEWCGROUP | _CLONE_NEWNS)
        _linux("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        _linux("umount2", os.fsencode(ROOT), _MNT_DETACH)
        _linux("mount", b"cgroup", os.fsencode(ROOT), b"cgroup2", 0, None)
        if flags:
            _linux("mount", b"none", os.fsencode(ROOT), None, _MS_REMOUNT | _MS_BIND | flags, None)

    return enter


def open_to_users(paths: list[str]) -> None:
    """Show files below /root, where the tests may be installed, to ordinary users too."""
    closed = [path for path in dict.fromkeys(paths) if path.startswith("/root/")]
    for number, path in enumerate(closed):
        Path(f"/run/kept/{number}").mkdir(parents=True)
        subprocess.run(["mount", "--bind", path, f"/run/kept/{number}"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "root", "/root"], check=True)
    for number, path in enumerate(closed):
        Path(path).mkdir(parents=True)
        subprocess.run(["mount", "--bind", f"/run/kept/{number}", path], check=True)


_SERVICE = (limited, bombs, more, nested)


def main() -> None:
    """Try every place."""
    open_to_users([sys.base_prefix, sys.prefix, str(Path.cwd()), sys.argv[1]])
    places: dict[str, Callable[[], None]] = {
        "service": lambda: in_place(
            "service", into(make("system.slice/jupyter.service")), limited, bombs, more, nested
        ),
        "delegated": lambda: in_place("delegated", into(_of_user("app")), limited, uid=USER),
        "leaf": lambda: in_place("leaf", into(make("user.slice/leaf.service", USER)), limited, bombs, uid=USER),
        "container": lambda: in_place("container", container("open"), limited),
        "read-only": lambda: in_place("read-only", container("closed", _MS_RDONLY), limited),
        "nobody": lambda: in_place("nobody", into(make("system.slice/of-root.service")), limited, uid=USER),
    }
    for name in sys.argv[2:] or places:
        places[name]()


def _of_user(name: str) -> Path:
    make("user.slice/user-1000.slice/user@1000.service", USER)
    return make(f"user.slice/user-1000.slice/user@1000.service/{name}", USER)


if __name__ == "__main__":
    main()
