"""Runs in the background: begun, looked at, entered, stopped, and gone with whom they belong to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import pybuild_magic
from pybuild_magic.builders import embedded_builder
from pybuild_magic.errors import BuildError, StoreError, UsageError
from pybuild_magic.notebook.commands import COMMANDS
from pybuild_magic.oci.timestamp import parse_time
from pybuild_magic.run import BackgroundRun, options_from, run, start
from pybuild_magic.run.background import NotStartedError, find_run, list_runs
from pybuild_magic.run.listing import chosen
from pybuild_magic.run.log import LogWriter, Piece, last_lines, read_log
from pybuild_magic.run.named import list_volumes, prune_volumes, remove_volume
from pybuild_magic.store.collect import collect_garbage
from tests.sandbox.conftest import TRACED

from .processes import processes

pytestmark = pytest.mark.usefixtures("store")

WAITING = "trap 'echo bye; exit 3' TERM; echo begun; while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def _none_left(store: None) -> Iterator[None]:
    yield
    for record in list_runs(ended=True):
        BackgroundRun(record).stop(0)
        record.remove()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _written(going: BackgroundRun, text: str) -> None:
    _until(lambda: text in going.text)


def test_it_is_begun_looked_at_entered_and_stopped() -> None:
    going = start("busybox", "sh", "-c", WAITING, name="waiting", env={"A": "1"}, workdir="/tmp")
    assert (going.name, going.running, going.exit_code) == ("waiting", True, None)
    _written(going, "begun\n")
    inside = going.exec("sh", "-c", "echo $A $B; pwd; cat; exit 5", env={"B": "2"}, stdin="in")
    assert (inside.exit_code, inside.text, inside.error_text) == (5, "1 2\n/tmp\nin", "")
    assert [record.info.name for record in list_runs()] == ["waiting"]
    assert going.stop() == 3
    assert (going.running, going.exit_code, going.text) == (False, 3, "begun\nbye\n")
    assert list_runs() == []
    assert find_run("waiting").text == "begun\nbye\n"


def test_it_has_an_id_and_labels(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("# none\nFILE=1\nBOTH=file\nBARE\n")
    going = start(
        *("busybox", "sleep", "1000"),
        cidfile=str(tmp_path / "id"),
        label_files=[str(tmp_path / "labels")],
        labels={"BOTH": "flag", "OWN": ""},
        group_add="4321",
    )
    (record,) = list_runs()
    assert record.info.labels == {"FILE": "1", "BOTH": "flag", "OWN": ""}
    assert find_run((tmp_path / "id").read_text()).name == going.name
    assert going.exec("sh", "-c", "hostname; id -G", user="7:8").text == f"{record.info.id[:12]}\n8 4321\n"
    for image in ("busybox", "busybox:latest", "docker.io/library/busybox"):
        assert chosen([record], [("ancestor", image)]) == [record]
    assert chosen([record], [("ancestor", "debian")]) == []
    with pytest.raises(UsageError, match="exists already"):
        start("busybox", "true", cidfile=str(tmp_path / "id"))
    assert len(list_runs(ended=True)) == 1


def test_lines_of_a_log_have_the_times_at_which_they_were_complete(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.time()
    going = start("busybox", "sh", "-c", "echo one; printf 'two '; sleep 0.5; echo words; echo err >&2; printf end")
    going.wait()
    (one, two, end), (err,) = ([line for line in going.lines() if line.stream == number] for number in (1, 2))
    assert (one.data, two.data, end.data, err.data) == (b"one\n", b"two words\n", b"end", b"err\n")
    assert began <= one.time < two.time - 0.4 < end.time <= time.time()
    assert next(line.data for line in going.lines(since=two.time)) == b"two words\n"
    assert [line.data for line in going.lines(until=one.time)] == [b"one\n"]
    COMMANDS["logs"](["-t", "-n", "2", going.name])
    written = capsys.readouterr()
    stamps = [line.partition(" ") for line in written.out.splitlines()]
    assert {text for _, _, text in stamps} <= {"two words", "end"}
    assert all(abs(parse_time(stamp) / 1e9 - began) < 60 for stamp, _, _ in stamps)


def test_what_is_done_beside_it_is_seen_by_both() -> None:
    going = start("busybox", "sh", "-c", "until test -e /made; do sleep 0.02; done; cat /made; exec sleep 1000")
    assert going.exec("sh", "-c", "echo here > /made; id -u; cat /proc/self/status | grep Seccomp:").text.startswith(
        "0\n"
    )
    _written(going, "here\n")
    assert going.exec("sh", "-c", "id -u; id -g", user="123:45").text == "123\n45\n"
    if not TRACED:  # it has the numbers of the place
        assert going.exec("cat", "/proc/1/comm").text == "sleep\n"
    assert going.exec("sh", "-c", "kill -9 $$").exit_code == 137
    assert going.exec("missing").exit_code == 127
    terminal = going.exec("sh", "-c", "tty; stty size", tty=True)
    assert terminal.text.splitlines()[1] == "24 80"
    with pytest.raises(BuildError, match="unable to find user nobody-such"):
        going.exec("true", user="nobody-such")


def test_one_more_process_may_do_no_more_than_the_first() -> None:
    status = (
        "grep -E '^(CapBnd|CapEff|Seccomp|NoNewPrivs):' /proc/self/status; ls /proc/self/fd | wc -l; "
        "cat /proc/self/cgroup"
    )
    going = start("busybox", "sh", "-c", f"{status}; echo end; exec sleep 1000")
    _written(going, "end")
    assert going.exec("sh", "-c", f"{status}; echo end").text == going.text


def test_what_cannot_begin_is_told_at_once() -> None:
    with pytest.raises(NotStartedError, match="executable file not found") as caught:
        start("busybox", "no-such-program", name="never")
    assert caught.value.code == 127
    with pytest.raises(BuildError, match="unable to find user"):
        start("busybox", "true", user="nobody-such")
    assert list_runs(ended=True) == []


def test_a_name_is_taken_as_long_as_the_run_goes_on() -> None:
    first = start("busybox", "sleep", "1000", name="one")
    with pytest.raises(UsageError, match="There is already a run one"):
        start("busybox", "sleep", "1000", name="one")
    first.stop(0)
    assert start("busybox", "sleep", "1000", name="one").running
    assert start("busybox", "true").name == "busybox-1"
    with pytest.raises(UsageError, match="Did you mean one"):
        find_run("onee")


def test_names_are_for_the_background() -> None:
    with pytest.raises(UsageError, match="Add -d"):
        options_from(["--name", "x", "busybox"])


def test_a_run_that_is_deaf_is_killed_after_its_time() -> None:
    going = start("busybox", "sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.05; done")
    _written(going, "begun")
    assert going.stop(0.2) == 137


def test_logs_are_followed() -> None:
    going = start("busybox", "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done; echo no >&2")
    assert b"".join(data for _, data in going.logs(follow=True)) == b"1\n2\n3\n4\n5\nno\n"
    assert list(going.logs(2)) == [(1, b"5\n"), (2, b"no\n")]
    again = start("busybox", "sh", "-c", "seq 100; until test -e /go; do sleep 0.02; done; echo more")
    _written(again, "100\n")
    follower = again.logs(1, follow=True)
    assert next(follower) == (1, b"100\n")
    again.exec("touch", "/go")
    assert list(follower) == [(1, b"more\n")]


def test_a_log_keeps_the_last_of_what_is_written(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, limit=2000)
    for number in range(1000):
        writer.write(1, b"%d\n" % number)
    writer.close()
    pieces = list(read_log(tmp_path))
    assert pieces[-1][:2] == (1, b"999\n")
    assert 60 < len(pieces) < 600
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 6000
    mixed = [Piece(1, b"a\nb", 1), Piece(2, b"x\r\n", 2), Piece(1, b"c\n", 3)]
    assert last_lines(iter(mixed), 2) == [(2, b"x\r\n", 2), (1, b"bc\n", 3)]


def _begin_in_another_process(*words: str) -> subprocess.Popen[bytes]:
    code = f"""
