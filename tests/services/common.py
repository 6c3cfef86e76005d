"""What all services share: the cache directory, locks between processes, and the answer when one is missing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

INSTALL_HINT = "run `python -m tests.services.install` as root"


class ServiceMissingError(Exception):
    """This machine cannot run the service; the message says why and what to do."""


class ServiceError(Exception):
    """A service, or a command against it, failed; the message ends with the last lines of its output."""


def require(start: Callable[[], T]) -> T:
    """Start a service for a test: skip where it is missing on a laptop, fail where it is missing in CI."""
    try:
        return start()
    except ServiceMissingError as missing:
        import pytest  # the installer and the benchmarks use this package without it

        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(f"CI must have every service: {missing}", pytrace=False)
        pytest.skip(str(missing))


def cache_dir() -> Path:
    """The directory that keeps root filesystems and base images between runs; it may be deleted when idle."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base).absolute() / "pybuild-magic-services"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock against every other process that uses the same cache directory."""
    with (cache_dir() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find(name: str) -> Path | None:
    """The path of a program, also in the directories that only root has in its PATH."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    return Path(found) if found else None


def tool(name: str) -> Path:
    """The path of a program.

    Raises:
        ServiceMissingError: it is not installed.
    """
    path = find(name)
    if path is None:
        raise ServiceMissingError(f"{name} is not installed: {INSTALL_HINT}")
    return path


def need_root(what: str) -> None:
    """Raise ServiceMissingError unless this process is root; `what` begins the sentence."""
    if os.geteuid() != 0:
        raise ServiceMissingError(f"{what} needs root, and this is user {os.geteuid()}: run the tests with sudo")


def run(
    command: Sequence[str | Path],
    *,
    input: str | bytes | None = None,  # noqa: A002 - subprocess.run's own name
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with its output as text.

    Raises:
        ServiceError: it failed (when `check`), or took longer than `timeout` seconds.
    """
    words = [str(word) for word in command]
    data = input.encode() if isinstance(input, str) else input
    stdin = subprocess.DEVNULL if data is None else None
    try:
        done = subprocess.run(
            words, input=data, stdin=stdin, capture_output=True, cwd=cwd, env=env, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise ServiceError(f"`{' '.join(words)}` did not end within {timeout:.0f} s") from late
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        raise ServiceError(f"`{' '.join(words)}` failed with exit code {done.returncode}:\n{tail(err or out)}")
    return subprocess.CompletedProcess(words, done.returncode, out, err)


def tail(text: str, lines: int = 20) -> str:
    """The last lines of a log."""
    return "\n".join(text.splitlines()[-lines:])
