"""Every task in every place, as `expected` says; what is listed there and works fails as much as what does not."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.services import require
from tests.services.buildkit import Engine
from tests.services.registry import Registry

from . import image
from .expected import reason
from .lab import Lab, judge, lab, reference, share
from .place import PLACES, Place
from .table import PAGE, written
from .task import TASKS, Task

ALL = os.environ.get("PYBUILD_PLACES") == "all"
"""Whether to try all tasks in all places, and the slow ones in a place for each rung, as `make places` does."""

# Two groups, so that no more than two containers crowd the machine.
_PAIRS = [
    pytest.param(place, task, id=f"{place.name}-{task.name}", marks=pytest.mark.xdist_group(f"places-{number % 2}"))
    for number, place in enumerate(sorted(PLACES.values(), key=lambda place: place.stands))
    for task in TASKS.values()
    if (ALL or place.often or task.quick) and (not task.slow or (ALL and place.stands))
]


@pytest.fixture(scope="module")
def bases(engine: Engine, registry: Registry) -> Registry:
    """A registry with the base images."""
    require(image.debian_base)
    share(engine, registry)
    return registry


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest, engine: Engine, bases: Registry) -> Iterator[Lab]:
    """The container of a place, which its tasks share in their order."""
    with lab(engine, bases, request.param) as running:
        yield running


@pytest.mark.parametrize(("opened", "task"), _PAIRS, indirect=["opened"])
def test_it_works_in_the_place(opened: Lab, task: Task) -> None:
    outcome = opened.do(task)
    expected = reason(opened.place, task)
    if expected:
        assert outcome.fault, f"It works now: take it out of expected.py ({expected})."
    else:
        assert not outcome.fault, outcome.fault


@pytest.mark.xdist_group("places-0")
@pytest.mark.parametrize(
    "task", [task for task in TASKS.values() if task.makes and not task.slow], ids=lambda t: t.name
)
def test_buildkit_makes_of_it_what_the_table_says(engine: Engine, task: Task) -> None:
    require(image.debian_base)
    assert judge(task, reference(engine, task)) == ""


def test_what_is_slow_is_done_on_every_rung() -> None:
    assert sorted(place.rung for place in PLACES.values() if place.stands) == [1, 2, 3, 4, 5]


def test_the_page_says_what_is_tested() -> None:
    assert PAGE.read_text() == written(), "Run `python -m tests.places --page`."


UNCONFINED = ("--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined")
DROPPED = "--cap-drop=ALL"
NO_NEW_PRIVILEGES = "--security-opt=no-new-privileges"
HOME = "/home/jovyan"
UNUSUAL = (
    (Place("user without capabilities", "", 3, (*UNCONFINED, DROPPED, "--user=1000"), "filecaps"), 1),
    (Place("root without capabilities", "", 4, (*UNCONFINED, DROPPED)), 1),
    (Place("nowhere to write", "", 0, (DROPPED, "--read-only", "--user=1000"), store=f"{HOME}/store"), 5),
    (Place("home of another", "", 0, ("--read-only", "--user=1234:1234"), store=f"{HOME}/store"), 5),
    (Place("restricted root", "", 4, (DROPPED, NO_NEW_PRIVILEGES)), 1),
    (Place("no new privileges", "", 3, (*UNCONFINED, NO_NEW_PRIVILEGES, "--user=1000"), "filecaps"), 1),
)
"""Places that are in no table, and the rung that their doctor's lines for `docker run` must give."""


@pytest.mark.xdist_group("places-1")
@pytest.mark.parametrize(
    ("place", "rung"),
    [
        pytest.param(place, rung, id=place.name)
        for place, rung in (
            (PLACES["default-user"], 3),
            (PLACES["kubernetes-root"], 1),
            (PLACES["read-only-noexec"], 3),
            *(UNUSUAL if ALL else UNUSUAL[:4]),
            *([(PLACES["own-layer"], 3), (PLACES["own-layer-root"], 1), (PLACES["restricted"], 3)] if ALL else []),
        )
    ],
)
def test_what_the_doctor_says_to_paste_makes_run_better(
    engine: Engine, bases: Registry, place: Place, rung: int
) -> None:
    place = dataclasses.replace(place, name=place.name.replace(" ", "-"))
    with lab(engine, bases, place) as opened:
        outcome = opened.do(TASKS["doctor"])
    assert outcome.fault == ""
    _try_what_is_pasted(engine, bases, place, outcome.answer["lines"], rung)


