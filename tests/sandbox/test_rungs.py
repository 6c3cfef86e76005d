"""Which rung of the ladder a place allows, and that a RUN is run on each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.sandbox import Sandbox
from pybuild_magic.builders.embedded.sandbox.client import Helper
from pybuild_magic.builders.embedded.sandbox.rungs import Place, best, climb
from pybuild_magic.errors import UsageError
from pybuild_magic.store import Store
from tests.services import require, tool
from tests.services.common import need_root

from .conftest import IDENTITY, Box, write_base
from .test_unprivileged import ENTER, user_place

ROOT = Path(__file__).parents[2]

NO_PIVOT = """
import struct, sys
from pybuild_magic.builders.embedded.sandbox.helper import linux
number = linux._SYS_PIVOT_ROOT[__import__("os").uname().machine]
program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
linux.set_seccomp(b"".join(struct.pack("=HBBI", *line) for line in program))
"""
RUN = """
import sys, tempfile
from pathlib import Path
from pybuild_magic.builders.embedded.sandbox import Sandbox
from pybuild_magic.store import Store
from tests.sandbox.conftest import Box, write_base
with tempfile.TemporaryDirectory() as place, Store(Path(place) / "store") as store, store.lease():
    with Sandbox(store) as sandbox:
        store.remove_tree = sandbox.remove
        box = Box(sandbox, write_base(store))
        ran = box.run("echo /*; ls /.. | wc -l; test -e /proc/self/exe && ls /proc/self/fd; echo x > /x", keep=True)
        print(sandbox.rung.number, ran.code, ran.stdout.split(), ran.stderr, file=sys.stderr)
        layer = sandbox.commit(ran.outcome)
        print(sandbox.rung.number, [entry.path for entry in layer.index], len(ran.lines))
"""
AFTERWARDS = """
        box.snapshot += (layer.diff_id,)
        box.snapshot += (box.commit("rm /x; rm -r /home/user; mkdir /home/user").diff_id,)
        print(box.run("ls -A /home /home/user; test -e /x || echo gone").stdout.split())
        print([entry.path for entry in box.commit("ls /home/user > /seen; : > /x; rmdir /home/user").index])
