"""A real kernel answers completion, help and diagnostics, saves cells and makes new ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

WAIT = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kernel")
    (root / "app.py").write_text("")
    return root


@pytest.fixture(scope="module")
def kernel(folder: Path) -> Iterator[BlockingKernelClient]:
    manager = KernelManager(kernel_name="python3")
    env = {**os.environ, "PYBUILD_HOME": str(folder / ".store"), "IPYTHONDIR": str(folder / ".ipython")}
    manager.start_kernel(cwd=str(folder), env=env)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=WAIT)
        run(client, "%load_ext pybuild_magic")
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(client: BlockingKernelClient, code: str) -> dict[str, Any]:
    reply = client.execute_interactive(code, timeout=WAIT, output_hook=lambda message: None)
    return reply["content"]


def complete(client: BlockingKernelClient, marked: str) -> tuple[list[str], str]:
    """(matches, the text that they replace)."""
    code = marked.replace("|", "")
    content = client.complete(code, marked.index("|"), reply=True, timeout=WAIT)["content"]
    return content["matches"], code[content["cursor_start"] : content["cursor_end"]]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("%%build\nFROM a\nCO|", (["COPY"], "CO")),
        ("%%build -o type=oci,compression=z|", (["zstd"], "z")),
        ("%%build\nFROM a\nCOPY ap|", (["app.py"], "ap")),
        ("%%build\nFROM a\nENV A=1\nLABEL b=${A|", (["A}"], "A")),
        ("%%build\nFROM a\nRUN pri|", ([], "")),
        ("%build imag|", (["images", "imagetools"], "imag")),
        ("prin|", (["print"], "prin")),
    ],
)
def test_the_kernel_completes(kernel: BlockingKernelClient, marked: str, expected: tuple[list[str], str]) -> None:
    assert complete(kernel, marked) == expected


def test_a_completion_has_a_type_and_when_asked_a_doc(kernel: BlockingKernelClient) -> None:
    code = "%%build -o type=image,pu"
    content = kernel.complete(code, len(code), reply=True, timeout=WAIT)["content"]
    (first, *_) = content["metadata"]["_jupyter_types_experimental"]
    assert (first["text"], first["type"]) == ("push=", "bool")
    taken = "%%build -o type=image,push="
    content = kernel.inspect(taken, len(taken), reply=True, timeout=WAIT)["content"]
    assert "bool, false when not given: Push the image after it is made." in content["data"]["text/plain"]


def test_the_kernel_helps(kernel: BlockingKernelClient) -> None:
    content = kernel.inspect("%%build\nFROM a\nCOPY a b", 17, reply=True, timeout=WAIT)["content"]
    assert content["data"]["text/plain"].startswith("COPY [flags] SOURCE… DEST\n")
    content = kernel.inspect("%build prune --all", 18, reply=True, timeout=WAIT)["content"]
    assert content["data"]["text/plain"].startswith("--all\n")
    content = kernel.inspect("print", 2, reply=True, timeout=WAIT)["content"]
    assert content["found"]


def test_the_kernel_finds_what_is_wrong(kernel: BlockingKernelClient) -> None:
    request = {"id": 7, "token": "", "method": "diagnostics", "params": {"cell": "%%build\nFROM scratch as x\n"}}
    opened = {"comm_id": "c1", "target_name": "pybuild_magic", "data": request}
    kernel.shell_channel.send(kernel.session.msg("comm_open", opened))
    while True:
        message = kernel.get_iopub_msg(timeout=WAIT)
        if message["msg_type"] == "comm_msg":
            break
    (found,) = message["content"]["data"]["result"]["diagnostics"]
    assert message["content"]["data"]["id"] == 7
    assert (found["line"], found["column"], found["end"], found["severity"]) == (2, 13, 15, "warning")
    assert found["rule"] == "FromAsCasing"


def test_a_cell_is_saved_and_made_again(kernel: BlockingKernelClient, folder: Path) -> None:
    assert run(kernel, "%build export")["status"] == "error"
    cell = "FROM scratch\nCOPY app.py /\n"
    assert run(kernel, f"%%build\n{cell}")["status"] == "ok"
    assert run(kernel, "%build export sub/Dockerfile")["status"] == "error"
    assert run(kernel, "%build export saved.Dockerfile")["status"] == "ok"
    assert (folder / "saved.Dockerfile").read_text() == cell
    refused = run(kernel, "%build export saved.Dockerfile")
    assert refused["status"] == "error"
    assert "-f" in refused["evalue"]
    (payload,) = run(kernel, "%build import saved.Dockerfile")["payload"]
    assert (payload["source"], payload["replace"]) == ("set_next_input", False)
    assert payload["text"] == f"%%build\n{cell}"
    (folder / "a dir").mkdir()
    (folder / "a dir/Dockerfile").write_text("FROM scratch\n")
    (payload,) = run(kernel, "%build import 'a dir'")["payload"]
    assert payload["text"] == "%%build 'a dir'\nFROM scratch\n"
