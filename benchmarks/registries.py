"""A large image pulled and run, and a small layer pushed back on top of it, with the requests to the registry."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.registry import Registry, registry

from .figure import Figure
from .peers import BuildKit, Kernel

NAMES = ("pull", "push-back")
FOLDERS, FILES, SIZE, NOISE = 4, 5_000, 130_000, 41_000
"""Layers, files of each, bytes of a file, and how many of these are incompressible: 2.6 GB, or 820 MB packed."""
PULL, PUSH_BACK = 0.2, 2.0


def measure(name: str, kernel: Kernel, engine: BuildKit, scratch: Path) -> list[Figure]:
    """Return the figures of `pull` or of `push-back`."""
    figures = _pull(kernel, engine, scratch) if name == "pull" else _push_back(kernel, engine, scratch)
    for figure in figures:
        figure.show()
    return figures


@contextmanager
def _base(kernel: Kernel, scratch: Path, part: int) -> Iterator[tuple[Registry, str, Path]]:
    """Yield a registry with an image of which no builder has a layer; the image is divided by `part` in size."""
    context, noise = scratch / f"base{part}", random.Random()
    for folder in range(FOLDERS):
        (context / f"d{folder}").mkdir(parents=True)
        for number in range(FILES // part):
            (context / f"d{folder}/{number}").write_bytes(noise.randbytes(NOISE) + bytes(SIZE - NOISE))
    copies = "".join(f"COPY d{folder} /d{folder}\n" for folder in range(FOLDERS))
    with registry() as place:
        image = f"{place.host}/base:1"
        kernel.build(f"FROM busybox\n{copies}", [context], ("-o", f"type=registry,name={image}"))
        small = scratch / f"small{part}"
        small.mkdir()
        (small / "foo").write_bytes(b"foo")
        yield place, image, small


def _pull(kernel: Kernel, engine: BuildKit, scratch: Path) -> list[Figure]:
    """Measure one round only, since a builder keeps what it has fetched; each benchmark run makes a new image."""
    with _base(kernel, scratch, 1) as (_, image, context):
        dockerfile, flags = f"FROM {image}\nRUN du -s /d0\n", ("-o", "type=cacheonly")
        kernel.reset()
        ours, theirs = kernel.build(dockerfile, [context], flags), engine.build(dockerfile, [context], flags)
    note = f"{ours:.1f} s of {theirs:.1f} s"
    return [Figure("pull", "820 MB pulled and a RUN on it, against BuildKit", ours / theirs, "", PULL, note)]


def _push_back(kernel: Kernel, engine: BuildKit, scratch: Path) -> list[Figure]:
    with _base(kernel, scratch, 10) as (place, image, context):
        figures: list[Figure] = []
        for who, peer in (("ours", kernel), ("BuildKit", engine)):
            peer.reset()
            seen = len(place.requests())
            output = ("-o", f"type=registry,name={place.host}/derived-{who.lower()}:1")
            seconds = peer.build(f"FROM {image}\nCOPY --link foo /foo\n", [context], output)
            asked = place.requests()[seen:]
            fetched = [one for one in asked if one.method == "GET" and re.search("/base/blobs/", one.path)]
            layers = max(0, len(fetched) - 1)  # one of the blobs is the config
            note = f"{len(asked)} requests, {layers} layers fetched"
            held = PUSH_BACK if who == "ours" else None
            figures.append(Figure(f"push-back-{who}", f"COPY --link pushed back, {who}", seconds, " s", held, note))
            if who == "ours":
                figures.append(Figure("push-back-layers", "layers of the base that were fetched", layers, "", 0))
    return figures
