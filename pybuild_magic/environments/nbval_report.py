"""A pytest plugin beside nbval's: records each cell's outcome, its time, and the peak memory of its kernel.

It runs in the process that runs the notebooks, and writes the file `$PYBUILD_TEST_REPORT`, one line per cell.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "PYBUILD_TEST_REPORT"
_CONNECTION = b"/run/pybuild/connection.json"
"""A part of the command line of a kernel in an image."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: Any) -> Generator[None, Any, None]:
    """Measure the memory used by a cell."""
    pids = list(_kernel_of(item))
    for pid in pids:
        _write(Path(f"/proc/{pid}/clear_refs"), "5")
    yield
    item.user_properties.append(("memory", sum(map(_peak, {*pids, *_kernel_of(item)}))))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, None]:
    """Record the outcome of a cell."""
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" and not (report.when == "setup" and report.outcome != "passed"):
        return
    message = str(call.excinfo.value) if call.excinfo is not None else ""
    line = {
        "notebook": str(item.path),
        "cell": getattr(item, "cell_num", 0) + 1,
        "source": item.cell.source if hasattr(item, "cell") else "",
        "outcome": report.outcome,
        "compared": bool(getattr(item, "options", {}).get("check")),
        "differs": message == "Cell outputs differ",
        "started": report.when == "call",
        "text": str(report.longrepr or "") if report.outcome == "failed" else "",
        "seconds": report.duration,
        "memory": dict(item.user_properties).get("memory", 0),
    }
    with Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


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