@pytest.mark.xdist_group("places-1")
def test_a_filter_that_denies_tracing_is_told_to_go(engine: Engine, bases: Registry, tmp_path: Path) -> None:
    """As old versions of Docker did: tracing needs a capability that nobody has."""
    profile = tmp_path / "profile.json"
    denied = {"names": ["ptrace", "unshare"], "action": "SCMP_ACT_ERRNO"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied]}))
    flags = (f"--security-opt=seccomp={profile}", UNCONFINED[1], "--user=1000")
    place = Place("untraced", "", 0, flags)
    with lab(engine, bases, place) as opened:
        outcome = opened.do(TASKS["doctor"])
    assert outcome.fault == ""
    _try_what_is_pasted(engine, bases, place, outcome.answer["lines"], 3)


@pytest.mark.xdist_group("places-0")
@pytest.mark.parametrize("user", ["1000:0", "1234:1234", *(["1000:1000", "1000:77"] if ALL else [])])
def test_subordinate_ids_pasted_into_the_image_make_run_better(engine: Engine, bases: Registry, user: str) -> None:
    """Also for a user, or a group, other than those of the image: newuidmap wants them in /etc/passwd."""
    place = dataclasses.replace(PLACES["kubernetes-user"], flags=(UNCONFINED[0], f"--user={user}"))
    with lab(engine, bases, place) as opened:
        lines = opened.do(TASKS["doctor"]).answer["lines"]
    pasted = next(line for title, line in lines.items() if title.startswith("Subordinate ids"))
    assert "apt-get update && apt-get install -y uidmap libcap2-bin" in pasted  # which are there already
    dockerfile = f"FROM {image.product_image(engine, place.variant)}\n{pasted.replace('apt-get update', 'true')}\n"
    name = f"pybuild-place-{uuid.uuid4().hex[:8]}"
    engine.buildx_build(None, "--load", "--provenance=false", f"--tag={name}", dockerfile=dockerfile)
    try:
        _try_what_is_pasted(engine, bases, place, lines, 1, name)
    finally:
        engine.remove(name)


REGROUP = """
if [ "$1" = OnRootMismatch ] && [ "$(stat -c %g /volume)" = 100 ] && [ -g /volume ]; then exit; fi
chgrp -hR 100 /volume
find /volume -type d -exec chmod g+rwxs {} +
find /volume -type f -exec chmod g+rw {} +
"""
"""What a kubelet does to a volume for `fsGroup: 100`, before it starts a container, by its `fsGroupChangePolicy`."""


@pytest.mark.xdist_group("places-0")
@pytest.mark.parametrize("rung", [3, *([5] if ALL else [])])
def test_a_pod_is_told_to_regroup_its_volume_once(engine: Engine, bases: Registry, rung: int) -> None:
    yaml = pytest.importorskip("yaml")  # comes with JupyterLab
    volume = f"pybuild-place-{uuid.uuid4().hex[:8]}"
    flags = (f"--volume={volume}:/volume", "--group-add=100", "--env=KUBERNETES_SERVICE_HOST=10.0.0.1", "--user=1000")
    flags += UNCONFINED if rung == 3 else ()
    place = Place("regrouped", "", rung, flags, store="/volume/store")
    product = image.product_image(engine, place.variant)

    def start(policy: str, task: str) -> dict[str, str]:
        """Do what a pod's start does, and build; return the doctor's lines."""
        engine.docker("run", "--rm", f"--volume={volume}:/volume", product, "sh", "-c", REGROUP, "sh", policy)
        with lab(engine, bases, place) as opened:
            doctor, done = opened.do(TASKS["doctor"]), opened.do(TASKS[task])
            assert (doctor.fault, done.fault) == ("", "")
            return {title: lines for title, lines in doctor.answer["lines"].items() if "fsGroup" in title}

    try:
        assert not start("Always", "echo")  # a new volume
        [pasted] = start("Always", "users").values()  # on layers that the cluster has changed
        policy = yaml.safe_load(pasted)["spec"]["securityContext"]["fsGroupChangePolicy"]
        engine.docker("volume", "rm", volume)
        assert not start(policy, "echo")
        assert not start(policy, "echo")
    finally:
        engine.docker("volume", "rm", "--force", volume)


