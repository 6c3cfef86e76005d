"""What the integration tests share: a user's store, builds in this process and in others, and what is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

import pybuild_magic
from pybuild_magic import builders
from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.errors import BuildError
from pybuild_magic.result import BuildResult
from pybuild_magic.store import Store
from pybuild_magic.store.collect import collect_garbage
from pybuild_magic.store.fsck import fsck
from tests.services.registry import Registry

REPO = Path(__file__).parents[2]

TWO_STAGES = """FROM busybox AS build
WORKDIR /src
COPY . .
RUN sh make.sh > /out.txt && chown 3:4 /out.txt && chmod 640 /out.txt && ln -s out.txt /link && ln /out.txt /hard
FROM busybox
COPY --from=build /out.txt /link /hard /
COPY --chmod=711 data/run /usr/local/bin/run
ENV WHO=world
RUN mkdir -m 700 /made && echo "made by $WHO" > /made/by && rm -r /home
CMD ["run"]
"""
FILES = {
    "make.sh": "echo hello from $(cat data/name)\n",
    "data/name": "a build\n",
    "data/run": "#!/bin/sh\ncat /link /made/by\n",
}
SAYS = "hello from a build\nmade by world\n"
"""What a container of TWO_STAGES on FILES prints."""


@dataclass
class Home:
    """A user's store at `root`, which has `busybox`, and builds into it."""

    root: Path

    def build(self, dockerfile: str, context: Any = "-", **options: Any) -> BuildResult:
        """Build in this process, quietly."""
        options = {"progress": "none", **options}
        return pybuild_magic.build(dockerfile, context, **options)

    @property
    def builder(self) -> EmbeddedBuilder:
        """The builder of this process."""
        return builders.embedded_builder()

    def fails(self, dockerfile: str, context: Any = "-", **options: Any) -> BuildError:
        """Build what cannot be built; its error, which has to be fit to be shown to people."""
        with pytest.raises(BuildError) as caught:
            self.build(dockerfile, context, **options)
        return presentable(caught.value)

    def close(self) -> None:
        """End the builder of this process, if it has one."""
        close_builder()

    def start(self, dockerfile: str, context: Any = "-", *, env: Mapping[str, str] | None = None, **more: Any) -> Other:
        """Build in a process of its own; see `Other`."""
        return Other(self.root, dockerfile, context, env=env, **more)

    def elsewhere(self, dockerfile: str, context: Any = "-", **more: Any) -> dict[str, Any]:
        """Build in a process of its own, to the end; what it says of itself."""
        with self.start(dockerfile, context, **more) as other:
            return other.answer()

    def check(self) -> None:
        """Nothing of any build is mounted or running, and the store is whole and has no leftovers of dead builds."""
        close_builder()
        leave_nothing(self.root)
        with Store(self.root) as store:
            assert fsck(store) == []
            collect_garbage(store)
            for name in ("ingest", "trash", "leases"):
                kept = [path.name for path in (self.root / name).iterdir()]
                assert not kept, (name, kept)
            assert fsck(store) == []


def close_builder() -> None:
    """End the builder of this process, as the end of the process would."""
    builder, builders._embedded = builders._embedded, None
    if builder is not None:
        builder.close()


def presentable(error: BuildError) -> BuildError:
    """Check that an error is a sentence for people, and no report for programmers."""
    assert type(error) is not BuildError or error.message, error
    shown = error.render()
    assert "Traceback" not in shown
    assert 'File "' not in shown
    assert error.message.strip()
    assert "\n" not in error.message
    assert "\n" not in error.hint
    assert "Errno" not in error.message, error.message
    assert "object at 0x" not in shown
    return error


def mounts_of(root: Path) -> list[str]:
    """The mounts of this mount namespace that have to do with a directory."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{root}/" in line]


def processes_of(root: Path) -> list[int]:
    """Processes that have to do with a directory: by command line, working directory or a mount of their own."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        if pid == os.getpid():
            continue
        try:
            named = f"{root}/".encode() in (process / "cmdline").read_bytes() + b"/"
            mounted = process.joinpath("ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()
            if named or (mounted and f"{root}/" in (process / "mountinfo").read_text()):
                found.append(pid)
        except OSError:
            continue
    return found


def running(marker: str) -> list[int]:
    """Processes one of whose arguments is `marker`."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> bool:
    """Wait until something is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def leave_nothing(root: Path) -> None:
    """No process of ours but this one has to do with `root`, and nothing is mounted there."""
    assert eventually(lambda: not processes_of(root)), [
        (pid, Path(f"/proc/{pid}/cmdline").read_bytes()) for pid in processes_of(root)
    ]
    assert mounts_of(root) == []


class Other:
    """A build in another process. It writes a line of JSON for each thing that happens; `answer` is the last.

    `when` is a text that, once progress shows it (a step's name, a line of output), is told by `wait`.
    """

    def __init__(
        self,
        root: Path,
        dockerfile: str,
        context: Any,
        *,
        env: Mapping[str, str] | None = None,
        when: str = "",
        user: str = "",
        **options: Any,
    ) -> None:
        job = {"dockerfile": dockerfile, "context": context, "when": when, "options": options}
        names = ("PATH", "LANG", "TMPDIR", "DOCKER_CONFIG", "PYBUILD_RUNTIME", "PYBUILD_OVERLAY")
        environ = {name: os.environ[name] for name in names if name in os.environ}
        environ |= {"HOME": str(root.parent), "PYBUILD_HOME": str(root), "PYTHONPATH": str(REPO), **(env or {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.other", json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            text=True,
            start_new_session=True,
            **({"user": user, "group": user, "extra_groups": [], "cwd": root.parent} if user else {}),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Wait for `when`."""
        message = self._read()
        assert message == {"seen": True}, message

    def interrupt(self) -> None:
        """What the stop button does."""
        os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        """The end without a chance to clean up."""
        self._process.kill()
        self._process.wait()

    def answer(self) -> dict[str, Any]:
        """What came of the build."""
        while "seen" in (message := self._read()):
            pass
        self._process.wait(60)
        return message

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise AssertionError(f"ended with {self._process.wait()}: {self._process.stderr.read()}")
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def tmpfs(path: Path, size: str) -> Iterator[Path]:
    """A small disk."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "small", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fetched(registry: Registry, since: int) -> list[str]:
    """Blobs whose content was asked for, but for configs."""
    return [r.path for r in registry.requests()[since:] if r.method == "GET" and "/blobs/sha256:" in r.path]
