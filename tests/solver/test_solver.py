"""What is run and what is CACHED, what runs at the same time, and how a build stops."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.builders.embedded.context import load_context
from pybuild_magic.cancel import Cancel
from pybuild_magic.errors import BuildError, ContextError, DockerfileError, Interrupted, RunError, SourceError
from pybuild_magic.images.load import load_image
from pybuild_magic.session import DirSource, Filter, MemorySource, SecretSource, SecretStore
from pybuild_magic.store import LayerWriter, Store
from pybuild_magic.store.fsck import fsck
from tests.services.baseimages import BaseImage
from tests.solver.compare import Build, Link, solve, write_context

TWO_STAGES = """\
FROM busybox AS made
COPY src /src
RUN tr a-z A-Z < /src/text > /out
FROM scratch
COPY --from=made /out /
COPY note /
"""


def _files(build: Build) -> dict[str, int]:
    assert build.response.files is not None
    return {entry.path: entry.size for entry in build.response.files}


TIME = 1_700_000_000 * 10**9


def test_a_copy_of_much_is_counted_to_its_end_and_one_of_little_is_not(builder: EmbeddedBuilder) -> None:
    context = MemorySource({f"much/{number}": bytes(4 << 20) for number in range(5)} | {"little": "x"})
    counted = solve(builder, "FROM scratch\nCOPY much /much\n", context).counted["copying files"]
    assert (counted.current, counted.total, counted.completed is not None) == (20 << 20, 20 << 20, True)
    assert "copying files" not in solve(builder, "FROM scratch\nCOPY little /\n", context).counted


def test_a_large_file_is_counted_while_it_is_read_and_written(builder: EmbeddedBuilder, tmp_path: Path) -> None:
    store, context = builder.store, tmp_path / "context"
    context.mkdir()
    (context / "large").write_bytes(bytes(5 << 20))
    seen: list[int] = []
    tree = load_context(DirSource(context), Filter(), store, Cancel(), seen.append)
    assert [now - before for before, now in pairwise(seen)] == [1 << 20] * 5
    told: list[int] = []
    with LayerWriter(store, on_bytes=told.append) as writer:
        for entry in tree.walk():
            writer.add(entry, tree.content(entry))
        writer.finish()
    assert len(told) >= 5 and told == sorted(told)


def test_second_build_runs_nothing_even_in_another_process(
    builder: EmbeddedBuilder, busybox: str, tmp_path: Path
) -> None:
    context = MemorySource({"src/text": "hello", "note": "n"})
    first = solve(builder, TWO_STAGES, context)
    assert len(first.ran()) == 4
    second = solve(builder, TWO_STAGES, context)
    assert second.ran() == set()
    assert len(second.cached()) == 4
    code = """
