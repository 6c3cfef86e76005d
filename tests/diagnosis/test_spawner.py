"""The doctor's lines for DockerSpawner, given to a real engine as DockerSpawner does it: through Docker's API."""

from __future__ import annotations

import http.client
import json
import socket
from types import SimpleNamespace
from typing import Any

from pybuild_magic.diagnosis import Report
from pybuild_magic.diagnosis.facts import Facts, System
from tests.services.buildkit import Engine

from .test_findings import NONE

LOOK = 'grep "^Seccomp:" /proc/self/status; grep -c " /proc/" /proc/self/mountinfo; true'
"""Prints the mode of seccomp, which is 0 without a filter, and the number of mounts that mask parts of /proc."""


def test_the_engine_takes_what_is_pasted_for_a_spawner(engine: Engine) -> None:
    report = Report.of(Facts(System(container="docker", hub=True), NONE))
    [lines] = [remedy.lines for remedy in report.remedies if remedy.title.startswith("DockerSpawner")]
    spawner = SimpleNamespace()
    exec(lines, {"c": SimpleNamespace(DockerSpawner=spawner)})
    # DockerSpawner's create_object, and create_host_config of the docker package, whose words become the API's.
    assert set(spawner.extra_host_config) == {"security_opt"}
    host = {"SecurityOpt": spawner.extra_host_config["security_opt"], **spawner.extra_create_kwargs["host_config"]}
    plain, pasted = (_printed(engine, config) for config in ({}, host))
    assert plain[0] == "Seccomp:\t2" and int(plain[1]) > 0
    assert pasted == ["Seccomp:\t0", "0"]


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
