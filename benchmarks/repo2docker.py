"""repo2docker as a peer: it passes a Dockerfile unchanged to `docker buildx build` on the same BuildKit.

For other files, it makes a Dockerfile that fetches micromamba from conda's site, which a machine may not reach:
`why_not` says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .fresh import fresh
from .peers import BuildKit

_NETWORK = ("--network=host", "--allow=network.host")


class Repo2Docker:
    """`repo2docker --no-run` on a directory with a Dockerfile."""

    name = "repo2docker"

    def __init__(self, program: Path, engine: BuildKit, scratch: Path) -> None:
        self._program = program
        self._engine = engine
        self._scratch = scratch
        self._cold: tuple[str, ...] = ()
        # repo2docker calls `docker`: link that client alone, since its directory has all programs of a Debian.
        self._programs = scratch / "programs"
        self._programs.mkdir()
        (self._programs / "docker").symlink_to(engine.engine.client)

    def reset(self) -> None:
        self._cold = ("--no-cache",)

    def build(self, dockerfile: str, contexts: Sequence[Path], flags: Sequence[str]) -> float:
        """Build one context, and return the wall time in seconds. Raises RuntimeError."""
        cold, self._cold = self._cold, ()
        repository = fresh(self._scratch)
        shutil.copytree(contexts[0], repository)
        (repository / "Dockerfile").write_text(dockerfile)
        return self._run(repository, [*cold, *flags])

    def peak(self) -> int:
        return 0

    def why_not(self, base: str, requirements: Sequence[str]) -> str:
        """Return why repo2docker cannot make an image of these requirements itself; "" if it can."""
        repository = fresh(self._scratch)
        repository.mkdir()
        (repository / "requirements.txt").write_text("\n".join(requirements))
        try:
            self._run(repository, _NETWORK, base)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if "wget" in line or "ERROR" in line]
            return (lines or [str(error)])[0].strip()[:200]
        return ""

    def _run(self, repository: Path, flags: Sequence[str], base: str = "") -> float:
        settings = repository.with_suffix(".py")
        lines = [f"c.DockerEngine.extra_buildx_build_args = {list(flags)!r}"]
        settings.write_text("\n".join([*lines, *([f"c.Repo2Docker.base_image = {base!r}"] if base else [])]))
        image = f"bench-{repository.name}"
        # As root, repo2docker refuses to run without another user's ID for the image.
        who = ("--user-id=1000", "--user-name=jovyan")
        command = [str(self._program), f"--config={settings}", *who, "--no-run", f"--image-name={image}"]
        began = time.monotonic()
        done = subprocess.run(
            [*command, str(repository)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._engine.engine.environ({"PATH": f"{self._programs}:{os.environ['PATH']}"}),
            text=True,
            check=False,
        )
        seconds = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(done.stdout)
        remove = [str(self._engine.engine.client), "image", "rm", "--force", image]
        subprocess.run(remove, env=self._engine.engine.environ(), stdout=subprocess.DEVNULL, check=True)
        return seconds


def find(engine: BuildKit, scratch: Path) -> Repo2Docker:
    """Install repo2docker into a separate environment. Raises CalledProcessError if no index has it."""
    place = scratch / "repo2docker"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    subprocess.run([str(place / "bin/pip"), "install", "-q", "jupyter-repo2docker"], check=True)
    return Repo2Docker(place / "bin/repo2docker", engine, scratch)
