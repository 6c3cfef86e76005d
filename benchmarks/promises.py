"""Numbers that the documentation promises for places and habits: RUN on a container's own layer, and %build doctor.

Also a large context that is copied again after a small change.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.places.image import DEBIAN, debian_base
from tests.services import baseimages

from .figure import Figure
from .fresh import fresh
from .ladder import build_as
from .peers import Kernel

NAMES = ("own-layer", "doctor", "copy-again")
ECHO, DOCTOR, AGAIN, GROWTH = 0.5, 1.0, 5.0, 20.0
"""The targets: seconds of an echo, of the doctor and of the second COPY, and the MB that it adds to the store."""
_FILES, _SIZE = 3_000, 1_000_000
_ROOM = "print(sum(p.stat().st_blocks for p in Path(os.environ['PYBUILD_HOME']).rglob('*') if p.is_file()) * 512)"
"""The room that the store takes on the disk, as `du` counts it."""


def measure(name: str, kernel: Kernel, scratch: Path, rounds: int) -> Iterator[Figure]:
    """Yield the figures of a name, and print each as it comes."""
    for figure in _MEASURES[name](kernel, scratch, rounds):
        figure.show()
        yield figure


def _own_layer(_kernel: Kernel, scratch: Path, _rounds: int) -> Iterator[Figure]:
    """Measure RUN where overlayfs cannot be stacked: the first on an image that is new to the store, and another."""
    if os.geteuid() != 0:
        print("own-layer: left out, it is root that can mount an overlay file system")
        return
    context = scratch / "own-layer"
    context.mkdir()
    scratch.chmod(0o755)
    dockerfiles = ["FROM busybox\nRUN true\n", f"FROM {DEBIAN}\nRUN echo one\n", f"FROM {DEBIAN}\nRUN echo two\n"]
    builds = [[dockerfile, str(context), ["type=cacheonly"]] for dockerfile in dockerfiles]
    for user, rung in (("", 4), ("traced", 5)):
        titles = ("the first RUN echo", "another")
        try:
            answer = build_as(user, [baseimages.busybox(), debian_base()], builds, {}, own_layer=True)
            times, note = answer["times"][1:], "" if answer["rung"] == rung else f"on rung {answer['rung']}"
        except RuntimeError as error:
            times, note = [None, None], f"did not run: {str(error).strip()[-200:]}"
        for number, (title, seconds) in enumerate(zip(titles, times, strict=True)):
            words = f"{title} on a container's own layer, rung {rung}"
            yield Figure(f"own-layer-{rung}-{number}", words, seconds, " s", ECHO, note)


def _doctor(kernel: Kernel, _scratch: Path, rounds: int) -> Iterator[Figure]:
    times = [kernel.timed("_ = repr(get_ipython().run_line_magic('build', 'doctor'))") for _ in range(rounds)]
    yield Figure("doctor", "%build doctor", statistics.median(times), " s", DOCTOR)


def _copy_again(kernel: Kernel, scratch: Path, _rounds: int) -> Iterator[Figure]:
    """Measure COPY of 3 GB after a line of one file was edited, once: the store would know it the next time."""
    context = fresh(scratch)
    block = os.urandom(_SIZE)
    for number in range(_FILES):
        place = context / f"d{number // 100}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{number}").write_bytes(b"%d" % number + block)
    (context / "app.py").write_text("print(1)\n")
    kernel.reset()
    kernel.run("import os\nfrom pathlib import Path")
    dockerfile = "FROM busybox\nCOPY . .\n"
    whole = kernel.build(dockerfile, [context], ("-o", "type=cacheonly"))
    before = int(kernel.run(_ROOM))
    (context / "app.py").write_text("print(2)\n")
    os.sync()
    seconds = kernel.build(dockerfile, [context], ("-o", "type=cacheonly"))
    growth = (int(kernel.run(_ROOM)) - before) / 1e6
    yield Figure("copy-again", "COPY of 3 GB after a line was edited", seconds, " s", AGAIN, f"{whole:.1f} s at first")
    yield Figure("copy-again-room", "  room that it takes in the store", growth, " MB", GROWTH)


_MEASURES: dict[str, Callable[[Kernel, Path, int], Iterator[Figure]]] = {
    "own-layer": _own_layer,
    "doctor": _doctor,
    "copy-again": _copy_again,
}
