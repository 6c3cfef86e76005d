"""The rungs of RUN against each other and against proot, and rootless builds against root's, in separate processes.

A rung is measured as the user who gets it: root, or the tests' ordinary user with subordinate IDs, with a single ID,
or where there are no namespaces.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.places.image import DEBIAN, debian_base
from tests.sandbox.test_unprivileged import ENTER, NO_NAMESPACES, ROOT, user_place
from tests.services import baseimages
from tests.services.baseimages import BaseImage

from .figure import Figure
from .scenarios import CONTEXTS, RUNS, TRANSFER

WORK = {
    "apt": "apt-get update -q && apt-get install -y -q build-essential",
    "pip": "python3 -m venv /opt/venv && /opt/venv/bin/pip install -q --no-cache-dir numpy pandas scikit-learn",
}
TARGETS = {3: 1.3, 4: 1.2, 5: 2.5}
WHO = {1: "", 3: "single", 4: "", 5: "traced"}
"""The user who gets each rung; "" is root."""
PROOT = 0
_OVERLAY = 'mount -t overlay overlay -o "$1" "$2"; shift 2; exec "$@"'
NAMES = ("rungs", "rootless")
ROOTLESS = 1.2


def measure(name: str, scratch: Path, rounds: int) -> list[Figure]:
    """Return the figures of `rungs` or of `rootless`. They need root, which can become other users."""
    if os.geteuid() != 0:
        print(f"{name}: left out, it is root that can build as others")
        return []
    return _rungs(scratch) if name == "rungs" else _rootless(scratch, rounds)


def _rungs(scratch: Path) -> list[Figure]:
    figures: list[Figure] = []
    for task, command in WORK.items():
        times = {1: _taken(1, command, scratch)}
        wall, cpu = times[1]
        for rung, target in {**TARGETS, PROOT: None}.items():
            name = f"rung {rung}" if rung else "proot"
            title = f"{task} on {name} against rung 1"
            ratio: float | None = None
            try:
                times[rung] = _taken(rung, command, scratch)
            except RuntimeError as error:
                note = f"did not run: {str(error).strip().rpartition(chr(10))[2][:200]}"
            else:
                ratio = times[rung][0] / wall
                note = f"{times[rung][0]:.1f} s of {wall:.1f} s; CPU {times[rung][1]:.1f} of {cpu:.1f} s"
                note += f", {times[rung][1] / cpu:.2f}"
            figures.append(Figure(f"rungs-{task}-{name.replace(' ', '-')}", title, ratio, "", target, note))
            figures[-1].show()
        for rung in TARGETS:
            ratio, note = None, "one of the two did not run"
            if PROOT in times and rung in times:
                ratio = times[rung][0] / times[PROOT][0]
                note = f"CPU {times[rung][1] / times[PROOT][1]:.2f}"
            title = f"{task} on rung {rung} against proot"
            figures.append(Figure(f"rungs-{task}-{rung}-proot", title, ratio, "", 1.0, note))
            figures[-1].show()
    return figures


def _taken(rung: int, command: str, scratch: Path) -> tuple[float, float]:
    """Return the seconds and CPU seconds of a RUN on Debian, from a store with the base image not yet extracted."""
    if rung == PROOT:
        return _proot(command, scratch)
    context = scratch / "empty"
    context.mkdir(exist_ok=True)
    scratch.chmod(0o755)
    builds = [[f"FROM {DEBIAN}\nRUN {command}\n", str(context), ["type=cacheonly"]]]
    settings = {"PYBUILD_RUNG": str(rung)}
    answer = build_as(WHO[rung], [debian_base()], builds, settings)
    if answer["rung"] != rung:
        raise RuntimeError(f"rung {answer['rung']} was taken")
    return answer["times"][0], answer["cpu"]


def _proot(command: str, scratch: Path) -> tuple[float, float]:
    program = shutil.which("proot")
    if program is None:
        raise RuntimeError("proot is not installed")
    root = scratch / f"proot-{time.monotonic_ns()}"
    base = [debian_base()]
    build_as("", base, [[f"FROM {DEBIAN}\n", str(scratch), [f"type=local,dest={root}"]]], {})
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    began, before = time.monotonic(), _cpu()
    done = subprocess.run(
        [program, "-0", "-r", root, "-b", "/proc", "-b", "/dev", "-w", "/", "/bin/sh", "-c", command],
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "DEBIAN_FRONTEND": "noninteractive",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds, cpu = time.monotonic() - began, _cpu() - before
    shutil.rmtree(root)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return seconds, cpu


def _rootless(scratch: Path, rounds: int) -> list[Figure]:
    """Measure ours as an ordinary user with subordinate IDs against ours as root, in turns."""
    context = scratch / "rootless"
    context.mkdir()
    CONTEXTS["transfer"](context)
    scratch.chmod(0o755)
    base = [baseimages.busybox()]
    figures: list[Figure] = []
    warm = ["FROM busybox\nRUN true\n", str(context / "subdir1/subdir2"), ["type=cacheonly"]]
    for name, dockerfile in (("transfer", TRANSFER), ("run-30", RUNS)):
        times: dict[str, list[float]] = {"": [], "range": []}
        for number in range(rounds):
            for user in ("", "range") if number % 2 == 0 else ("range", ""):
                built = build_as(user, base, [warm, [dockerfile, str(context), ["type=cacheonly"]]], {})
                times[user].append(built["times"][1])
        root, rootless = (statistics.median(times[user]) for user in ("", "range"))
        note = f"{rootless:.3f} s of {root:.3f} s"
        figures.append(Figure(f"rootless-{name}", f"{name} rootless against root", rootless / root, "", ROOTLESS, note))
        figures[-1].show()
    return figures


def build_as(
    user: str,
    bases: Sequence[BaseImage],
    builds: Sequence[Any],
    settings: Mapping[str, str],
    own_layer: bool = False,
) -> dict[str, Any]:
    """Run `benchmarks.one` as root or as a kind of ordinary user, and return its answer. Raises RuntimeError.

    The store is on an overlay file system if `own_layer`, as it is in a container without a volume. `cpu` in the answer
    is the CPU seconds of the builds and of all processes that they ran.
    """
    command = [sys.executable, "-m", "benchmarks.one"]
    with user_place() as (state, home):
        archives = {image.name: home / f"{image.name}.tar" for image in bases}
        for image in bases:
            archives[image.name].write_bytes(image.archive())
        job = json.dumps({"bases": {name: str(path) for name, path in archives.items()}, "builds": list(builds)})
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "NO_NAMESPACES": NO_NAMESPACES,
            **settings,
        }
        if user:
            command = ["unshare", "-m", "sh", "-c", ENTER, "sh", str(state), user, sys.base_prefix, *command]
        if own_layer:
            layers = {name: state / name for name in ("lower", "upper", "work", "merged")}
            for layer in layers.values():
                layer.mkdir()
            shutil.copystat(home, layers["upper"])
            os.chown(layers["upper"], home.stat().st_uid, home.stat().st_gid)
            options = f"lowerdir={layers['lower']},upperdir={layers['upper']},workdir={layers['work']}"
            environment["TMPDIR"] = str(layers["merged"])
            command = ["unshare", "-m", "sh", "-c", _OVERLAY, "sh", options, str(layers["merged"]), *command]
        before = _cpu()
        done = subprocess.run(command, cwd=ROOT, env=environment, input=job, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        answer = json.loads(done.stdout.splitlines()[-1])
        return answer | {"cpu": _cpu() - before - answer["loaded"]}


def _cpu() -> float:
    """Return the CPU seconds, user and system, of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
