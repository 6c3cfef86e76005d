"""From facts to words: what is told of a place, and which lines are offered for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from pybuild_magic.builders.embedded.sandbox.doctor import SandboxFacts
from pybuild_magic.builders.embedded.sandbox.rungs import Place, best, climb
from pybuild_magic.builders.embedded.sandbox.tracer import PROOT_LACKS
from pybuild_magic.diagnosis import Report
from pybuild_magic.diagnosis.facts import Facts, Limits, Reach, StoreFacts, System, Version
from pybuild_magic.diagnosis.finding import State
from pybuild_magic.diagnosis.findings import findings
from pybuild_magic.dockerfile.parser import parse

EPERM = "Operation not permitted"
ABILITIES = ("user_namespace", "mounts", "new_proc", "outer_proc", "pivot_root", "chroot", "trace")
ALLOWED = dict.fromkeys(ABILITIES, "")
REFUSED = {**ALLOWED, **dict.fromkeys(ABILITIES[:5], EPERM)}


def working(place: Place, **facts: Any) -> SandboxFacts:
    rungs = climb(place)
    return SandboxFacts(works=True, rungs=rungs, selected=best(rungs), **facts)


GOOD = working(Place(tracer=""), overlay=True, images=True, abilities=ALLOWED)
NONE = SandboxFacts(problem="RUN needs namespaces.", rungs=climb(Place(namespaces=EPERM)), abilities=REFUSED)
ONE_ID = Place(single=True, unmapped="No.", tracer="")
SINGLE = working(ONE_ID, unmapped="No.", overlay=True, unassigned=("subuid", "subgid"))
SET_USER_ID = working(ONE_ID, unmapped="No.", overlay=True, mapper=True)
MASKED = working(
    structs.replace(ONE_ID, proc=EPERM),
    unmapped="No.",
    unassigned=("subuid", "subgid"),
    abilities={**ALLOWED, "new_proc": EPERM},
)
CAPABLE = working(ONE_ID, unmapped="No.", overlay=True, mapper=True, capable=True)
TRACED = working(Place(namespaces=EPERM, tracer=""), abilities=REFUSED)
BY_PROOT = working(Place(namespaces=EPERM, tracer="", lossy=PROOT_LACKS), copied=True, abilities=REFUSED)
OWN_LAYER = working(Place(unstacked="No.", tracer=""), abilities=ALLOWED)
STORE = StoreFacts("/store", "", "ext4", free=50 << 30, size=100 << 30, limit=10**10, why="the default")
VERSIONS = tuple(Version(name, "1.0") for name in ("pybuild_magic", "ipywidgets", "anywidget", "jupyterlab"))
HERE = Facts(System(), GOOD, STORE, Limits(4096, 4096, 4096, 8 << 30, 2, 64 << 20), (), VERSIONS, "1.0")


def facts(**changes: object) -> Facts:
    fields = {name: getattr(HERE, name) for name in HERE.__struct_fields__}
    return Facts(**{**fields, **changes})


def test_where_all_is_well_there_is_nothing_to_change() -> None:
    report = Report.of(HERE)
    assert report.good
    assert not report.remedies
    assert "Nothing needs to change." in repr(report)


@pytest.mark.parametrize(
    ("changes", "subject", "state", "words"),
    [
        ({"sandbox": NONE}, "RUN", State.BAD, "RUN needs namespaces. Builds without RUN work"),
        ({"sandbox": NONE}, "Refused", State.FAIR, f"user namespaces ({EPERM})"),
        ({"sandbox": NONE}, "Rung 1", State.FAIR, f"namespaces: {EPERM}."),
        ({"sandbox": TRACED}, "RUN", State.FAIR, "works by rung 5: no rights at all"),
        ({"sandbox": SINGLE}, "RUN", State.FAIR, "works by rung 3: namespaces with one user id"),
        ({"sandbox": structs.replace(SINGLE, ids=65_536)}, "RUN", State.FAIR, "This container has 65536 ids, too few"),
        ({"sandbox": SINGLE}, "Rung 3", State.GOOD, "works, and is used"),
        ({"sandbox": SINGLE}, "Rung 2", State.FAIR, "one user id stands for all: No."),
        (
            {"sandbox": SandboxFacts(works=True)},
            "Layers",
            State.FAIR,
            "copied for each RUN: ext4 does not support overlayfs",
        ),
        ({"sandbox": TRACED}, "Layers", State.GOOD, "are linked"),
        ({"sandbox": BY_PROOT}, "Layers", State.FAIR, "are copied for each RUN, because proot"),
        ({"sandbox": BY_PROOT}, "RUN", State.FAIR, "devices and capabilities that a RUN sets are lost"),
        ({"sandbox": TRACED, "store": StoreFacts("/s", kind="overlay")}, "Layers", State.GOOD, "and then gets a copy."),
        ({"sandbox": OWN_LAYER}, "RUN", State.GOOD, "has no loopback; with the store on a volume"),
        ({"sandbox": OWN_LAYER, "store": StoreFacts("/s", kind="overlay")}, "Layers", State.FAIR, "which is faster"),
        ({"sandbox": OWN_LAYER, "store": StoreFacts("/s", kind="nfs4")}, "Layers", State.FAIR, "or a local disk"),
        ({"store": StoreFacts(problem="It is full.")}, "Store", State.BAD, "It is full."),
        ({"store": StoreFacts("/s", noexec=True), "sandbox": NONE}, "Store", State.FAIR, "noexec"),
        ({"store": StoreFacts("/s", noexec=True)}, "Store", State.GOOD, "/s on an unknown file system."),
        ({"store": StoreFacts("/s", kind="nfs4", locks=False)}, "Store", State.BAD, "no locks"),
        (
            {"store": StoreFacts("/s", kind="tmpfs", free=8 << 30, size=8 << 30), "limits": Limits(memory=1 << 30)},
            "Room",
            State.FAIR,
            "It is memory, of which this place has 1.07 GB.",
        ),
        ({"store": StoreFacts("/s", free=1 << 30, size=1 << 40)}, "Room", State.FAIR, "1.07 GB of 1.10 TB are free"),
        ({"store": StoreFacts("/s", free=1 << 40, size=1 << 40, inodes=7)}, "Room", State.FAIR, "Only 7 more files"),
        ({"limits": Limits(files=256)}, "Open files", State.FAIR, "256, which large"),
        ({"limits": Limits(processes=200)}, "Processes", State.FAIR, "200, which large"),
        ({"limits": Limits(memory=512 << 20, cpus=1)}, "Memory", State.FAIR, "exceed; 1 CPU."),
        ({"limits": Limits(shm=1 << 20), "sandbox": NONE}, "/dev/shm", State.FAIR, "1.05 MB: programs"),
        ({"reach": (Reach("a.test", "a.test", 0.02),)}, "a.test", State.GOOD, "answers within 20 ms"),
        (
            {"reach": (Reach("a.test", "m.test", problem="there is no host"),), "proxy": "p.test:3128"},
            "m.test",
            State.FAIR,
            "cannot be reached through p.test:3128 for a.test: there is no host.",
        ),
        ({"versions": (Version("ipywidgets"),)}, "Widgets", State.FAIR, "builds are shown as text"),
        ({"extension": "0.9"}, "JupyterLab extension", State.FAIR, "is 0.9, but pybuild_magic is 1.0"),
        ({"extension": ""}, "JupyterLab extension", State.FAIR, "is not installed for this Python"),
    ],
)
def test_each_fault_is_a_line(changes: dict[str, object], subject: str, state: State, words: str) -> None:
    found = next(one for one in findings(facts(**changes)) if one.subject == subject)
    assert words in found.text
    assert found.state == state


HUB = System(container="kubernetes", hub=True, uid=1000, user="jovyan", no_new_privileges=True, masked=True)
DEFAULT = System(container="docker", uid=1000, user="jovyan", filtered=True, masked=True)
CONFINED = System(container="docker", apparmor="docker-default")
STUCK = System(container="docker", no_new_privileges=True, uid=1000, user="jovyan")
OVERLAY = StoreFacts("/s", kind="overlay")
TMPFS = StoreFacts("/home/ann/s", "", "tmpfs", noexec=True, mount="/home/ann", options=("rw", "uid=7", "mode=700"))
SETTINGS = {"kernel.apparmor_restrict_unprivileged_userns": 1, "user.max_user_namespaces": 0}


@pytest.mark.parametrize(
    ("changes", "title", "lines"),
    [
        (
            {"sandbox": NONE, "system": System(container="docker")},
            "docker run, added",
            "--security-opt seccomp=unconfined",
        ),
        ({"sandbox": NONE, "system": DEFAULT}, "docker run, added", "systempaths=unconfined"),
        ({"sandbox": TRACED, "system": System(container="docker")}, "docker run, added", "seccomp=unconfined"),
        ({"sandbox": NONE, "system": System(container="podman")}, "podman run, added", "podman run --security-opt"),
        ({"sandbox": NONE, "system": System(container="docker", hub=True)}, "DockerSpawner", '"seccomp=unconfined"'),
        ({"sandbox": NONE, "system": CONFINED}, "docker run", "--security-opt apparmor=unconfined"),
        ({"sandbox": SINGLE, "system": STUCK}, "docker run", "no-new-privileges=false IMAGE"),
        (
            {"sandbox": SINGLE, "system": STUCK, "limits": Limits(files=256)},
            "docker run",
            "--security-opt no-new-privileges=false --ulimit nofile=65536 IMAGE",
        ),
        ({"sandbox": TRACED, "system": CONFINED, "store": OVERLAY}, "docker run", "-v pybuild-home:"),
        ({"sandbox": NONE, "system": HUB}, "KubeSpawner", '"seccompProfile": {"type": "Unconfined"}'),
        ({"sandbox": NONE, "system": HUB}, "Pod: ", '      seccompProfile: {"type": "Unconfined"}'),
        ({"sandbox": SINGLE, "system": HUB}, "KubeSpawner", "c.KubeSpawner.allow_privilege_escalation = True"),
        ({"sandbox": SINGLE, "system": HUB}, "Subordinate ids, at the end of the image", "setcap cap_setuid=ep"),
        ({"sandbox": SINGLE, "system": System(uid=1000, user="ann")}, "Subordinate ids, as root", "ann:100000:65536"),
        ({"sandbox": NONE, "system": System(settings=SETTINGS)}, "sysctl", "user.max_user_namespaces=65536"),
        ({"sandbox": NONE, "system": System(settings=SETTINGS)}, "sysctl", "restrict_unprivileged_userns=0"),
        ({"sandbox": NONE, "system": System(settings=SETTINGS)}, "AppArmor", "userns,"),
        ({"sandbox": SandboxFacts(works=True), "system": System(container="docker")}, "docker run", "-e PYBUILD_HOME="),
        ({"sandbox": SandboxFacts(works=True), "system": HUB}, "Pod: ", '"emptyDir": {}'),
        (
            {"sandbox": OWN_LAYER, "system": System(container="docker"), "store": StoreFacts("/s", kind="overlay")},
            "docker run",
            "-v pybuild-home:",
        ),
        ({"sandbox": SET_USER_ID, "system": System(container="docker")}, "Subordinate ids, at", "setcap cap_setuid=ep"),
        ({"sandbox": MASKED, "system": HUB}, "Subordinate ids", "# A pod with hostUsers: false has 65536 ids, too few"),
        ({"sandbox": NONE, "system": HUB}, "KubeSpawner", "# added to the values that are there"),
        ({"limits": Limits(files=256), "system": HUB}, "Pod: ", "# the node decides about open files and processes"),
        (
            {"limits": Limits(files=256, files_hard=4096), "system": CONFINED},
            "docker run",
            "--ulimit nofile=4096 IMAGE",
        ),
        ({"limits": Limits(memory=1), "system": CONFINED}, "docker run", "--memory 4g --memory-swap 8g IMAGE"),
        ({"sandbox": NONE, "store": TMPFS, "system": CONFINED}, "docker run", "--tmpfs /home/ann:exec,uid=7,mode=700"),
        (
            {"sandbox": NONE, "store": TMPFS, "system": System(container="docker", hub=True)},
            "DockerSpawner",
            '"tmpfs": {"/home/ann": "exec,uid=7,mode=700"}}',
        ),
        ({"limits": Limits(files=256, files_hard=4096)}, "Open files", "ulimit -n 4096"),
        ({"limits": Limits(shm=1 << 20), "sandbox": NONE, "system": HUB}, "Pod: ", '"medium": "Memory"'),
        ({"store": StoreFacts("/s", free=1, size=2)}, "Room", "%build gc"),
    ],
)
def test_what_to_paste_fits_the_place(changes: dict[str, object], title: str, lines: str) -> None:
    report = Report.of(facts(**changes))
    fitting = [one for one in report.remedies if one.title.startswith(title)]
    assert any(lines in one.lines for one in fitting), report.remedies


@pytest.mark.parametrize(
    ("sandbox", "container", "absent"),
    [
        (SET_USER_ID, "docker", "/etc/subuid"),
        (CAPABLE, "docker", ""),
        (structs.replace(SINGLE, ids=65_536), "kubernetes", ""),
        (SET_USER_ID, "", ""),
        (SINGLE, "", "setcap"),
    ],
)
def test_what_is_there_is_not_offered(sandbox: SandboxFacts, container: str, absent: str) -> None:
    """Above all no second range of the same ids, and no packages that are installed."""
    remedies = Report.of(facts(sandbox=sandbox, system=System(container=container, uid=1000, user="ann"))).remedies
    offered = [one.lines for one in remedies if one.title.startswith("Subordinate ids")]
    assert not absent or absent not in offered[0]
    assert bool(offered) is bool(absent)


@pytest.mark.parametrize(("user", "last"), [("jovyan", "USER jovyan"), ("", "USER 1234567")])
def test_subordinate_ids_of_an_image_are_lines_of_its_dockerfile(user: str, last: str) -> None:
    system = System(container="docker", uid=1234567, user=user)
    remedies = Report.of(facts(sandbox=SINGLE, system=system)).remedies
    lines = next(one.lines for one in remedies if one.title.startswith("Subordinate ids"))
    instructions = parse(f"FROM busybox\n{lines}\n").instructions
    assert [type(instruction).__name__ for instruction in instructions] == ["From", "User", "Run", "User"]
    assert lines.startswith("USER root\n") and lines.endswith(f"\n{last}")


def test_apparmors_profile_names_a_program_with_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As apparmor_parser reads it: a blank outside of quotes ends the path, and brackets without backslashes match."""
    program = tmp_path / 'my env {1} [2] *?^ "3" \\4' / "python"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr("sys.executable", str(program))
    [profile] = [
        one.lines
        for one in Report.of(facts(sandbox=NONE, system=System(settings=SETTINGS))).remedies
        if one.title.startswith("AppArmor")
    ]
    path = str(tmp_path) + r"/my env \{1\} \[2\] \*\?\^ \"3\" \\4/python"
    assert f'profile pybuild "{path}" flags=(unconfined) {{\n  userns,\n}}' in profile