"""


def run_as_user(enter: str, identity: str, script: str) -> subprocess.CompletedProcess[str]:
    with user_place() as (state, home):
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", enter, "sh", state, identity, sys.base_prefix, sys.executable, "-c", script],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )


@pytest.mark.parametrize(
    ("place", "number", "why"),
    [
        (Place(root=True), 1, ""),
        (Place(userns=True), 1, ""),
        (Place(userns=True, proc="Operation not permitted"), 2, "a new /proc is refused"),
        (Place(root=True, pivot="Operation not permitted"), 2, "pivot_root is refused"),
        (Place(userns=True, single=True, unmapped="newuidmap: failed"), 3, "newuidmap: failed"),
        (Place(userns=True, single=True, tracer="", unmapped="none"), 3, "one user id stands for all"),
        (Place(userns=True, single=True, proc="Operation not permitted", unmapped="none"), 3, "a new /proc is refused"),
        (Place(namespaces="unshare: Operation not permitted", root=True, tracer=""), 4, "unshare"),
        (Place(namespaces="unshare: Operation not permitted", tracer=""), 5, "unshare"),
        (Place(namespaces="unshare: Operation not permitted", tracer="no ptrace"), 0, "unshare"),
        (Place(unstacked="No.", root=True, tracer=""), 4, "No."),
        (Place(unstacked="No.", userns=True, tracer=""), 5, "No."),
        (Place(noexec="No.", userns=True, single=True, tracer="", unmapped="none"), 3, "one user id"),
        (Place(noexec="No.", namespaces="unshare: Operation not permitted", root=True, tracer=""), 0, "unshare"),
        (Place(system="RUN needs Linux", tracer=""), 0, "RUN needs Linux"),
    ],
)
def test_the_best_rung_that_the_place_allows_is_taken(place: Place, number: int, why: str) -> None:
    rungs = climb(place)
    assert [rung.number for rung in rungs] == [1, 2, 3, 4, 5]
    taken = best(rungs)
    assert (taken.number if taken else 0) == number
    assert why in rungs[0].why


def test_the_rung_of_these_tests_is_the_one_that_they_are_for(builtin: Box) -> None:
    rung = builtin.sandbox.rung
    assert rung is not None
    assert rung.number == {"root": 1, "range": 1, "single": 3}[IDENTITY]


@pytest.mark.skipif(os.geteuid() != 0, reason="takes its own rights away, so it starts as root")
def test_where_pivot_root_is_refused_the_root_is_moved() -> None:
    """As with CAP_SYS_ADMIN under Docker's default profile."""
    ran = subprocess.run([sys.executable, "-c", NO_PIVOT + RUN], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "2 ['x'] 6\n", ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
def test_where_proc_is_masked_the_outer_one_is_shown() -> None:
    """As in a container of Kubernetes' defaults: uid 1000, namespaces allowed, and paths of /proc covered."""
    require(lambda: tool("setpriv"))
    ran = run_as_user(ENTER.replace("set -e", "set -e; mount -t tmpfs none /proc/fs"), "single", RUN)
    assert ran.stdout == "3 ['x'] 6\n", ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, so it starts as root")
@pytest.mark.parametrize(("asked", "number"), [({}, 4), ({"PYBUILD_OVERLAY": "0"}, 1)])
def test_on_the_own_layer_of_a_container_a_tracer_spares_the_copies(
    asked: dict[str, str], number: int, tmp_path: Path
) -> None:
    """Overlayfs cannot be stacked over itself; who does without it by wish has copies all the same."""
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    command = ["unshare", "-m", "sh", "-c", 'mount -t overlay overlay -o "$1" "$2"; shift 2; exec "$@"', "sh"]
    command += [options, str(tmp_path / "merged"), sys.executable, "-c", RUN + AFTERWARDS]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "merged"), **asked}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    told, seen, layer = ran.stdout.splitlines()
    assert told.startswith(f"{number} ['x'] "), ran.stderr
    assert seen == "['/home:', 'user', '/home/user:', 'gone']", "what a layer deletes does not show in the next"
    assert layer == "['home', 'home/.wh.user', 'seen', 'x']"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, so it starts as root")
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "1 ['x'] 6"),
        ({"PYBUILD_OVERLAY": "0"}, "RUN cannot start a program: the store is on a file system from which no program"),
        ({"PYBUILD_RUNG": "5"}, "PYBUILD_RUNG is 5 (no rights at all), which does not work here: the store is on a"),
    ],
)
def test_where_no_program_may_be_run_from_the_store_that_is_told_first(asked: dict[str, str], told: str) -> None:
    """Overlayfs has flags of its own; copies and links have those of the store (Docker's --tmpfs has noexec)."""
    show = "from pybuild_magic.errors import BuildError\ntry:\n"
    show += f"    exec({RUN!r})\nexcept BuildError as error:\n    print(error)\n"
    command = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o noexec none /mnt; exec "$@"', "sh", sys.executable]
    environment = {**os.environ, "TMPDIR": "/mnt", **asked}
    ran = subprocess.run([*command, "-c", show], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.stdout.startswith(told), ran.stderr


@pytest.mark.parametrize(
    ("ranges", "parts"),
    [
        ([(100_000, 65_536)], [(100_000, 65_536)]),
        ([(100_000, 65_536), (100_000, 65_536)], [(100_000, 65_536)]),
        ([(100_000, 10), (100_005, 10)], [(100_000, 10), (100_010, 5)]),
        ([(100_005, 10), (100_000, 30)], [(100_005, 10), (100_000, 5), (100_015, 15)]),
        ([(999, 3)], [(999, 1), (1001, 1)]),
        ([(1000, 1)], []),
    ],
)
def test_no_id_is_mapped_twice(ranges: list[tuple[int, int]], parts: list[tuple[int, int]]) -> None:
    from pybuild_magic.builders.embedded.sandbox.helper.idmap import apart

    assert apart(ranges, 1000) == parts


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_rung_can_be_asked_for(store: Store, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Each leaves the same image, and is what it says: 2 shows the outer /proc, and 5 has no right at all."""
    require(lambda: need_root("every rung holds for root alone"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    monkeypatch.setenv("PYBUILD_RUNG", str(number))
    with Sandbox(store) as sandbox:
        store.remove_tree = sandbox.remove
        box = Box(sandbox, write_base(store))
        layer = box.commit("mkdir /d; : > /f; chown 5:6 /d /f; mknod /n c 1 3; chmod 4750 /d")
        assert sandbox.rung is not None
        assert sandbox.rung.number == number
        numbers = box.run("read line < /proc/self/stat; echo ${line%% *} $$").stdout.split()
        assert sandbox._helper._process is not None
        rights = Path(f"/proc/{sandbox._helper._process.pid}/status").read_text()
    assert [(entry.path, entry.type, entry.uid, entry.gid, entry.mode) for entry in layer.index] == [
        ("d", "5", 5, 6, 0o4750),
        ("f", "0", 5, 6, 0o644),
        ("n", "3", 0, 0, 0o644),
    ]
    assert (numbers[0] == numbers[1]) is (number != 2)
    assert (f"CapEff:\t{0:016x}\n" in rights) is (number == 5)


STEPS: tuple[tuple[str, str], ...] = (
    ("", "mkdir -p /d/e; : > /d/x; chown -R 5:6 /d; ln /d/x /d/y; mknod /d/a c 1 3; ln /d/a /d/b; chmod 2750 /d/e"),
    ("", "ln /d/b /d/c; echo >> /d/y; mv /d/x /d/z; : > /d/e/f; stat -c '%u %g %a %n' /d/*"),
    ("user", "mkdir -m 700 ~/o; : > ~/o/f; rm ~/own; ln -s x ~/l; cat /d/y; id"),
    ("", "chown -h 7:8 /home/user/l; chmod -R a-w /d; mkfifo /d/p; mknod /d/q b 7 1; ls /d; chmod u+s /d/y; rm /d/z"),
)
"""(the user, what it does), each on what the one before has left."""


@pytest.mark.parametrize("number", [1, 3, 4, 5])
def test_the_process_that_examines_the_machine_then_serves_on_the_rung(tmp_path: Path, number: int) -> None:
    require(lambda: need_root("every rung holds for root alone"))
    started: list[Path] = []

    def scratch() -> Path:
        started.append(tmp_path / str(len(started)))
        started[-1].mkdir()
        return started[-1]

    helper = Helper(scratch, wanted=number)
    try:
        assert [rung.holds for rung in helper.rungs()] == [True] * 5
        assert helper.rung is not None
        assert helper.rung.number == number
        assert len(started) == 1
    finally:
        helper.close()


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_every_rung_leaves_what_namespaces_leave(store: Store, number: int) -> None:
    require(lambda: need_root("every rung holds for root alone"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    base = write_base(store)
    made: list[list[object]] = []
    with Sandbox(store, rung=1) as best_sandbox, Sandbox(store, rung=number) as lower_sandbox:
        for sandbox in (best_sandbox, lower_sandbox):
            store.remove_tree = sandbox.remove
            box, layers = Box(sandbox, base), list[object]()
            for user, script in STEPS:
                ran = box.run(script, keep=True, user=user, cwd="/home/user" if user else "/", env=("HOME=/home/user",))
                layer = sandbox.commit(ran.outcome)
                box.snapshot += (layer.diff_id,)
                entries = [
                    (e.path, e.type, oct(e.mode), e.uid, e.gid, e.link, e.devmajor, e.xattrs) for e in layer.index
                ]
                layers.append((ran.code, ran.stdout, ran.stderr, entries))
            made.append(layers)
    assert made[1] == made[0]


def test_a_rung_that_does_not_hold_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYBUILD_RUNG", "3")
    sandbox = Sandbox(store)
    monkeypatch.setattr("pybuild_magic.builders.embedded.sandbox.rungs.one_id.why", lambda _: "the moon is full")
    with pytest.raises(UsageError, match=r"PYBUILD_RUNG is 3 .* does not work here: the moon is full"):
        sandbox.check()
    assert sandbox.rung is None


@pytest.mark.parametrize("text", ["0", "6", "best"])
def test_a_rung_that_does_not_exist_is_named(store: Store, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PYBUILD_RUNG", text)
    with pytest.raises(UsageError, match=f"PYBUILD_RUNG is '{text}'"):
        Sandbox(store)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
def test_one_id_remembers_owners_also_where_proc_is_masked() -> None:
    """The tracer stands outside of the new process numbers, so that those of the outer /proc are the right ones."""
    require(lambda: tool("setpriv"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    keep = "chown 7:8 /home/user/own; mv /home/user/own /a; chown -h 3 /bin/sh; mknod /n b 7 0; stat -c %u:%g /a"
    show = RUN.partition("        ran = box.run")[0] + (
        f"        layer = box.commit({keep!r})\n"
        "        print([(e.path, e.type, e.uid, e.gid, e.devmajor) for e in layer.index if e.uid or e.type == '4'])\n"
    )
    ran = run_as_user(ENTER.replace("set -e", "set -e; mount -t tmpfs none /proc/fs"), "single", show)
    wanted = [("a", "0", 7, 8, 0), ("bin/sh", "2", 3, 0, 0), ("home/user", "5", 1000, 1001, 0), ("n", "4", 0, 0, 7)]
    assert ran.stdout == f"{wanted}\n", ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, so it starts as root")
def test_a_newuidmap_that_fails_is_told() -> None:
    """A set-user-ID one in a container, or one under no_new_privs."""
    require(lambda: tool("setpriv"))
    require(lambda: tool("newuidmap"))
    show = RUN.partition("        store.remove_tree")[0] + "        print(sandbox.rungs()[0].why)\n"
    ran = run_as_user(ENTER.replace("--clear-groups", "--clear-groups --no-new-privs"), "range", show)
    assert ran.stdout.startswith("one user id stands for all: newuidmap: "), ran.stderr
