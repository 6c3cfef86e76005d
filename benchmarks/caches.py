"""External caches, written and read by each builder; and the time that attestations add to a build."""

from __future__ import annotations

import random
import shutil
import site
import statistics
from pathlib import Path

from tests.services import baseimages
from tests.services.buildkit import fresh_engine
from tests.services.registry import registry

from .figure import Figure
from .fresh import fresh
from .peers import BuildKit, Kernel
from .scenarios import CONTEXTS, RUNS

NAMES = ("cache", "attestations")
EXPORT = IMPORT = 0.5
PROVENANCE, SBOM = 20.0, 2.0
"""The targets: milliseconds for all provenance, and seconds for the packages of an image."""
IMAGE = 1 << 30
"""The bytes of that image."""
_STEPS = "WORKDIR /src\nCOPY . .\nRUN du -sh . && find . | wc -l\n" + "".join(
    f"RUN echo {number} >/{number}\n" for number in range(8)
)


def measure(name: str, kernel: Kernel, engine: BuildKit, scratch: Path, rounds: int) -> list[Figure]:
    """Return the figures of `cache` or of `attestations`."""
    figures = _caches(kernel, engine, scratch, rounds) if name == "cache" else _attested(kernel, scratch, rounds)
    for figure in figures:
        figure.show()
    return figures


def _caches(kernel: Kernel, engine: BuildKit, scratch: Path, rounds: int) -> list[Figure]:
    """Measure the export of a cache of 161 MB from eleven steps, and its import by a builder that has nothing.

    Each round has steps that no builder has seen.
    """
    context = fresh(scratch)
    context.mkdir()
    CONTEXTS["transfer"](context)
    times: dict[tuple[str, str, str], list[float]] = {}
    with registry() as place, fresh_engine() as other:
        for number in range(rounds):
            for who, exporter, importer in (("ours", kernel, kernel), ("BuildKit", engine, BuildKit(other))):
                for kind in ("local", "registry"):
                    where = f"{place.host}/cache:{who.lower()}{number}" if kind == "registry" else str(fresh(scratch))
                    to = f"type={kind},{'dest' if kind == 'local' else 'ref'}={where},mode=max"
                    of = f"type={kind},{'src' if kind == 'local' else 'ref'}={where}"
                    dockerfile = f"FROM busybox\nRUN echo {fresh(scratch).name} >/round\n{_STEPS}"
                    exporter.build(dockerfile, [context], ("-o", "type=cacheonly"))
                    exported = exporter.build(dockerfile, [context], ("-o", "type=cacheonly", f"--cache-to={to}"))
                    if importer is kernel:
                        importer.reset()
                    context = context.rename(fresh(scratch))  # a context at a new path is sent as a whole again
                    imported = importer.build(dockerfile, [context], ("-o", "type=cacheonly", f"--cache-from={of}"))
                    times.setdefault((kind, "export", who), []).append(exported)
                    times.setdefault((kind, "import", who), []).append(imported)
    return [_ratio(kind, what, times) for kind in ("local", "registry") for what in ("export", "import")]


def _ratio(kind: str, what: str, times: dict[tuple[str, str, str], list[float]]) -> Figure:
    ours, theirs = (statistics.median(times[kind, what, who]) for who in ("ours", "BuildKit"))
    title = f"cache of type={kind}, {what}, against BuildKit"
    target = EXPORT if what == "export" else IMPORT
    return Figure(f"cache-{what}-{kind}", title, ours / theirs, "", target, f"{ours:.2f} s of {theirs:.2f} s")


def _attested(kernel: Kernel, scratch: Path, rounds: int) -> list[Figure]:
    empty = fresh(scratch)
    empty.mkdir()
    kernel.reset()
    flags: dict[str, list[float]] = {"--provenance=false": [], "--provenance=mode=max": []}
    for _ in range(1 + 3 * rounds):
        for flag, times in flags.items():
            output = ("-o", f"type=oci,dest={fresh(scratch)}", flag)
            times.append(kernel.build(RUNS, [empty], output))
    plain, attested = (statistics.median(times[1:]) for times in flags.values())
    title = "all provenance of 30 × RUN, cached, adds"
    figures = [Figure("provenance", title, 1000 * (attested - plain), " ms", PROVENANCE, f"to {1000 * plain:.0f} ms")]
    seconds = [_sbom(kernel, scratch) for _ in range(rounds)]
    title = "packages of 1 GB of Debian and Python"
    return [*figures, Figure("sbom", title, statistics.median(seconds), " s", SBOM)]


def _sbom(kernel: Kernel, scratch: Path) -> float:
    """Return the seconds of the first scan of an image with Debian's and this Python's packages, and 1 GB of files."""
    context, noise = fresh(scratch), random.Random(1)
    shutil.copytree(site.getsitepackages()[0], context / "packages", symlinks=True)
    size = sum(path.stat().st_size for path in context.rglob("*") if path.is_file() and not path.is_symlink())
    block = noise.randbytes(100_000)
    (context / "noise").mkdir()
    for number in range(max(0, IMAGE - size) // len(block)):
        (context / f"noise/{number // 100}").mkdir(exist_ok=True)
        (context / f"noise/{number // 100}/{number}").write_bytes(b"%d" % number + block)
    kernel.reset()
    kernel.run(f"_ = load_image(embedded_builder().store, {str(baseimages.debian_python().path)!r}, 'debian')")
    dockerfile = "FROM debian\nCOPY packages /usr/local/lib/python3.11/site-packages\nCOPY noise /noise\n"
    kernel.build(dockerfile, [context], ("-t", "bench-packages"))
    shutil.rmtree(context)
    return kernel.timed("%build sbom bench-packages --scan")
