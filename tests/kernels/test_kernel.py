"""Kernels in an image, as Jupyter uses them: started, interrupted, asked, debugged, restarted, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from pybuild_magic.api.functions import build
from pybuild_magic.notebook.kernel_commands import kernel, kernels

from .conftest import DOCKERFILE, IMAGE, NAME, WITH_KERNEL, left_behind, running

pytestmark = pytest.mark.xdist_group("browser")

RESTARTS = 20
PASSING = ("ingest", "leases", "locks", "runs", "trash", "work")
"""Directories of the store whose files belong to what is running."""


def until(condition: Callable[[], bool]) -> bool:
    """Whether something comes true in a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def assert_nothing_left(place: Path) -> None:
    """Jupyter kills a kernel that takes its time to end; what that leaves goes with the first collection after it."""

    def collected() -> bool:
        subprocess.run([sys.executable, "-m", "tests.kernels.another", "store"], check=True, env=os.environ)
        return not left_behind(place)

    assert until(collected), left_behind(place)


def test_a_kernel_runs_in_the_image_and_sees_the_notebook_alone(place: Path, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n")
    with running(cwd=str(tmp_path), env=os.environ | {"TOKEN_OF_THE_SERVER": "secret"}) as notebook:
        assert notebook.run("import sys; print(sys.prefix)") == "/opt/env\n"
        assert notebook.run("print(open('data.csv').read())") == "a\n1\n\n"
        notebook.run("open('result.txt', 'w').write('made in the image')")
        environment = notebook.run("import os; print(dict(os.environ))")
        assert (
            notebook.run(f"print(os.path.exists({str(Path(__file__).resolve())!r}), os.getcwd())")
            == f"False {tmp_path}\n"
        )
        assert notebook.run("print(os.path.expanduser('~'))") == "/home/jovyan\n"
    made = tmp_path / "result.txt"
    assert made.read_text() == "made in the image"
    assert made.stat().st_uid == os.geteuid()
    assert "'WHERE': 'image'" in environment
    assert "'GIVEN': 'yes'" in environment
    assert "TOKEN_OF_THE_SERVER" not in environment
    assert_nothing_left(place)


def test_a_kernel_is_interrupted_asks_and_is_restarted(place: Path) -> None:
    with running() as notebook:
        notebook.run("x = 1")
        notebook.client.execute("import time\nprint('begun')\ntime.sleep(600)")
        until_begun(notebook.client)
        notebook.manager.interrupt_kernel()
        reply = notebook.client.get_shell_msg(timeout=60)
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        answer = notebook.run(
            "print('got', input('who? '))",
            allow_stdin=True,
            stdin_hook=lambda _message: notebook.client.input("ada"),
        )
        assert answer == "got ada\n"
        assert len(notebook.run("print('line\\n' * 500_000)")) == 2_500_001
        notebook.manager.restart_kernel()
        notebook.client.wait_for_ready(timeout=120)
        assert notebook.run("print(x)") == "NameError"


def until_begun(client: Any) -> None:
    """Wait until a cell has printed something."""
    while client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
        pass


def test_comms_subshells_and_the_debugger_work(place: Path) -> None:
    with running() as notebook:
        opened: list[str] = []

        def take(message: dict[str, Any]) -> None:
            if message["msg_type"] == "comm_open":
                opened.append(message["content"]["target_name"])

        notebook.client.execute_interactive(
            "from comm import create_comm; c = create_comm(target_name='ours')", timeout=60, output_hook=take
        )
        assert opened == ["ours"]
        subshell = ask(notebook.client, "create_subshell_request", {})["content"]["subshell_id"]
        cell = notebook.client.execute("import time\nprint('begun')\nwait = True\nwhile wait: time.sleep(0.01)")
        until_begun(notebook.client)
        message = notebook.client.session.msg("execute_request", {"code": "wait = False", "silent": False})
        message["header"]["subshell_id"] = subshell
        notebook.client.shell_channel.send(message)
        assert answer_of(notebook.client, cell)["content"]["status"] == "ok"
        assert debug(notebook.client, "initialize", clientID="t", adapterID="", linesStartAt1=True)["success"]
        assert debug(notebook.client, "attach")["success"]
        code = "def double(n):\n    twice = 2 * n\n    return twice\nprint(double(21))"
        path = debug(notebook.client, "dumpCell", code=code)["body"]["sourcePath"]
        points = debug(notebook.client, "setBreakpoints", source={"path": path}, breakpoints=[{"line": 3}])
        assert points["body"]["breakpoints"][0]["verified"]
        assert debug(notebook.client, "configurationDone")["success"]
        cell = notebook.client.execute(code)
        thread = until_stopped(notebook.client)
        frame = debug(notebook.client, "stackTrace", threadId=thread)["body"]["stackFrames"][0]
        assert (frame["name"], frame["line"]) == ("double", 3)
        scopes = debug(notebook.client, "scopes", frameId=frame["id"])["body"]["scopes"]
        local = debug(notebook.client, "variables", variablesReference=scopes[0]["variablesReference"])
        assert ("twice", "42") in [(item["name"], item["value"]) for item in local["body"]["variables"]]
        assert debug(notebook.client, "continue", threadId=thread)["success"]
        assert answer_of(notebook.client, cell)["content"]["status"] == "ok"
        assert debug(notebook.client, "disconnect")["success"]


def answer_of(client: Any, cell: str) -> dict[str, Any]:
    """Wait for the answer to a cell that was begun."""
    while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != cell:
        pass
    return reply


def debug(client: Any, command: str, **arguments: Any) -> dict[str, Any]:
    """What the kernel's debugger answers."""
    request = {"type": "request", "command": command, "seq": 1, "arguments": arguments}
    return ask(client, "debug_request", request)["content"]


def until_stopped(client: Any) -> int:
    """Wait until a cell stands at a breakpoint; the number of its thread."""
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["msg_type"] == "debug_event" and message["content"]["event"] == "stopped":
            return message["content"]["body"]["threadId"]


def ask(client: Any, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """What the control channel answers."""
    message = client.session.msg(kind, content)
    client.control_channel.send(message)
    while True:
        reply: dict[str, Any] = client.get_control_msg(timeout=60)
        if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            return reply


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, 0])
def test_nothing_is_left_of_a_killed_kernel(place: Path, number: int) -> None:
    with running() as notebook:
        notebook.run("import subprocess; subprocess.Popen(['sleep', '1000'])")
        if number:
            os.kill(notebook.pid, number)
        else:  # the kernel itself, inside of the image
            notebook.client.execute("import os; os.kill(os.getpid(), 9)")
        assert until(lambda: not notebook.manager.is_alive())
    assert_nothing_left(place)


