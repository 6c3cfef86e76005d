"""A pytest plugin beside nbval's: records each cell's outcome, its time, and the peak memory of its kernel.

It runs in the process that runs the notebooks, and writes the file `--pybuild-report`, one line per cell.
"""

from __future__ import annotations

import importlib
import json
import re
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

_CONNECTION = b"/run/pybuild/connection.json"
"""A part of the command line of a kernel in an image."""
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_PLAINLY = (
    (re.compile(r"^ ?mismatch '(.*)'$", re.MULTILINE), r"\1 differs"),
    (re.compile(r"^ ?assert reference_output == test_output failed:$", re.MULTILINE), "stored (+), in the image (-):"),
    (re.compile(r'^dissimilar number of outputs for key "(.*)"(?=<)', re.MULTILINE), r"the number of \1 differs" "\n"),
    (re.compile(r"^ *<<<<<<<<<<<< Reference outputs? from ipynb file:$", re.MULTILINE), "stored:"),
    (re.compile(r"^ *============ disagrees with newly computed \(test\) output:$", re.MULTILINE), "in the image:"),
    (re.compile(r"^ *>>>>>>>>>>>>$", re.MULTILINE), ""),
    (re.compile(r", use -v to show$", re.MULTILINE), ""),
)
"""What nbval says, by what we say of it. pytest's comparison marks by `+` what is on the left, which is stored."""
_DIFFER, _FAILED = "Cell outputs differ", "Cell execution caused an exception"
_UNRUN = "Unrun reference cell has outputs"
"""What nbval says of a cell that is stored as if it had never run."""
_ENDED = "The kernel ended while the cell ran. It may have crashed, or taken more memory than there is."
_ASKS = "StdinNotImplementedError"
"""What ipykernel raises for input() where nobody can answer."""
_ONE_SIDED = re.compile(r"(Missing|Unexpected) output fields from running code: \{(.*)\}")
_MOST = 2000
"""The maximum characters of an output that only one side has."""


def _nbval() -> Any:
    """Return nbval's plugin, which has no types, and need not be installed where this module is only imported."""
    return importlib.import_module("nbval.plugin")