import sys
from tests.solver.test_solver import TWO_STAGES, EmbeddedBuilder, MemorySource, Store, solve
build = solve(EmbeddedBuilder(Store(sys.argv[1])), TWO_STAGES, MemorySource({"src/text": "hello", "note": "n"}))
print(len(build.cached()), len(build.ran()))
"""
    done = subprocess.run([sys.executable, "-c", code, str(builder.store.root)], capture_output=True, text=True)
    assert done.stdout.split() == ["4", "0"], done.stderr


def _touch(root: Path) -> None:
    (root / "src/text").write_text("hello")


def _other_file(root: Path) -> None:
    (root / "unrelated").write_text("x")


def _mode(root: Path) -> None:
    (root / "src/text").chmod(0o600)


def _content(root: Path) -> None:
    (root / "src/text").write_text("HELLO")


def _name(root: Path) -> None:
    (root / "src/text2").write_text("")


def _note(root: Path) -> None:
    (root / "note").write_text("other")


@pytest.mark.parametrize(
    ("change", "ran"),
    [
        (_touch, set()),
        (_other_file, set()),
        (_mode, {"[made 2/3] COPY src /src", "[made 3/3] RUN tr a-z A-Z < /src/text > /out"}),
        (_content, {"[made 2/3] COPY src /src", "[made 3/3] RUN tr a-z A-Z < /src/text > /out"}),
        (_name, {"[made 2/3] COPY src /src", "[made 3/3] RUN tr a-z A-Z < /src/text > /out"}),
        (_note, {"[stage-1 2/2] COPY note /"}),
    ],
)
def test_change_of_context_runs_only_what_it_changes(
    change: object, ran: set[str], builder: EmbeddedBuilder, busybox: str, tmp_path: Path
) -> None:
    context = write_context(tmp_path / "context", {"src/text": "hello", "note": "n"})
    solve(builder, TWO_STAGES, DirSource(context))
    change(context)  # type: ignore[operator]
    build = solve(builder, TWO_STAGES, DirSource(context))
    assert build.ran() == ran


def test_a_small_file_is_copied_as_it_was_hashed_and_a_larger_one_must_not_change(
    builder: EmbeddedBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pybuild_magic.builders.embedded.context._KEPT", 8)
    for name, text in {"a": "small", "b": "larger", "c": "one"}.items():
        (tmp_path / name).write_text(text)
    tree = load_context(DirSource(tmp_path), Filter(), builder.store, Cancel())
    for name in "abc":
        (tmp_path / name).write_text("changed")
    contents = {entry.path: tree.content(entry) for entry in tree.walk()}
    assert (contents["a"], contents["c"]) == (b"small", b"one")
    opener = contents["b"]
    assert callable(opener)
    with pytest.raises(ContextError, match="changed while it was being read"):
        opener()


def test_a_file_of_another_state_is_read_again(
    builder: EmbeddedBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remembered digest is that of an inode, a size and both times."""
    monkeypatch.setattr("pybuild_magic.store.digests._SETTLED_NS", 0)
    monkeypatch.setattr("pybuild_magic.store.digests._SETTLED_COARSE_NS", 0)
    file, other = tmp_path / "a/file", tmp_path / "other"
    file.parent.mkdir()

    def digest() -> bytes:
        (entry,) = load_context(DirSource(file.parent), Filter(), builder.store, Cancel())._list
        return entry.digest

    def settled(path: Path, text: str) -> None:
        path.write_text(text)
        os.utime(path, ns=(TIME, TIME))

    settled(file, "one")
    assert digest() == digest() == hashlib.sha256(b"one").digest()
    settled(file, "two")  # the time at which it was changed is another
    assert digest() == hashlib.sha256(b"two").digest()
    settled(other, "six")
    other.rename(file)
    assert digest() == hashlib.sha256(b"six").digest()
    file.write_text("longer")
    assert digest() == hashlib.sha256(b"longer").digest()


def test_a_file_that_changed_just_before_the_walk_is_not_remembered_however_long_it_took_to_hash(
    builder: EmbeddedBuilder, tmp_path: Path
) -> None:
    """It can have changed again between its look-up and its hashing, with the same time stamp."""
    file = tmp_path / "context/file"
    file.parent.mkdir()
    file.write_text("one")
    soon = time.time_ns() + 500_000_000
    os.utime(file, ns=(soon, soon))

    def wait(_: int) -> None:
        time.sleep(max(0, soon + 100_000_000 - time.time_ns()) / 10**9)

    load_context(DirSource(file.parent), Filter(), builder.store, Cancel(), wait)
    assert builder.store.digests.known_in(str(file.parent)) == {}
    load_context(DirSource(file.parent), Filter(), builder.store, Cancel())
    assert len(builder.store.digests.known_in(str(file.parent))) == 1


