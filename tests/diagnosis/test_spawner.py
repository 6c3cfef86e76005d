"""The doctor's lines for DockerSpawner, given to a real engine as DockerSpawner does it: through Docker's API."""

from __future__ import annotations

import http.client
import json
import socket
from types import SimpleNamespace
from typing import Any

from pybuild_magic.diagnosis import Report
from pybuild_magic.diagnosis.facts import Facts, Limits, System
from pybuild_magic.request.values import parse_size
from tests.services.buildkit import Engine

from .test_findings import NONE

LOOK = """grep "^Seccomp:" /proc/self/status; grep "^CapEff:" /proc/self/status
grep -c " /tmp " /proc/self/mounts; grep -c " /proc/" /proc/self/mountinfo
ulimit -n; df -k /dev/shm | awk 'END {print $2}'; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null
true"""
"""Prints the mode of seccomp, which is 0 without a filter, the capabilities, the number of mounts at /tmp and of those
that mask parts of /proc, the limit of open files, the size of /dev/shm in KiB, and the limit of processes."""


def test_the_engine_takes_what_is_pasted_for_a_spawner(engine: Engine) -> None:
    limits = Limits(files=256, files_hard=4096, processes=64, shm=1 << 20)
    system = System(container="docker", hub=True, capabilities=0, filtered=True, masked=True, temporary="")
    report = Report.of(Facts(system, NONE, limits=limits))
    [lines] = [remedy.lines for remedy in report.remedies if remedy.title.startswith("DockerSpawner")]
    spawner = SimpleNamespace()
    exec(lines, {"c": SimpleNamespace(DockerSpawner=spawner)})
    # DockerSpawner's create_object, and create_host_config of the docker package, whose words become the API's.
    words: dict[str, Any] = spawner.extra_host_config
    assert set(words) == {"security_opt", "cap_add", "pids_limit", "shm_size", "ulimits", "tmpfs"}
    host = {
        "SecurityOpt": words["security_opt"],
        "CapDrop": ["ALL"],
        "CapAdd": words["cap_add"],
        "Tmpfs": words["tmpfs"],
        "PidsLimit": words["pids_limit"],
        "ShmSize": parse_size(words["shm_size"], "shm_size"),
        "Ulimits": [{name.title(): value for name, value in limit.items()} for limit in words["ulimits"]],
        **spawner.extra_create_kwargs["host_config"],
    }
    plain, pasted = (_printed(engine, config) for config in ({"ShmSize": 1 << 20, "CapDrop": ["ALL"]}, host))
    assert plain[:3] == ["Seccomp:\t2", "CapEff:\t0000000000000000", "0"] and int(plain[3]) > 0 and plain[5] == "1024"
    assert pasted == ["Seccomp:\t0", "CapEff:\t00000000800000c0", "1", "0", "4096", "65536", "4096"]


def _printed(engine: Engine, host: dict[str, Any]) -> list[str]:
    """Return the lines that a container with this HostConfig prints."""
    body = json.dumps({"Image": "busybox", "Cmd": ["sh", "-c", LOOK], "HostConfig": {**host, "NetworkMode": "none"}})
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(engine.socket))
    try:
        connection.request("POST", "/containers/create", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    assert "Id" in answer, answer
    try:
        return engine.docker("start", "--attach", answer["Id"]).stdout.splitlines()
    finally:
        engine.docker("rm", "--force", answer["Id"])