def test_a_spawner_lifts_no_new_privileges() -> None:
    stuck = System(container="docker", hub=True, uid=1000, user="jovyan", no_new_privileges=True)
    sandbox = structs.replace(SINGLE, abilities={})
    [lines] = [
        one.lines
        for one in Report.of(facts(sandbox=sandbox, system=stuck)).remedies
        if one.title.startswith("DockerSpawner")
    ]
    assert lines.endswith('c.DockerSpawner.extra_host_config = {"security_opt": ["no-new-privileges=false"]}')


NO_MORE = {**ALLOWED, **dict.fromkeys(ABILITIES[:5], "no more namespaces are allowed")}
LIMITED = working(Place(namespaces="No.", tracer=""), abilities=NO_MORE)
UNTRACED = SandboxFacts(problem="No.", abilities={**REFUSED, "trace": EPERM})
FORGETFUL = working(
    structs.replace(ONE_ID, tracer="ptrace: No."), unmapped="No.", abilities={**ALLOWED, "trace": EPERM}
)
DROPPED = 0xA80425FB & ~(1 << 6 | 1 << 7 | 1 << 31)
"""Docker's default capabilities without SETGID, SETUID and SETFCAP."""
SUBUID = structs.replace(CAPABLE, mapper=True)
YAMA = "kernel.yama.ptrace_scope"