def test_what_steps_leave_is_deleted_before_layers_go_to_the_disk(
    builder: EmbeddedBuilder, busybox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deletions would wait for the disk, and the build for them."""
    others, alive = {*threading.enumerate()}, list[bool]()

    def see(_: object) -> None:
        alive.append(any(thread.name == "pybuild-leftovers" for thread in {*threading.enumerate()} - others))

    monkeypatch.setattr("pybuild_magic.store.durability.Durability.start", see)
    solve(builder, "FROM busybox\nRUN echo > /made\n", MemorySource({}))
    assert alive == [False]


def test_copy_from_a_stage_is_cached_by_content(builder: EmbeddedBuilder, busybox: str) -> None:
    dockerfile = "FROM busybox AS a\nRUN echo same > /out; : {}\nFROM scratch\nCOPY --from=a /out /\n"
    first = solve(builder, dockerfile.format(1), MemorySource({}))
    second = solve(builder, dockerfile.format(2), MemorySource({}))
    assert second.ran() == {"[a 2/2] RUN echo same > /out; : 2"}
    assert second.cached() >= {"[stage-1 1/1] COPY --from=a /out /"}
    assert _files(first) == _files(second)


def test_bind_mount_is_cached_by_the_content_of_what_is_mounted(builder: EmbeddedBuilder, busybox: str) -> None:
    dockerfile = "FROM busybox\nRUN --mount=source=used,target=/m cat /m/* > /out"
    solve(builder, dockerfile, MemorySource({"used/a": "1", "unused": "2"}))
    assert solve(builder, dockerfile, MemorySource({"used/a": "1", "unused": "3"})).ran() == set()
    assert len(solve(builder, dockerfile, MemorySource({"used/a": "4", "unused": "3"})).ran()) == 1


def test_secret_is_no_part_of_the_key(builder: EmbeddedBuilder, busybox: str, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN --mount=type=secret,id=s cat /run/secrets/s"
    path = tmp_path / "secret"
    path.write_text("one")
    first = solve(builder, dockerfile, MemorySource({}), secrets=SecretStore((SecretSource("s", str(path)),)))
    assert first.logs == b"one"
    path.write_text("two")
    second = solve(builder, dockerfile, MemorySource({}), secrets=SecretStore((SecretSource("s", str(path)),)))
    assert second.ran() == set()


def test_missing_secret_is_named(builder: EmbeddedBuilder, busybox: str) -> None:
    with pytest.raises(BuildError, match="secret nosuch: not found"):
        solve(builder, "FROM busybox\nRUN --mount=type=secret,id=nosuch,required=true true", MemorySource({}))


def test_no_cache_runs_again_and_so_does_what_reads_a_new_result(builder: EmbeddedBuilder, busybox: str) -> None:
    dockerfile = "FROM busybox AS a\nRUN cat /proc/sys/kernel/random/uuid > /u\nFROM a\nRUN cat /u\nRUN true"
    first = solve(builder, dockerfile, MemorySource({}))
    second = solve(builder, dockerfile, MemorySource({}), attrs={"no-cache": "a"})
    assert len(second.ran()) == 3
    assert second.logs != first.logs
    third = solve(builder, dockerfile, MemorySource({}))
    assert third.ran() == set()
    assert _files(third) == _files(second)


def test_no_cache_with_the_same_result_leaves_the_rest_cached(builder: EmbeddedBuilder, busybox: str) -> None:
    dockerfile = "FROM scratch AS a\nCOPY x /x\nFROM busybox\nCOPY --from=a /x /x\nRUN cat /x"
    solve(builder, dockerfile, MemorySource({"x": "1"}))
    again = solve(builder, dockerfile, MemorySource({"x": "1"}), attrs={"no-cache": "a"})
    assert again.ran() == {"[a 1/1] COPY x /x"}


def test_independent_steps_run_at_the_same_time(builder: EmbeddedBuilder, busybox: str) -> None:
    names = [f"s{number}" for number in range(4)]
    stages = [f"FROM busybox AS {name}\nRUN sleep 2; echo > /{name}" for name in names]
    copies = [f"COPY --from={name} /{name} /" for name in names]
    started = time.monotonic()
    build = solve(builder, "\n".join([*stages, "FROM scratch", *copies]), MemorySource({}))
    assert set(_files(build)) == set(names)
    assert time.monotonic() - started < 7


COUNTED = "FROM busybox\nRUN --mount=type=cache,target=/c sleep 1; echo x >> /c/count"
COUNT = "FROM busybox\nRUN --mount=type=cache,target=/c cat /c/count # {}"


def test_builds_at_the_same_time_run_a_step_once(builder: EmbeddedBuilder, busybox: str) -> None:
    threads = [threading.Thread(target=solve, args=(builder, COUNTED, MemorySource({}))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert solve(builder, COUNT, MemorySource({})).logs == b"x\n"


def test_processes_at_the_same_time_run_a_step_once(builder: EmbeddedBuilder, busybox: str) -> None:
    code = """
import sys
from tests.solver.test_solver import COUNTED, EmbeddedBuilder, MemorySource, Store, solve
solve(EmbeddedBuilder(Store(sys.argv[1])), COUNTED, MemorySource({}))
"""
    command = [sys.executable, "-c", code, str(builder.store.root)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert solve(builder, COUNT, MemorySource({})).logs == b"x\n"


def test_cache_mounts_are_taken_in_one_order_whatever_the_order_of_their_targets(
    builder: EmbeddedBuilder, busybox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two steps could each hold what the other waits for."""
    ids: list[str] = []
    acquire = builder.store.cachemounts.acquire

    def noted(id_: str, *arguments: Any) -> AbstractContextManager[Path]:
        ids.append(id_.rpartition("/")[2])
        return acquire(id_, *arguments)

    monkeypatch.setattr(builder.store.cachemounts, "acquire", noted)
    for names in (("one", "two"), ("two", "one")):
        flags = (f"--mount=type=cache,sharing=locked,id={id_},target=/{at}" for at, id_ in enumerate(names))
        solve(builder, f"FROM busybox\nRUN {' '.join(flags)} echo {names[0]}", MemorySource({}))
    assert ids == ["one", "two", "one", "two"]


@contextmanager
def _cancelled_after(seconds: float) -> Iterator[Cancel]:
    cancel = Cancel()
    timer = threading.Timer(seconds, cancel.cancel)
    timer.start()
    yield cancel
    timer.cancel()


def test_cancel_stops_at_once_and_names_the_step(builder: EmbeddedBuilder, busybox: str) -> None:
    dockerfile = "FROM busybox AS a\nRUN sleep 60\nFROM busybox\nRUN sleep 61\nCOPY --from=a / /a"
    with _cancelled_after(1.5) as cancel:
        started = time.monotonic()
        with pytest.raises(Interrupted, match=r"RUN sleep 60.*RUN sleep 61|RUN sleep 61.*RUN sleep 60"):
            solve(builder, dockerfile, MemorySource({}), cancel=cancel)
    assert time.monotonic() - started < 30
    assert fsck(builder.store) == []
    assert builder.history(1)[0].status == "canceled"


def test_cancel_of_one_build_lets_another_finish_the_shared_step(builder: EmbeddedBuilder, busybox: str) -> None:
    results: list[Build] = []
    other = threading.Thread(target=lambda: results.append(solve(builder, COUNTED, MemorySource({}))))
    with _cancelled_after(0.5) as cancel, pytest.raises(Interrupted):
        threading.Timer(0.2, other.start).start()
        solve(builder, COUNTED, MemorySource({}), cancel=cancel)
    time.sleep(0.1)
    other.join()
    assert len(results) == 1


def test_failing_run_has_its_exit_code_place_and_last_lines(builder: EmbeddedBuilder, busybox: str) -> None:
    with pytest.raises(RunError) as caught:
        solve(builder, "FROM busybox\n\nRUN seq 100; echo oops >&2; exit 3\n", MemorySource({}))
    error = caught.value
    assert error.exit_code == 3
    assert error.message == (
        'process "/bin/sh -c seq 100; echo oops >&2; exit 3" did not complete successfully: exit code: 3'
    )
    assert error.location is not None
    assert error.location.start == 3
    assert error.logs[-2:] == ("100", "oops")
    assert len(error.logs) == 20


def test_failure_stops_what_runs_beside_it(builder: EmbeddedBuilder, busybox: str) -> None:
    dockerfile = "FROM busybox AS a\nRUN sleep 60\nFROM busybox\nRUN sleep 0.5; exit 1\nCOPY --from=a / /a"
    started = time.monotonic()
    with pytest.raises(RunError, match=r"sleep 0\.5"):
        solve(builder, dockerfile, MemorySource({}))
    assert time.monotonic() - started < 30


def test_result_of_a_failed_step_is_not_kept(builder: EmbeddedBuilder, busybox: str) -> None:
    for _ in range(2):
        with pytest.raises(RunError):
            solve(builder, "FROM busybox\nRUN exit 1", MemorySource({}))
    assert builder.history(1)[0].status == "error"


ERRORS: dict[str, tuple[str, type[BuildError], str, int]] = {
    "missing file": (
        "FROM scratch\nCOPY nope /",
        ContextError,
        r'failed to calculate checksum of ref .*"/nope": not found',
        2,
    ),
    "missing in a stage": (
        "FROM scratch AS a\nCOPY x /\nFROM scratch\nCOPY --from=a /y /",
        ContextError,
        r'failed to calculate checksum of ref .*"/y": not found',
        4,
    ),
    "ignored file": ("FROM scratch\nCOPY secret /", ContextError, '"/secret": not found', 2),
    "directory over file": (
        "FROM scratch\nCOPY x /to/dir\nCOPY dir /to/dir",
        BuildError,
        "cannot copy to non-directory: /to/dir",
        3,
    ),
    "below a file": ("FROM scratch\nCOPY x /f\nCOPY x /f/y/", BuildError, "mkdir /f: not a directory", 3),
    "file in the place of a directory": (
        "FROM scratch\nCOPY tree /\nCOPY flat /",
        BuildError,
        "cannot replace to directory /name with file",
        3,
    ),
    "workdir on a file": ("FROM scratch\nCOPY x /f\nWORKDIR /f/g", BuildError, "mkdir /f: not a directory", 3),
    "absolute link out of the context": ("FROM scratch\nCOPY outside /", ContextError, '"/outside": not found', 2),
    "relative link out of the context": ("FROM scratch\nCOPY up/passwd /", ContextError, "not found", 2),
    "name without base": ("FROM scratch\nCOPY --chown=me x /", BuildError, "invalid user index: -1", 2),
    "host network": ("FROM scratch\nRUN --network=host x", BuildError, "network.host is not allowed", 2),
    "syntax": (
        "# syntax=nowhere.invalid/other:1\nFROM scratch",
        SourceError,
        "nowhere.invalid/other:1 could not be",
        1,
    ),
    "parse error": ("FROM scratch\nCOPPY x /", DockerfileError, "unknown instruction: COPPY", 2),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_says_what_and_where(name: str, builder: EmbeddedBuilder, tmp_path: Path) -> None:
    dockerfile, kind, message, line = ERRORS[name]
    spec = {
        "x": "x",
        "dir/f": "f",
        "tree/name/f": "",
        "flat/name": "",
        "outside": Link("/etc/passwd"),
        "up": Link("../../../../../etc"),
        "secret": "s",
        ".dockerignore": "secret\n",
    }
    context = write_context(tmp_path / "context", spec)
    with pytest.raises(kind, match=message) as caught:
        solve(builder, dockerfile, DirSource(context))
    assert (caught.value.location.start if caught.value.location else 0) == line


PARENTS = {
    "dir/sub/three a.txt": ["x", "x/a.txt", "x/dir", "x/dir/sub", "x/dir/sub/three"],
    "dir/./sub/three": ["x", "x/sub", "x/sub/three"],
    "./dir/sub": ["x", "x/dir", "x/dir/sub", "x/dir/sub/three"],
    "*/one": ["x", "x/dir", "x/dir/one", "x/other", "x/other/one"],
    "**/t*": ["x", "x/dir", "x/dir/sub", "x/dir/sub/three"],
    "dir/./**/o*": ["x", "x/one"],
}
"""What `COPY --parents SOURCES /x/` leaves (Dockerfile reference; the engine of the tests may be too old for it)."""


@pytest.mark.parametrize("sources", PARENTS)
def test_parents_are_kept(sources: str, builder: EmbeddedBuilder) -> None:
    context = MemorySource({"a.txt": "", "dir/one": "", "dir/sub/three": "", "other/one": ""})
    build = solve(builder, f"FROM scratch\nCOPY --parents {sources} /x/", context)
    assert list(_files(build)) == PARENTS[sources]


def test_missing_source_of_parents_is_an_error(builder: EmbeddedBuilder) -> None:
    with pytest.raises(ContextError, match='"/nope": not found'):
        solve(builder, "FROM scratch\nCOPY --parents a nope /x/", MemorySource({"a": ""}))


@pytest.mark.parametrize("compression", ["xz", "zstd", "bz2", "gz"])
def test_archives_are_unpacked_in_every_compression(compression: str, builder: EmbeddedBuilder) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("in/side"))
    pack = {"xz": lzma.compress, "bz2": bz2.compress, "gz": gzip.compress, "zstd": zstandard.compress}[compression]
    build = solve(builder, "FROM scratch\nADD x /u/", MemorySource({"x": pack(out.getvalue())}))
    assert list(_files(build)) == ["u", "u/in", "u/in/side"]


def test_hostile_archive_stays_in_its_directory(builder: EmbeddedBuilder) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "/"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("out/evil"))
    build = solve(builder, "FROM scratch\nADD x.tar /u/", MemorySource({"x.tar": out.getvalue()}))
    assert list(_files(build)) == ["u", "u/evil", "u/out"]