import time
from pybuild_magic.run import start
start({", ".join(map(repr, words))}, name="theirs", volumes=["kept:/kept"])
print("begun", flush=True)
time.sleep(1000)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    return process


def test_it_ends_when_whom_it_belongs_to_is_killed() -> None:
    process = _begin_in_another_process(
        "busybox", "sh", "-c", "trap 'echo bye > /kept/said; exit' TERM; echo ready; while :; do sleep 0.05; done"
    )
    going = find_run("theirs")
    assert going.running
    _written(going, "ready\n")
    process.kill()
    process.wait()
    going.wait()
    assert list_runs(ended=True) == []
    assert run("busybox", "cat", "/kept/said", volumes=["kept:/kept"]).text == "bye\n"


def test_nothing_is_left_when_its_host_is_killed() -> None:
    before = set(processes("1234567"))
    going = start("busybox", "sleep", "1234567")
    directory = find_run(going.name)._record.directory  # pyright: ignore[reportPrivateUsage]
    (host,) = [pid for pid in processes(str(directory)) if pid != os.getpid()]
    os.kill(host, signal.SIGKILL)
    _until(lambda: set(processes("1234567")) <= before and not going.running)
    assert going.wait() is None
    store = embedded_builder().store
    with store.lease():
        run("busybox", "true")
    collect_garbage(store)
    assert find_run(going.name)._record.state() == "killed"  # pyright: ignore[reportPrivateUsage]


