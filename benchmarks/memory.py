"""The memory of a kernel that builds all day: how much 100 builds add to it."""

from __future__ import annotations

from pathlib import Path

from .figure import Figure
from .peers import Kernel
from .scenarios import CONTEXTS

NAMES = ("memory",)
FIRST, BUILDS = 20, 100
GROWTH = 10.0
"""MiB, for what an allocator may keep and for the results."""


def measure(kernel: Kernel, scratch: Path) -> list[Figure]:
    """Measure how much the kernel's peak grows from the first builds to the last; each has a changed file."""
    context = scratch / "memory"
    context.mkdir()
    CONTEXTS["transfer"](context)
    kernel.reset()
    peaks = [_peak(kernel, context, number) for number in range(FIRST + BUILDS)]
    before, after = max(peaks[:FIRST]), max(peaks[-FIRST:])
    note = f"{before:.0f} to {after:.0f} MiB"
    figure = Figure("memory-100", "growth of a kernel over 100 builds", after - before, " MiB", GROWTH, note)
    figure.show()
    return [figure]


def _peak(kernel: Kernel, context: Path, number: int) -> float:
    (context / "subdir1/file1.txt").write_text(str(number))
    kernel.peak()
    kernel.build("FROM busybox\nCOPY . /src\nRUN true\n", [context], ())
    return kernel.peak() / (1 << 20)
