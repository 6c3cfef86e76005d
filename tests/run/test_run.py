"""What a run leaves, how it is stopped, and how cells say it."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

import pybuild_magic
from pybuild_magic.errors import Interrupted, SourceError, UsageError
from pybuild_magic.run import find_image, run

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """What runs in the background of a shell begins with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _interrupt_when_started() -> Callable[[int, bytes], None]:
    """Interrupt this process, as the stop button does, when something is written."""

    def show(_stream: int, _data: bytes) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    return show


def test_a_name_that_no_image_can_have_is_refused_before_the_process(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be lowercase"):
        run("busybox", "touch", "/out/ran", volumes=[f"{tmp_path}:/out"], commit="Wrong")
    assert not list(tmp_path.iterdir())


def test_what_a_process_changes_is_told_and_becomes_an_image() -> None:
    done = run("busybox", "sh", "-c", "echo new > /made; rm /bin/cat", diff=True, commit="committed:1")
    assert done.changes is not None
    assert [(change.kind, change.file.path) for change in done.changes] == [("D", "bin/cat"), ("A", "made")]
    assert (
        run("committed:1", "sh", "-c", "read x < /made; echo $x; test -e /bin/cat || echo gone").text == "new\ngone\n"
    )


def test_a_process_is_asked_to_stop_by_its_signal() -> None:
    written: list[bytes] = []
    interrupt = _interrupt_when_started()

    def show(stream: int, data: bytes) -> None:
        written.append(data)
        if len(written) == 1:
            interrupt(stream, data)

    script = "trap 'echo bye; exit 3' USR1; echo started; while :; do sleep 0.05; done"
    with pytest.raises(Interrupted):
        run("busybox", "sh", "-c", script, show=show, stop_signal="SIGUSR1")
    assert b"".join(written) == b"started\nbye\n"


def test_a_process_that_is_deaf_is_killed_without_waiting() -> None:
    started = time.monotonic()
    with pytest.raises(Interrupted):
        run("busybox", "sh", "-c", "echo started; exec sleep 1000", show=_interrupt_when_started(), stop_timeout=500)
    assert time.monotonic() - started < 60


def test_a_directory_of_the_machine_is_shown(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("ours")
    done = run("busybox", "sh", "-c", "cat /x/file; echo theirs > /x/new", volumes=[f"{tmp_path}:/x"])
    assert (done.text, (tmp_path / "new").read_text()) == ("ours", "theirs\n")
    refused = run("busybox", "touch", "/x/more", volumes=[f"{tmp_path}:/x:ro"])
    assert refused.exit_code == 1
    assert b"Read-only file system" in refused.stderr
    assert run("busybox", "cat", "/f", volumes=[f"{tmp_path}/file:/f"]).text == "ours"


def test_ports_need_no_mapping() -> None:
    with pytest.raises(UsageError, match="is not needed"):
        pybuild_magic.run.options_from(["-p", "80:80", "busybox"])


def test_the_id_of_a_run_is_told_by_a_file_that_must_be_new(tmp_path: Path) -> None:
    file = tmp_path / "id"
    done = run("busybox", "hostname", cidfile=str(file))
    assert (len(file.read_text()), file.read_text()[:12]) == (64, done.text.strip())
    with pytest.raises(UsageError, match="exists already"):
        run("busybox", "true", cidfile=str(file))
    with pytest.raises(UsageError, match=r"cannot be written: No such file"):
        run("busybox", "true", cidfile=str(tmp_path / "missing" / "id"))
    with pytest.raises(SourceError):
        run("missing.invalid/image", "true", pull="never", cidfile=str(tmp_path / "unwritten"))
    assert not (tmp_path / "unwritten").exists()


def test_a_terminal_has_a_size_and_a_name() -> None:
    done = run("busybox", "sh", "-c", "stty size; tty; ls /dev/console", tty=True)
    size, name, console = done.text.splitlines()
    assert (size, console) == ("24 80", "/dev/console")
    assert name.startswith("/dev/pts/")


@pytest.mark.parametrize("tty", [False, True])
def test_with_an_init_signals_end_a_process_that_has_no_handlers(tty: bool) -> None:
    assert run("busybox", "sh", "-c", "kill -15 $$", init=True, tty=tty).exit_code == 143
    assert run("busybox", "sh", "-c", "sleep 0.1 & wait; echo done; exit 3", init=True, tty=tty).exit_code == 3
    shown = _interrupt_when_started()
    with pytest.raises(Interrupted):
        run("busybox", "sh", "-c", "echo started; exec sleep 1000", show=shown, init=True, tty=tty, stop_timeout=500)


def test_many_runs_leave_nothing() -> None:
    run("busybox", "true")
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(30):
        pybuild_magic.run("busybox", "sh", "-c", "read x; tty", stdin="x\n", tty=True)
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before


def test_memory_does_not_grow_with_runs() -> None:
    for _ in range(20):
        run("busybox", "true")
    before = _memory()
    for _ in range(100):
        run("busybox", "true")
    assert _memory() - before < 2 << 20  # 200 took 56 KiB; a result that is kept would be some MiB


def _memory() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) << 10


INPUTS: dict[str, tuple[str, str]] = {
    "a table": ("$table", "a,b\n1,2\n"),
    "words, with their ends": ("$text", " two  words\n"),
    "after an equals sign": ("=$text", " two  words\n"),
    "in double quotes": ('"$text"', " two  words\n"),
    "a member": ("$thing.member", "of it\n"),
    "a member of an item": ("$items[1].member", "of it\n"),
    "an item from the end": ("=$items[-2]", "first"),
    "an item by its key": ("$found['a key']", "by key"),
    "an item by a key in double quotes": ('$found["a key"]', "by key"),
    "bytes": ("$found['bytes']", "\u00e9"),
    "a view of bytes": ("$view", "view"),
    "a file of text": ("$file", "of a file\n"),
    "a file in memory": ("$found['file']", "in memory"),
    "in single quotes, as a shell": ("'$text'", "$text"),
}
NO_INPUTS = {
    "$missing": "There is no variable missing for --stdin. Set it in a cell before.",
    "$missing.member": "There is no variable missing for --stdin. Set it in a cell before.",
    "$thing.other": "--stdin: there is no .other in thing.",
    "$items[7]": "--stdin: there is no [7] in items.",
    "$found['a key'].member": "--stdin: there is no .member in found['a key'].",
    "$items": "not a value of the type list. Make text of it, for example with json.dumps.",
    "$path": "not a value of the type PosixPath. Open the file.",
    "$closed": "--stdin: the file cannot be read: I/O operation on closed file.",
}


@pytest.fixture
def shell(tmp_path: Path) -> InteractiveShell:
    """A shell with values of all kinds."""

    class Thing:
        member = "of it\n"

    class Table:
        def to_csv(self, *, index: bool) -> str:
            return "i,a,b\n0,1,2\n" if index else "a,b\n1,2\n"

    (tmp_path / "file").write_text("of a file\n")
    shell = InteractiveShell.instance()
    pybuild_magic.load_ipython_extension(shell)
    file, closed = (tmp_path / "file").open(), (tmp_path / "file").open()
    closed.close()
    shell.user_ns |= {"text": " two  words\n", "thing": Thing(), "items": ["first", Thing()], "table": Table()}
    shell.user_ns |= {"view": memoryview(b"view"), "file": file, "closed": closed, "path": tmp_path / "file"}
    shell.user_ns |= {"found": {"a key": "by key", "bytes": b"\xc3\xa9", "file": io.BytesIO(b"in memory")}}
    shell.user_ns |= {"large": b"x" * (100 << 20)}
    return shell


@pytest.mark.parametrize("kind", INPUTS)
def test_a_process_reads_a_value(kind: str, shell: InteractiveShell) -> None:
    word, expected = INPUTS[kind]
    line = f"%build run --stdin{'' if word.startswith('=') else ' '}{word} busybox cat"
    assert shell.run_cell(line).result.text == expected


@pytest.mark.parametrize("word", NO_INPUTS)
def test_a_value_that_cannot_be_read_is_told(word: str, shell: InteractiveShell) -> None:
    error = shell.run_cell(f"%build run --stdin {word} busybox cat").error_in_exec
    assert isinstance(error, UsageError)
    assert NO_INPUTS[word] in str(error)


def test_a_process_beside_another_reads_a_value_too(shell: InteractiveShell) -> None:
    started = shell.run_cell(
        "%build run -d --name entered --stdin $large busybox sh -c 'wc -c; exec sleep 1000'"
    ).result
    try:
        assert shell.run_cell("%build exec --stdin $text entered cat").result.text == " two  words\n"
        assert shell.run_cell("%build exec -i --stdin=$large entered wc -c").result.text == "104857600\n"
        assert isinstance(shell.run_cell("%build exec --stdin $items entered cat").error_in_exec, UsageError)
        assert isinstance(shell.run_cell("%%build exec entered sh\necho a").error_in_exec, UsageError)
    finally:
        started.stop(0)
    assert started.text == "104857600\n"
    started.remove()


def test_a_large_value_that_nobody_reads_keeps_nobody_waiting(shell: InteractiveShell) -> None:
    assert shell.run_cell("%build run --stdin $large busybox true").result.exit_code == 0
    assert shell.run_cell("%%build run -i --stdin $large busybox\nhead -c 3; exit 4").result.text == "xxx"


def test_a_command_has_a_flag_of_the_same_name(shell: InteractiveShell) -> None:
    done = shell.run_cell("%build run busybox echo --stdin $text --stdin=$missing --stdin $thing.member").result
    assert done.text == "--stdin  two  words\n --stdin=$missing --stdin of it\n\n"


def test_lines_and_cells(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell.instance()
    pybuild_magic.load_ipython_extension(shell)
    shell.user_ns |= {"text": "two words\n", "ref": "busybox"}
    result = shell.run_cell("%build run --stdin $text $ref sh -c 'cat; echo {1 + 1} >&2'")
    result.raise_error()
    assert result.result.exit_code == 0
    written = capsys.readouterr()
    assert "two words\n" in written.out
    assert "2\n" in written.err
    shell.run_cell("%%build run -e A=1 busybox first\necho $A $1").raise_error()
    assert "1 first\n" in capsys.readouterr().out
    shell.run_cell("%%build run busybox arg\n#!/bin/cat\nthe script itself").raise_error()
    assert "the script itself" in capsys.readouterr().out


def test_a_variable_that_does_not_exist_is_not_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell.instance()
    pybuild_magic.load_ipython_extension(shell)
    missing = shell.run_cell("%build run --stdin $missing busybox cat").error_in_exec
    assert isinstance(missing, UsageError)
    assert "There is no variable missing for --stdin." in str(missing)
    assert "$missing" not in capsys.readouterr().out
    shell.run_cell("%build run busybox echo --stdin $missing").raise_error()  # a flag of the command's own
    assert "--stdin $missing" in capsys.readouterr().out


@pytest.mark.parametrize("ref", ["./app.tar", "../app", "/srv/app:1", "~/app.tar", "oci-layout://app"])
def test_an_image_that_is_given_by_a_place_where_none_is_has_an_error_of_that_place(ref: str) -> None:
    with pytest.raises(SourceError) as caught:
        find_image(ref)
    assert "cannot be read" in caught.value.message