@pytest.mark.parametrize(
    ("sandbox", "system", "subject", "words", "lines"),
    [
        pytest.param(
            LIMITED,
            structs.replace(DEFAULT, settings={"user.max_mnt_namespaces": 0, "user.max_pid_namespaces": 0}),
            "Kernel",
            "user.max_mnt_namespaces and user.max_pid_namespaces are 0, so no namespaces can be made.",
            "sysctl -w user.max_mnt_namespaces=65536\nsysctl -w user.max_pid_namespaces=65536",
            id="limits of namespaces",
        ),
        pytest.param(
            GOOD,
            System(settings={"user.max_net_namespaces": 0}),
            "Kernel",
            "user.max_net_namespaces is 0, so RUN --network=none fails.",
            "sysctl -w user.max_net_namespaces=65536",
            id="limit of networks",
        ),
        pytest.param(
            TRACED,
            System(uid=1000, settings={"kernel.unprivileged_userns_clone": 0}),
            "Kernel",
            "kernel.unprivileged_userns_clone is 0, so only root can make user namespaces.",
            "sysctl -w kernel.unprivileged_userns_clone=1",
            id="user namespaces of Debian 10",
        ),
        pytest.param(
            UNTRACED,
            structs.replace(DEFAULT, settings={YAMA: 2}),
            "Tracing",
            "kernel.yama.ptrace_scope is 2, so only a process with the capability SYS_PTRACE can trace others.",
            "sysctl -w kernel.yama.ptrace_scope=1",
            id="tracing by administrators",
        ),
        pytest.param(
            FORGETFUL,
            System(uid=1000, settings={YAMA: 3}),
            "Tracing",
            "kernel.yama.ptrace_scope is 3, so nothing can be traced, until the machine starts again with a lower",
            "echo kernel.yama.ptrace_scope=1 > /etc/sysctl.d/99-pybuild.conf\nreboot",
            id="no tracing, with owners to remember",
        ),
        pytest.param(
            structs.replace(SUBUID, unmapped="newuidmap ended with 127"),
            structs.replace(DEFAULT, filtered=False, bounding=DROPPED),
            "RUN",
            "The capabilities SETGID and SETUID are dropped, without which newuidmap cannot work.",
            "docker run --cap-add SETGID --cap-add SETUID IMAGE",
            id="capabilities of newuidmap",
        ),
        pytest.param(
            working(Place(namespaces=EPERM, root=True, tracer=""), abilities={**REFUSED, "user_namespace": ""}),
            System(container="docker", capabilities=DROPPED | 1 << 7),
            "RUN",
            "The capabilities SETFCAP and SETGID are dropped, without which root cannot map user ids.",
            "docker run --cap-add SETFCAP --cap-add SETGID IMAGE",
            id="capabilities of root",
        ),
        pytest.param(
            SINGLE,
            structs.replace(DEFAULT, user="", uid=1234, gid=5, home="/home/jovyan"),
            "RUN",
            "newuidmap needs an entry in /etc/passwd, which the user 1234 does not have.",
            " && echo pybuild:x:1234:5::/home/jovyan:/bin/sh >> /etc/passwd\nUSER 1234",
            id="a uid without an entry",
        ),
        pytest.param(
            SUBUID,
            structs.replace(DEFAULT, gid=0, group="root", login_gid=1000),
            "RUN",
            "newuidmap needs the group of /etc/passwd, 1000, but this process has 0.",
            "USER root\nRUN usermod --gid 0 jovyan\nUSER jovyan",
            id="another group",
        ),
        pytest.param(
            SUBUID,
            structs.replace(DEFAULT, gid=77, login_gid=1000),
            "RUN",
            "newuidmap needs the group of /etc/passwd, 1000, but this process has 77.",
            "RUN groupadd --gid 77 pybuild \\\n && usermod --gid 77 jovyan\n",
            id="another group, without a name",
        ),
    ],
)
def test_each_cause_is_told_with_what_removes_it(
    sandbox: SandboxFacts, system: System, subject: str, words: str, lines: str
) -> None:
    report = Report.of(facts(sandbox=sandbox, system=system))
    assert words in next(one.text for one in report.findings if one.subject == subject)
    assert any(lines in one.lines for one in report.remedies), report.remedies