def test_many_restarts_keep_one_kernel_and_leave_nothing_in_the_store(place: Path) -> None:
    def there() -> list[str]:
        """What is there of kernels, and how many files the store has in its directories of what is passing."""
        passing = [path for name in PASSING for path in (place / "store" / name).iterdir()]
        return [*left_behind(place), f"{len(passing)} files"]

    with running() as notebook:
        before = there()
        for number in range(RESTARTS):
            notebook.run(f"x = {number}")
            notebook.manager.restart_kernel()
            notebook.client.wait_for_ready(timeout=120)
        assert notebook.run("print(x)") == "NameError"
        assert until(lambda: len(there()) == len(before) and there()[-1] == before[-1]), there()
    assert_nothing_left(place)


def test_a_kernel_ends_with_its_server(place: Path) -> None:
    server = subprocess.Popen([sys.executable, "-m", "tests.kernels.another", NAME], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        pid = next(int(line.split()[1]) for line in server.stdout if line.startswith("pid "))
    finally:
        server.kill()
        server.wait()
    assert until(lambda: not Path(f"/proc/{pid}").exists())
    assert_nothing_left(place)


def test_the_next_start_uses_a_rebuilt_image(place: Path) -> None:
    build(DOCKERFILE + "ENV WHERE=first\n", "-", tags=["changing"], progress="quiet")
    kernel(["--add-ipykernel", "--name", "changing", "changing"])
    try:
        with running("changing") as notebook:
            assert notebook.run("import os; print(os.environ['WHERE'])") == "first\n"
            build(
                "FROM changing:latest-kernel\nENV WHERE=second\n",
                "-",
                tags=["changing:latest-kernel"],
                progress="quiet",
            )
            assert [row[4] for row in kernels([]).rows if row[0] == "changing"] == [
                "rebuilt since; the next start uses the new image"
            ]
            notebook.manager.restart_kernel()
            notebook.client.wait_for_ready(timeout=120)
            assert notebook.run("import os; print(os.environ['WHERE'])") == "second\n"
    finally:
        kernel(["--remove", "changing"])
    assert [row[:4] for row in kernels([]).rows] == [(NAME, f"Python 3 in {WITH_KERNEL}", WITH_KERNEL, "python3")]


def test_notebooks_are_run_by_nbclient_and_nbval(place: Path, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import sys\nprint(sys.prefix)")])
    notebook.metadata["kernelspec"] = {"name": NAME, "display_name": IMAGE, "language": "python"}
    nbclient.NotebookClient(notebook, kernel_name=NAME).execute(cwd=str(tmp_path))
    assert notebook.cells[0].outputs[0].text == "/opt/env\n"
    path = tmp_path / "in-the-image.ipynb"
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", "-p", "no:cacheprovider", path.name]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    assert "1 passed" in checked.stdout
