"""Buildah as a peer: `buildah build` as root, with overlayfs and without containers, which is its fastest way."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.services import baseimages

from .scenarios import Scenario

_ATTEMPTS = 5
_BUSY = "sealing memfd copy: Device or resource busy"
"""What buildah says now and then before a RUN, when it starts itself again from a copy in memory."""


class _BusyError(Exception):
    pass


class Buildah:
    """`buildah build`, with a separate store that has the base image."""

    name = "buildah"

    def __init__(self, program: str, scratch: Path) -> None:
        self._store = store = scratch / "buildah"
        self._command = [program, "--root", f"{store}/root", "--runroot", f"{store}/run", "--storage-driver", "overlay"]
        self._cold: tuple[str, ...] = ()
        self._peak = 0
        self.load(baseimages.busybox().path, "busybox")

    def load(self, layout: Path, name: str) -> None:
        """Copy a base image into the store."""
        place = f"containers-storage:[overlay@{self._store}/root+{self._store}/run]localhost/{name}:latest"
        baseimages.skopeo("copy", f"oci:{layout}", place)

    def close(self) -> None:
        """Unmount the directories that buildah leaves mounted."""
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in reversed(mounted):
            if place.startswith(f"{self._store}/"):
                subprocess.run(["umount", place], check=True)

    def can(self, scenario: Scenario) -> bool:
        """Return whether buildah can do a scenario: it exports only to directories, and has no RUN --network."""
        return scenario.at_once == 1 and "-o" not in scenario.flags and "--network" not in scenario.dockerfile

    def reset(self) -> None:
        self._cold = ("--no-cache",)

    def build(self, dockerfile: str, contexts: Sequence[Path], flags: Sequence[str]) -> float:
        cold, self._cold = self._cold, ()
        with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as file:
            file.write(dockerfile)
            file.flush()
            options = ("--isolation", "chroot", "--layers", "--pull-never", "-q", *cold)
            for _ in range(_ATTEMPTS):
                with contextlib.suppress(_BusyError):
                    return self._run("build", *options, "-f", file.name, *flags, str(contexts[0]))
            raise RuntimeError(f"buildah could not seal a copy of itself {_ATTEMPTS} times.")

    def peak(self) -> int:
        peak, self._peak = self._peak, 0
        return peak

    def _run(self, *arguments: str) -> float:
        """Run buildah, and return the wall time in seconds. Raises RuntimeError."""
        began = time.monotonic()
        with tempfile.TemporaryFile() as said:
            actions = [(os.POSIX_SPAWN_DUP2, said.fileno(), stream) for stream in (1, 2)]
            pid = os.posix_spawn(self._command[0], [*self._command, *arguments], os.environ, file_actions=actions)
            _, status, usage = os.wait4(pid, 0)
            seconds = time.monotonic() - began
            if status:
                said.seek(0)
                text = said.read().decode(errors="replace")[-2000:]
                raise _BusyError if _BUSY in text else RuntimeError(text)
            self._peak = max(self._peak, usage.ru_maxrss << 10)
            return seconds


def find(scratch: Path) -> Buildah | None:
    """Return buildah if it is installed and this is root, which its overlayfs needs."""
    program = shutil.which("buildah")
    return Buildah(program, scratch) if program and os.geteuid() == 0 else None