def test_what_is_not_the_cause_is_not_told() -> None:
    """Settings that deny nothing here, flags that are set, and capabilities that root does not need."""
    closed = {"user.max_mnt_namespaces": 0, "kernel.unprivileged_userns_clone": 0, YAMA: 3}
    for system in (System(settings=closed), structs.replace(DEFAULT, settings=closed, capabilities=0, bounding=0)):
        assert Report.of(facts(system=system)).good
    limited = structs.replace(DEFAULT, settings={"user.max_mnt_namespaces": 0})
    offered = " ".join(one.lines for one in Report.of(facts(sandbox=LIMITED, system=limited)).remedies)
    assert "seccomp" not in offered
    unmasked = structs.replace(DEFAULT, masked=False)
    assert "systempaths" not in repr(Report.of(facts(sandbox=NONE, system=unmasked)))
    unfiltered = structs.replace(DEFAULT, filtered=False, apparmor="docker-default")
    offered = " ".join(one.lines for one in Report.of(facts(sandbox=NONE, system=unfiltered)).remedies)
    assert "apparmor=unconfined" in offered and "seccomp" not in offered


def test_without_a_store_only_the_store_is_told() -> None:
    """Nothing else was tried."""
    store = StoreFacts(problem="It cannot be opened.")
    sandbox = SandboxFacts(problem="There is no store in which to run it.")
    report = Report.of(facts(sandbox=sandbox, store=store, system=DEFAULT))
    assert "Builds without RUN" not in repr(report)
    [remedy] = report.remedies
    assert remedy.title == "docker run, added to its present flags: volume"


