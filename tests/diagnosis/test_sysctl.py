"""The doctor's lines for sysctl, followed in a user namespace, whose limits of namespaces are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SETTINGS = Path("/proc/sys/user")
LOOK = """
import json, sys
from pathlib import Path
from pybuild_magic.builders.embedded.sandbox import doctor
from pybuild_magic.builders.embedded.sandbox.sandbox import Sandbox
from pybuild_magic.builders.embedded.sandbox.spec import RunSpec
from pybuild_magic.cancel import Cancel
from pybuild_magic.diagnosis import Report
from pybuild_magic.diagnosis.facts import Facts
from pybuild_magic.diagnosis.look import look_at_store, look_at_system
from pybuild_magic.errors import BuildError
from pybuild_magic.llb.ops import NetMode
from pybuild_magic.store import Store

with Store(sys.argv[1]) as store:
    facts = doctor.look(store)
    report = Report.of(Facts(look_at_system(), facts, look_at_store(store.root)))
    with Sandbox(store) as sandbox:
        try:
            sandbox.discard(sandbox.run(RunSpec(("/none",), network=NetMode.NONE), lambda *_: None, Cancel()))
            problem = ""
        except BuildError as error:
            problem = str(error)
    rung = facts.selected.number if facts.works else 0
    said = {finding.subject: finding.text for finding in report.findings}
    lines = [one.lines for one in report.remedies if one.title.startswith("sysctl")]
    print(json.dumps({"rung": rung, "said": said, "lines": lines, "alone": problem, "text": repr(report)}))
"""
"""Prints what is found by a root that has to make namespaces as an ordinary user does."""
FOLLOW = """
import json, subprocess, sys
from pathlib import Path
*look, name = sys.argv[1:]

def examine():
    return json.loads(subprocess.run(look, capture_output=True, text=True, check=True).stdout)

Path("/proc/sys", name.replace(".", "/")).write_text("0")
before = examine()
for line in "\\n".join(before["lines"]).splitlines():
    name, _, value = line.removeprefix("sysctl -w ").partition("=")
    Path("/proc/sys", name.replace(".", "/")).write_text(value)
print(json.dumps([before, examine()]))
"""
"""Sets a limit to 0, looks, does what the lines say, and looks again."""


def follow(place: Path, name: str) -> list[dict[str, Any]]:
    look = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", LOOK, str(place)]
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", FOLLOW, *look, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(autouse=True, scope="module")
def namespaces() -> None:
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespace can be made here")


@pytest.mark.parametrize("kind", ["user", "mnt", "pid", "ipc", "uts", "cgroup"])
def test_a_limit_is_told_and_lifted(tmp_path: Path, kind: str) -> None:
    name = f"user.max_{kind}_namespaces"
    if kind == "cgroup" and not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("there are cgroup namespaces with cgroups of version 2 only")
    before, after = follow(tmp_path, name)
    assert before["rung"] > 3
    assert before["said"]["Kernel"] == f"{name} is 0, so no namespaces can be made."
    assert "no more namespaces are allowed" in before["said"]["Rung 1"]
    assert before["lines"] == [f"sysctl -w {name}=65536"]
    assert after["rung"] == 3, after["text"]
    assert "Kernel" not in after["said"]


def test_a_limit_of_networks_is_told_where_namespaces_work(tmp_path: Path) -> None:
    name = "user.max_net_namespaces"
    before, after = follow(tmp_path, name)
    assert before["rung"] == after["rung"] == 3
    assert before["said"]["Kernel"] == f"{name} is 0, so RUN --network=none fails."
    assert "no more namespaces are allowed" in before["alone"]
    assert "disk" not in before["alone"]
    assert before["lines"] == [f"sysctl -w {name}=65536"]
    assert not after["alone"] and "Kernel" not in after["said"]