def test_it_can_outlive_whom_it_belongs_to() -> None:
    code = "from pybuild_magic.run import start\nstart('busybox', 'sleep', '1000', name='own', detach_from_kernel=True)"
    subprocess.run([sys.executable, "-c", code], check=True)
    going = find_run("own")
    assert going.running
    assert going.stop(0) == 137


def test_a_volume_is_filled_once_and_kept() -> None:
    script = "cat /etc/group | head -1; echo mine > /etc/made; ls /etc | wc -l"
    first = run("busybox", "sh", "-c", script, volumes=["conf:/etc"])
    second = run("busybox", "sh", "-c", "cat /x/made; ls /x | wc -l", volumes=["conf:/x:ro"])
    assert second.text.splitlines() == ["mine", first.text.splitlines()[-1]]
    assert run("busybox", "ls", "/x", volumes=["empty:/x"]).text == ""
    assert {volume.name for volume in list_volumes()} >= {"conf", "empty"}
    going = start("busybox", "sleep", "1000", volumes=["conf:/data"])
    with pytest.raises(StoreError, match="is in use"):
        remove_volume("conf")
    assert "conf" not in [volume.name for volume in prune_volumes()]
    going.stop(0)
    remove_volume("conf")
    with pytest.raises(UsageError, match="There is no volume conf"):
        remove_volume("conf")


def test_cells_say_it(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell.instance()
    pybuild_magic.load_ipython_extension(shell)

    def cell(text: str) -> object:
        result = shell.run_cell(text)
        result.raise_error()
        return result.result

    assert "cell-1: busybox:latest, running" in repr(
        cell("%build run -d --name cell-1 busybox sh -c 'echo said; sleep 1000'")
    )
    _written(find_run("cell-1"), "said")
    assert "cell-1" in repr(cell("%build ps"))
    capsys.readouterr()
    cell("%build logs --tail 1 cell-1")
    cell("%build exec -e A=7 cell-1 sh -c 'echo $A'")
    written = capsys.readouterr().out
    assert "said\n" in written
    assert "7\n" in written
    assert repr(cell("%build stop -t 0 cell-1")) == "cell-1 ended with 137"
    assert "exited (137)" in repr(cell("%build ps -a"))
    assert "NAME" in repr(cell("%build volumes"))
