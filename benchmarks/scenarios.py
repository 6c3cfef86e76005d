"""The scenarios: a context, a Dockerfile and flags, the same for every builder."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOREM = (
    b"Lorem ipsum dolor sit amet, consectetur adipiscing elit. Sed do eiusmod tempor incididunt ut labore et "
    b"dolore magna aliqua."
)
MIB = 1 << 20


@dataclass(frozen=True)
class Scenario:
    """A scenario; `target` is the highest ratio to BuildKit's time that ours may have, or None."""

    name: str
    title: str
    dockerfile: str
    context: str = "foo"
    """The name of a context in `CONTEXTS`."""
    flags: tuple[str, ...] = ()
    """Flags of the build; `{out}` stands for a fresh path."""
    warm: bool = False
    """Whether it is first built unmeasured, so that everything is cached."""
    built: bool = False
    """Whether it is first built unmeasured with `type=cacheonly`, so that only the export is measured."""
    at_once: int = 1
    """How many builds run at the same time, each with its own context."""
    target: float | None = None
    client: bool = False
    """Whether files are sent to the builder or back, in which case our client of BuildKit is measured too."""


def _foo(root: Path) -> None:
    (root / "foo").write_bytes(b"foo")
    (root / "secret.txt").write_bytes(b"mysecret")


def _transfer(root: Path) -> None:
    """Write 5,009 files of 161 MB: the context of moby/buildkit-bench."""
    below = root / "subdir1/subdir2"
    below.mkdir(parents=True)
    (root / "subdir1/file1.txt").write_bytes(b"foo")
    (root / "subdir1/file2.txt").write_bytes(bytes(MIB))
    (below / "file3.txt").write_bytes(b"bar")
    (below / "file4.txt").write_bytes(bytes(10 * MIB))
    for number in range(5000):
        (root / f"subdir1/file{number + 5}.txt").write_bytes(LOREM)
    (root / "subdir1/largefile1.txt").write_bytes(bytes(50 * MIB))
    (root / "subdir1/largefile2.txt").write_bytes(bytes(100 * MIB))


def _many(root: Path) -> None:
    """Write 100,000 small files in 1,000 directories."""
    for folder in range(1000):
        below = root / f"d{folder:03d}"
        below.mkdir()
        for number in range(100):
            (below / f"f{number:02d}").write_bytes(b"%d %d" % (folder, number))


def _tar(root: Path, sizes: list[int]) -> None:
    noise = random.Random(1)
    with tarfile.open(root / "payload.tar", "w") as archive:
        for number, size in enumerate(sizes):
            info = tarfile.TarInfo(f"payload/d{number // 100:02d}/f{number % 100:02d}")
            info.size = size
            block = noise.randbytes(min(size, MIB))
            archive.addfile(info, io.BytesIO(block * -(-size // len(block))))


CONTEXTS: dict[str, Callable[[Path], None]] = {
    "foo": _foo,
    "transfer": _transfer,
    "many": _many,
    "tar-many": lambda root: _tar(root, [20 << 10] * 10_000),
    "tar-large": lambda root: _tar(root, [512 * MIB]),
}

_SIMPLE = "FROM busybox\nCOPY foo /etc/foo\nRUN cp /etc/foo /etc/bar\n"
TRANSFER = "FROM busybox\nWORKDIR /src\nCOPY . .\nRUN du -sh . && find . | wc -l\n"
_COPY = "FROM busybox\nWORKDIR /src\nCOPY . .\n"
RUNS = "FROM busybox\n" + "RUN true\n" * 30


def _export(name: str, title: str, output: str, target: float | None) -> Scenario:
    return Scenario(name, title, _COPY, "transfer", ("-o", output), built=True, target=target, client=True)


SCENARIOS = (
    Scenario("simple", "COPY and RUN", _SIMPLE),
    Scenario("multistage", "two stages", f"{_SIMPLE}FROM scratch\nCOPY --from=0 /etc/bar /bar\n"),
    Scenario(
        "secret",
        "RUN with a secret",
        "FROM busybox\nRUN --mount=type=secret,id=SECRET cat /run/secrets/SECRET\n",
        flags=("--secret", "id=SECRET,src={context}/secret.txt"),
    ),
    Scenario("transfer-cold", "5,009 files, 161 MB, cold", TRANSFER, "transfer", target=0.15, client=True),
    Scenario("transfer-cached", "the same, cached", TRANSFER, "transfer", warm=True, target=0.1, client=True),
    Scenario(
        "add-tar-many", "ADD of a tar of 10,000 files", "FROM busybox\nADD payload.tar /src/\nRUN true\n", "tar-many"
    ),
    Scenario("add-tar-large", "ADD of a tar of 512 MB", "FROM busybox\nADD payload.tar /src/\nRUN true\n", "tar-large"),
    _export("oci-uncompressed", "oci, uncompressed", "type=oci,dest={out},compression=uncompressed", 0.1),
    _export("oci-gzip", "oci, gzip", "type=oci,dest={out},compression=gzip", 0.33),
    _export("oci-zstd", "oci, zstd", "type=oci,dest={out},compression=zstd", 0.33),
    _export("local", "local", "type=local,dest={out}", 0.25),
    _export("tar", "tar", "type=tar,dest={out}", 0.33),
    Scenario("run-30-cold", "30 × RUN, cold", RUNS, target=0.05),
    Scenario("run-30-none", "30 × RUN --network=none, cold", RUNS.replace("RUN ", "RUN --network=none ")),
    Scenario("run-30-cached", "30 × RUN, cached", RUNS, warm=True, target=0.04),
    Scenario(
        "provenance",
        "30 × RUN, cached, oci with all provenance",
        RUNS,
        flags=("--provenance=mode=max", "-o", "type=oci,dest={out}"),
        warm=True,
    ),
    Scenario("many-cold", "100,000 files, cold", _COPY, "many"),
    Scenario("many-cached", "100,000 files, cached", _COPY, "many", warm=True),
    Scenario("at-once-16", "16 builds at once", _SIMPLE, at_once=16),
)
