"""What a run has on every rung alike: volumes, owners that last, and one more process beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.builders.embedded.sandbox import cdi
from pybuild_magic.errors import UnsupportedError
from pybuild_magic.run import run, start
from pybuild_magic.run.named import remove_volume
from pybuild_magic.run.volumes import parse_tmpfs
from tests.sandbox.test_unprivileged import ROOT
from tests.services import require
from tests.services.common import need_root

from .cases import IMAGE
from .processes import processes

RUNGS = (1, 3, 4, 5)


@pytest.fixture(params=RUNGS)
def rung(request: pytest.FixtureRequest, store: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    require(lambda: need_root("every rung holds for root alone"))
    subprocess.run([sys.executable, ROOT / "native/build.py"], check=True)
    embedded_builder().close()
    builders._embedded = None
    monkeypatch.setenv("PYBUILD_RUNG", str(request.param))
    assert (taken := embedded_builder().sandbox.rung) and taken.number == request.param
    yield request.param


@pytest.mark.usefixtures("rung")
def test_volumes_of_an_image_go_with_the_process() -> None:
    script = "cat /data/file; stat -c %u:%g:%a /data; echo new > /data/file; touch /new/x; echo > /stays"
    done = run(IMAGE, "sh", "-c", script, diff=True)
    assert (done.exit_code, done.text) == (0, "kept\n0:0:755\n"), done.error_text
    assert done.changes is not None
    assert [change.file.path for change in done.changes] == ["stays"]


@pytest.mark.usefixtures("rung")
def test_a_named_volume_remembers_owners() -> None:
    text = "FROM busybox\nRUN mkdir /v /v/in && : > /v/in/f && chown -R 3:4 /v/in"
    build(text, "-", tags=["owned"], progress="quiet")
    script = "stat -c %u:%g /v/in /v/in/f; : > /v/made; chown 5:6 /v/made; chown 7:8 /v/in/f; chmod 4750 /v/made"
    assert run("owned", "sh", "-c", script, volumes=["owners:/v"]).text == "3:4\n3:4\n"
    look = "stat -c %u:%g:%a /w/in /w/in/f /w/made; rm /w/in/f; : > /w/in/f; stat -c %u:%g /w/in/f"
    assert run("busybox", "sh", "-c", look, volumes=["owners:/w"]).text.splitlines() == [
        "3:4:755",
        "7:8:644",
        "5:6:4750",
        "0:0",
    ]
    denied = run("busybox", "sh", "-c", "echo > /w/made; echo $?", volumes=["owners:/w"], user="9:9")
    assert denied.text == "1\n"
    remove_volume("owners")


def test_one_more_process_sees_and_changes_what_the_first_does(rung: int) -> None:
    going = start(
        "busybox",
        "sh",
        "-c",
        "until test -e /go; do sleep 0.02; done; stat -c %u:%g /made; exec cat /made -",
        interactive=True,
    )
    script = "echo $0 $A; pwd; id -u; id -g; cat > /tmp/in; cat /tmp/in; exit 5"
    done = going.exec("sh", "-c", script, stdin="typed\n", env={"A": "1"}, workdir="/tmp", user="12:34")
    assert (done.exit_code, done.text) == (5, "sh 1\n/tmp\n12\n34\ntyped\n"), done.error_text
    for _ in range(20):  # each has a filter, a listener and a thread of its own
        assert going.exec("true").exit_code == 0
    terminal = going.exec("sh", "-c", "tty; stty size; : < $(tty) && echo mine", tty=True)
    assert terminal.text.splitlines()[1:] == ["24 80", "mine"]
    assert going.exec("missing").exit_code == 127
    absent = going.exec("true", workdir="/nosuch")
    assert (absent.exit_code, absent.error_text) == (
        127,
        'chdir to the working directory "/nosuch": no such file or directory\n',
    )
    assert going.exec("sh", "-c", "kill -9 $$").exit_code == 137
    assert going.exec("sh", "-c", "echo hers > /made; chown 5:6 /made; echo > /go").exit_code == 0
    written = b""
    for _, data in going.logs(follow=True):
        written += data
        if written == b"5:6\nhers\n":
            break
    assert written == b"5:6\nhers\n"
    going.stop(0)


@pytest.mark.usefixtures("rung")
def test_a_working_directory_that_is_none_is_docker_s_failure() -> None:
    done = run("busybox", "true", workdir="/etc/passwd")
    said = 'chdir to the working directory "/etc/passwd": not a directory\n'
    assert (done.exit_code, done.error_text) == (125, said)


def test_hooks_of_devices_are_run_or_refused(rung: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho hooked > root/told\n")
    hook.chmod(0o755)
    (tmp_path / "tests.yaml").write_text(
        "cdiVersion: 0.7.0\nkind: tests.example/device\ndevices:\n"
        f"  - name: hooked\n    containerEdits:\n      hooks: [{{hookName: createContainer, path: {hook}}}]\n"
        "  - name: plain\n    containerEdits:\n      deviceNodes: [{path: /dev/ours, hostPath: /dev/zero}]\n"
        "      additionalGids: [44, 0]\n"
    )
    monkeypatch.setattr(cdi, "DIRECTORIES", (str(tmp_path),))
    plain = run("busybox", "sh", "-c", "head -c 3 /dev/ours | wc -c; id -G", devices=["tests.example/device=plain"])
    assert plain.text == "3\n0 44\n", plain.error_text
    if rung < 4:
        assert run("busybox", "cat", "/told", devices=["tests.example/device=hooked"]).text == "hooked\n"
        return
    with pytest.raises(UnsupportedError, match=rf"has a hook \({hook}\).*; rung {rung} ") as caught:
        run("busybox", "true", devices=["tests.example/device=hooked"])
    assert "without hooks" in caught.value.hint


def test_sizes_that_do_not_hold_are_told(rung: int) -> None:
    shown: list[str] = []
    command = ("busybox", "sh", "-c", "mkdir -p /t && df -k /t | tail -1 | awk '{print $2}'")
    memory = [parse_tmpfs("/t:size=1m")]
    done = run(*command, volumes=memory, shm_size="8m", show=lambda _, data: shown.append(data.decode()))
    expected = [f"The size of {path} is not limited on rung {rung}" for path in ("/dev/shm", "/t")]
    assert [text.partition(",")[0] for text in done.warnings] == (expected if rung >= 4 else [])
    assert (done.text == "1024\n") == (rung < 4)
    assert [line for line in "".join(shown).splitlines() if line.startswith("WARNING")] == [
        f"WARNING: {text}" for text in done.warnings
    ]


@pytest.mark.usefixtures("rung")
def test_one_more_process_ends_with_the_first() -> None:
    going = start("busybox", "sleep", "1000")
    process = going.exec("sh", "-c", "sleep 7654321 & echo begun")
    assert process.text == "begun\n"
    assert any(processes("7654321"))
    going.stop(0)
    deadline = time.monotonic() + 60
    while any(processes("7654321")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