def test_a_store_in_memory_is_offered_where_a_volume_would_not_be_the_users() -> None:
    system = structs.replace(DEFAULT, hub=True, has_home=False, temporary="")
    remedies = Report.of(facts(sandbox=NONE, store=StoreFacts(problem="No."), system=system)).remedies
    spawner, docker = (one.lines for one in remedies)
    assert (
        "--tmpfs /var/lib/pybuild:exec,mode=1777 --tmpfs /tmp:mode=1777 -e PYBUILD_HOME=/var/lib/pybuild/store"
        in docker
    )
    assert '"tmpfs": {"/var/lib/pybuild": "exec,mode=1777", "/tmp": "mode=1777"}' in spawner
    assert '{"PYBUILD_HOME": "/var/lib/pybuild/store"}' in spawner


def test_a_cluster_is_told_to_change_a_volumes_group_once() -> None:
    store = structs.replace(STORE, regrouped=100)
    report = Report.of(facts(store=store, system=HUB))
    assert [(one.title, one.lines) for one in report.remedies] == [
        (
            "KubeSpawner, in jupyterhub_config.py: fsGroup",
            "# added to the values that are there: an assignment replaces them\n"
            'c.KubeSpawner.pod_security_context = {"fsGroupChangePolicy": "OnRootMismatch"}',
        ),
        ("Pod: fsGroup", 'spec:\n  securityContext: {"fsGroupChangePolicy": "OnRootMismatch"}'),
    ]


def test_a_pod_is_yaml_that_a_cluster_reads() -> None:
    """With the types of the Kubernetes API: what is offered is not only text."""
    yaml = pytest.importorskip("yaml")  # comes with JupyterLab
    report = Report.of(facts(sandbox=NONE, system=HUB, limits=Limits(memory=1 << 20, shm=1)))
    pod = yaml.safe_load(next(one.lines for one in report.remedies if one.title.startswith("Pod")))
    [container] = pod["spec"]["containers"]
    assert container["securityContext"]["procMount"] == "Unmasked"
    assert pod["spec"]["hostUsers"] is False
    assert container["volumeMounts"] == [{"name": "shm", "mountPath": "/dev/shm"}]
    assert container["resources"]["limits"] == {"memory": "4Gi"}


def test_the_page_shows_what_the_terminal_does_and_runs_nothing() -> None:
    evil = "<script>alert(1)</script>"
    report = Report.of(facts(sandbox=SandboxFacts(problem=f"{evil}."), system=System(container="docker")))
    page = report._repr_html_()
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert "docker run --security-opt seccomp=unconfined" in page
    assert "docker run --security-opt seccomp=unconfined" in repr(report)