@pytest.mark.xdist_group("places-0")
@pytest.mark.parametrize(
    ("place", "rung"),
    [
        pytest.param(place, rung, id=place.name)
        for place, rung in (
            (PLACES["restricted"], 3),
            UNUSUAL[0],
            *([*UNUSUAL[1:3], (PLACES["read-only-noexec"], 3), (PLACES["hub"], 3)] if ALL else []),
        )
    ],
)
def test_what_a_pod_is_told_to_set_makes_run_better(engine: Engine, bases: Registry, place: Place, rung: int) -> None:
    """The manifest and KubeSpawner's lines say the same, and hold for what a cluster makes of them."""
    yaml = pytest.importorskip("yaml")  # comes with JupyterLab
    env = ("--env=KUBERNETES_SERVICE_HOST=10.0.0.1", "--env=JUPYTERHUB_API_URL=http://hub:8081/hub/api")
    place = dataclasses.replace(place, name="bare", flags=(*place.flags, *env))
    with lab(engine, bases, place) as opened:
        lines = opened.do(TASKS["doctor"]).answer["lines"]
    said = {title.partition(":")[0]: text for title, text in lines.items()}
    pod = yaml.safe_load(said["Pod"])["spec"]
    [container] = pod["containers"]
    spawner = SimpleNamespace(allow_privilege_escalation=None, volumes=None, volume_mounts=None, environment=None)
    spawner.container_security_context = {}
    exec(said["KubeSpawner, in jupyterhub_config.py"], {"c": SimpleNamespace(KubeSpawner=spawner)})
    security = dict(container.get("securityContext", {}))
    assert security.pop("allowPrivilegeEscalation", None) == spawner.allow_privilege_escalation
    assert security == spawner.container_security_context
    assert (pod.get("volumes"), container.get("volumeMounts")) == (spawner.volumes, spawner.volume_mounts)
    flags = (*place.flags, *_flags_of(pod, container))
    if spawner.allow_privilege_escalation:
        flags = tuple(flag for flag in flags if "no-new-privileges" not in flag)
    with lab(engine, bases, dataclasses.replace(place, name="pod", flags=flags, rung=rung)) as opened:
        assert opened.do(TASKS["doctor"]).fault == ""
        assert opened.do(TASKS["echo"]).fault == ""


def _flags_of(pod: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    """The flags of `docker run` for what is in a pod; a user namespace (`hostUsers`) is what they cannot give."""
    profiles = {"seccompProfile": "seccomp", "appArmorProfile": "apparmor"}
    for name, value in container.get("securityContext", {}).items():
        if name in profiles:
            assert value == {"type": "Unconfined"}
            yield f"--security-opt={profiles[name]}=unconfined"
        elif name == "procMount":
            assert value == "Unmasked" and pod["hostUsers"] is False, "a cluster refuses it without a user namespace"
            yield "--security-opt=systempaths=unconfined"
        elif name == "capabilities":
            assert set(value) == {"add"}
            yield from (f"--cap-add={capability}" for capability in value["add"])
        else:
            assert (name, value) == ("allowPrivilegeEscalation", True)
    directories = {volume["name"] for volume in pod.get("volumes", ()) if "emptyDir" in volume}
    for mount in container.get("volumeMounts", ()):
        assert mount["name"] in directories
        yield f"--tmpfs={mount['mountPath']}:mode=1777,exec"  # an emptyDir has this mode
    for variable in container.get("env", ()):
        yield f"--env={variable['name']}={variable['value']}"


def _try_what_is_pasted(
    engine: Engine, bases: Registry, place: Place, lines: dict[str, str], rung: int, product: str = ""
) -> None:
    """Start the container of a place with the flags that its doctor offers, and see that they give that rung."""
    pasted = next(line for title, line in lines.items() if title.startswith("docker run"))
    volume = f"pybuild-place-{uuid.uuid4().hex[:8]}"
    words = shlex.split(pasted.removeprefix("docker run").removesuffix("IMAGE").replace("pybuild-home", volume))
    better = dataclasses.replace(place, name="pasted", flags=(*place.flags, *words), rung=rung)
    try:
        with lab(engine, bases, better, product) as opened:
            assert opened.do(TASKS["doctor"]).fault == ""
            assert opened.do(TASKS["echo"]).fault == ""
    finally:
        engine.docker("volume", "rm", "--force", volume)