def test_links_of_the_context_are_followed_inside_of_it(builder: EmbeddedBuilder, tmp_path: Path) -> None:
    context = write_context(tmp_path / "context", {"abs": Link("/etc"), "etc/passwd": "mine"})
    build = solve(builder, "FROM scratch\nCOPY abs/passwd /", DirSource(context))
    assert _files(build) == {"passwd": 4}


def test_builtin_syntax_is_taken_in_any_version(builder: EmbeddedBuilder) -> None:
    for name in ("docker/dockerfile", "docker/dockerfile:1.4", "docker.io/docker/dockerfile-upstream:master"):
        solve(builder, f"# syntax={name}\nFROM scratch\nCOPY x /", MemorySource({"x": ""}))


def test_named_context_and_dockerfile_ignore(builder: EmbeddedBuilder) -> None:
    dirs = {
        "dockerfile": MemorySource(
            {"Dockerfile": "FROM scratch\nCOPY --from=lib . /lib/\nCOPY . /", "Dockerfile.dockerignore": "b\n"}
        ),
        "lib": MemorySource({"one": "1"}),
    }
    build = solve(
        builder,
        "",
        MemorySource({"a": "", "b": "", ".dockerignore": "a\n"}),
        local_dirs=dirs,
        attrs={"context:lib": "local:lib"},
    )
    assert set(_files(build)) == {"lib", "lib/one", "a", ".dockerignore"}


