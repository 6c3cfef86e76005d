"""The time to run a process on an image, beside `docker run`, and to start a kernel in one, beside a local kernel."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from jupyter_client.manager import start_new_kernel

from tests.places.image import debian_base

from .figure import Figure
from .peers import BuildKit, Kernel

NAMES = ("run", "kernel")
RUN, SANDBOX, START = 40.0, 15.0, 0.3
"""The targets: milliseconds of a run and of its sandbox, and seconds that a kernel in an image may start later."""
_RUNS = 20
_IMAGE, _SPEC, _LOCAL = "bench-kernel", "pybuild-bench", "python3"
_RUNGS = """
from pybuild_magic.builders import embedded_builder
print(*(rung.number for rung in embedded_builder().sandbox.rungs() if rung.holds))
"""
_DOCKERFILE = """FROM debian-python
RUN python3 -m venv /opt/env && /opt/env/bin/pip install --no-cache-dir ipykernel=={version}
ENV PATH=/opt/env/bin:$PATH
"""
_PREPARE = """
import os, statistics, time
from pybuild_magic.builders import embedded_builder
from pybuild_magic.cancel import Cancel
from pybuild_magic.run import Container, find_image
def sandboxed(count):
    builder, times = embedded_builder(), []
    with builder.store.lease():
        container = Container(find_image("busybox"), ("true",))
        for _ in range(count):
            with container.opened(Cancel()) as spec:
                began = time.monotonic()
                outcome = builder.sandbox.run(spec, lambda stream, data: None, Cancel())
                times.append(time.monotonic() - began)
            builder.sandbox.discard(outcome)
    return statistics.median(times)
"""


def measure(name: str, kernel: Kernel, engine: BuildKit, scratch: Path, rounds: int) -> Iterator[Figure]:
    """Yield the figures of a name, and print each as it comes."""
    for figure in _run(kernel, engine) if name == "run" else _kernel(kernel, scratch, rounds):
        figure.show()
        yield figure


def _run(kernel: Kernel, engine: BuildKit) -> Iterator[Figure]:
    kernel.run(_PREPARE)
    ours, theirs = [], []
    for _ in range(_RUNS):  # in turns, so that other work on the machine affects both
        ours.append(kernel.timed("%build run busybox true"))
        began = time.monotonic()
        engine.engine.docker("run", "--rm", "busybox", "true")
        theirs.append(time.monotonic() - began)
    sandbox = float(kernel.run(f"print(sandboxed({_RUNS}))"))
    note = f"docker run --rm: {statistics.median(theirs) * 1e3:.0f} ms"
    yield Figure("run", "%build run busybox true", statistics.median(ours) * 1e3, " ms", RUN, note)
    yield Figure("run-sandbox", "  of it the sandbox", sandbox * 1e3, " ms", SANDBOX)


def _kernel(kernel: Kernel, scratch: Path, rounds: int) -> Iterator[Figure]:
    kernel.load(debian_base().path, "debian-python")
    kernel.run(f"import os; os.chdir({str(scratch)!r})")
    version = kernel.run("import ipykernel; print(ipykernel.__version__)").strip()
    kernel.run(f"%%build -q -t {_IMAGE} -\n{_DOCKERFILE.format(version=version)}")
    rungs = [int(word) for word in kernel.run(_RUNGS).split()]
    names = {f"{_SPEC}-{rung}": rung for rung in rungs}
    try:
        for name, rung in names.items():
            kernel.run(f"os.environ['PYBUILD_RUNG'] = '{rung}'\n%build kernel --name {name} {_IMAGE}")
        times: dict[str, list[float]] = {name: [] for name in (_LOCAL, *names)}
        for name in times:
            _first_cell(name, scratch)
        for _ in range(rounds):  # in turns, so that other work on the machine affects all
            for name, taken in times.items():
                taken.append(_first_cell(name, scratch))
    finally:
        kernel.run("os.environ.pop('PYBUILD_RUNG', None)")
        for name in names:
            kernel.run(f"%build kernel --remove {name}")
    outside = statistics.median(times[_LOCAL])
    for name, rung in names.items():
        inside = statistics.median(times[name])
        title = f"a kernel's start in an image on rung {rung}, later by"
        note = f"{inside:.2f} s in the image, {outside:.2f} s on the machine, to the first cell"
        yield Figure(f"kernel-{rung}", title, inside - outside, " s", START, note)


def _first_cell(name: str, where: Path) -> float:
    """Return the seconds from the start of a kernel until its first cell has run."""
    # Compiled modules are kept, as in an installation.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    manager, client = start_new_kernel(kernel_name=name, cwd=str(where), startup_timeout=120, env=env, **quiet)
    client.execute_interactive("pass", timeout=60)
    taken = time.monotonic() - began
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    return taken
