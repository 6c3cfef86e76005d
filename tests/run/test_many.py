"""Two hundred runs in one process, which keeps nothing of them: no memory, no descriptor, no thread."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

from pybuild_magic.builders import embedded_builder
from pybuild_magic.run import run, start

RUNS = 200
BACKGROUND = 10
GROWTH = 8 << 10
"""Kilobytes; 40 for each run would be found."""


def _kept() -> tuple[int, int, int]:
    """Return the descriptors and threads of this process, and the memory of it, in kilobytes."""
    embedded_builder().sandbox.tidy()  # what the last run has left is deleted beside the next
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return len(list(Path("/proc/self/fd").iterdir())), int(status["Threads"]), int(status["VmRSS"].split()[0])


def _many(count: int) -> None:
    for _ in range(count):
        assert run("busybox", "echo", "x").text == "x\n"


def test_many_runs_leave_no_memory_descriptor_or_thread(store: None) -> None:
    _many(20)
    descriptors, threads, memory = _kept()
    helper = embedded_builder().sandbox._helper._process
    assert helper is not None
    files = Path(f"/proc/{helper.pid}/fd")
    before = len(list(files.iterdir()))
    _many(RUNS)
    after = _kept()
    assert after[0] <= descriptors
    assert after[1] <= threads
    assert after[2] < memory + GROWTH
    assert len(list(files.iterdir())) == before


def test_many_runs_in_the_background_leave_no_descriptor_thread_or_file(store: None) -> None:
    def background() -> None:
        going = start("busybox", "true")
        assert going.wait() == 0
        going.remove()
        for thread in [thread for thread in threading.enumerate() if thread.name == "pybuild-host"]:
            thread.join()

    work = embedded_builder().store.root / "work"
    others = set(work.iterdir())
    background()
    before = _kept()[:2]
    for _ in range(BACKGROUND):
        background()
    assert _kept()[:2] == before
    embedded_builder().close()
    assert set(work.iterdir()) <= others