def pytest_addoption(parser: Any) -> None:
    """Add the options of this plugin."""
    parser.addoption("--pybuild-report", help="The file for the report")
    parser.addoption("--pybuild-names", type=json.loads, help="The names of the notebooks, by their paths, as JSON")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Judge each cell by itself, where nbval expects any to fail after one that took too long."""
    item.parent.timed_out = False
    if item.parent.kernel is not None and not item.parent.kernel.is_alive():
        pytest.skip("The kernel had ended.")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: Any) -> Generator[None, Any, None]:
    """Measure the memory used by a cell, and tell a kernel that ended, and a cell that took too long."""
    pids = list(_kernel_of(item))
    for pid in pids:
        _write(Path(f"/proc/{pid}/clear_refs"), "5")
    item.parent.kernel.get_message = partial(_message, item)
    outcome = yield
    item.user_properties.append(("memory", sum(map(_peak, {*pids, *_kernel_of(item)}))))
    error: Any = outcome.excinfo[1] if outcome.excinfo else None
    if item.parent.timed_out and not str(error).endswith("waiting for output."):
        limit = item.config.option.nbval_cell_timeout
        # Without this, it would be the same if it ended before nbval could interrupt it, and different if just after.
        traceback = error.inner_traceback if str(error).startswith("Timeout") else None
        sentence = f"The cell took longer than its time limit of {limit:g} s."
        outcome.force_exception(_nbval().NbCellError(item.cell_num, sentence, item.cell.source, traceback))


def _message(item: Any, stream: str, timeout: float | None = None) -> Any:
    """Return the next message of the item's kernel, as nbval does, but do not wait for one that has ended."""
    kernel = item.parent.kernel
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        rest = 1 if deadline is None else deadline - time.monotonic()
        try:
            return _nbval().RunningKernel.get_message(kernel, stream, timeout=max(0, min(1, rest)))
        except Empty:
            if not kernel.is_alive():
                raise _nbval().NbCellError(item.cell_num, _ENDED, item.cell.source) from None
            if rest <= 1 and deadline is not None:
                raise


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, None]:
    """Record the outcome of a cell; JUnit XML gets its number, the user's name of the notebook, and the same words."""
    outcome = yield
    report = outcome.get_result()
    name, number = item.config.option.pybuild_names[str(item.path)], item.cell_num + 1
    report.nodeid = f"{name}::Cell {number}"
    if report.when != "call" and not (report.when == "setup" and report.outcome != "passed"):
        return
    error = call.excinfo.value if call.excinfo is not None else None
    text = _told(item, error) if report.outcome == "failed" else ""
    if text:
        report.longrepr = text
    line = {
        "notebook": name,
        "cell": number,
        "source": item.cell.source,
        "outcome": report.outcome,
        # nbval does not compare a cell without a number of execution.
        "compared": bool(item.options["check"]) and item.cell.execution_count is not None,
        "differs": str(error) == _DIFFER,
        "started": report.when == "call",
        "text": text,
        "seconds": report.duration,
        "memory": dict(item.user_properties).get("memory", 0),
    }
    with Path(item.config.option.pybuild_report).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _told(item: Any, error: Any) -> str:
    """Return what is wrong with a cell: the difference, or the traceback, or a sentence above it."""
    if not isinstance(error, _nbval().NbCellError):
        return str(error)
    traceback = _plainly(str(error.inner_traceback or ""))
    if str(error) == _DIFFER:
        one_sided = _ONE_SIDED.fullmatch(traceback)
        return _outputs(item, one_sided[1], re.findall(r"'([^']+)'", one_sided[2])) if one_sided else traceback
    if str(error) == _FAILED:
        sentence = "The cell asks for input, which no test can give." if _ASKS in traceback else ""
    elif str(error) == _UNRUN:
        sentence = "The cell has stored outputs, but has never run: run it and save it."
    else:
        sentence = str(error)
    return "\n".join(filter(None, (sentence, traceback)))


def _plainly(text: str) -> str:
    """Return what nbval says of a cell in words that say what is what."""
    text = _COLOR.sub("", text).strip("\n")
    for pattern, words in _PLAINLY:
        text = pattern.sub(words, text)
    return text


def _outputs(item: Any, kind: str, fields: list[str]) -> str:
    """Return the outputs that only the notebook has, or only the image."""
    outputs, where = (item.cell.outputs, "stored") if kind == "Missing" else (item.test_outputs, "in the image")
    parts: list[str] = []
    for field in sorted(fields):
        contents = (
            output.get("text") if output.get("name") == field else {**output, **output.get("data", {})}.get(field)
            for output in outputs
        )
        text = "".join(str(content) for content in contents if content is not None)
        parts.append(f"{field} is only {where}:\n{text[:_MOST].rstrip()}")
    return "\n\n".join(parts)


def _kernel_of(item: Any) -> Iterator[int]:
    """Return the processes of the item's kernel: those in the image, not those that started it."""
    kernel = getattr(item.parent, "kernel", None)
    provisioner = getattr(getattr(kernel, "km", None), "provisioner", None)
    pid = getattr(provisioner, "pid", None)
    if not pid:
        return
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    todo, inside = [(pid, False)], set[int]()
    while todo:
        current, within = todo.pop()
        within = within or _is_kernel(current)
        if within:
            inside.add(current)
        todo += [(child, within) for child in children.get(current, ())]
    yield from inside


def _is_kernel(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return _CONNECTION in words


def _peak(pid: int) -> int:
    """Return the peak memory of a process, in bytes."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return 0


def _write(path: Path, text: str) -> None:
    with suppress(OSError):
        path.write_text(text)