def test_lower_case_dockerfile_and_missing_one(builder: EmbeddedBuilder) -> None:
    dirs = {"dockerfile": MemorySource({"dockerfile": "FROM scratch\nCOPY x /"})}
    solve(builder, "", MemorySource({"x": ""}), local_dirs=dirs)
    with pytest.raises(ContextError, match="failed to read dockerfile: open Dockerfile: no such file or directory"):
        solve(builder, "", MemorySource({"x": ""}), local_dirs={"dockerfile": MemorySource({})})


def test_pruned_store_builds_again(builder: EmbeddedBuilder, busybox_layout: BaseImage) -> None:
    load_image(builder.store, busybox_layout.path, "busybox")
    context = MemorySource({"src/text": "hello", "note": "n"})
    first = solve(builder, TWO_STAGES, context)
    builder.prune(all=True)
    again = solve(builder, TWO_STAGES, context)
    assert len(again.ran()) >= 4
    assert _files(first) == _files(again)
    assert fsck(builder.store) == []


def test_history_has_the_build_and_its_log(builder: EmbeddedBuilder, busybox: str) -> None:
    solve(builder, "FROM busybox\nRUN echo printed", MemorySource({}))
    record = builder.history(1)[0]
    assert record.status == "completed"
    assert b"RUN echo printed" in builder.store.blobs.read(record.log)


def test_store_of_another_builder_is_shared(builder: EmbeddedBuilder, busybox: str) -> None:
    solve(builder, TWO_STAGES, MemorySource({"src/text": "hello", "note": "n"}))
    second = EmbeddedBuilder(Store(builder.store.root))
    try:
        assert solve(second, TWO_STAGES, MemorySource({"src/text": "hello", "note": "n"})).ran() == set()
    finally:
        second.close()
