"""The builders that are measured: our magic in a running kernel, and `docker buildx build` on a real BuildKit."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.services import baseimages, buildkit

_COLD = ("--no-cache",)


class Peer(Protocol):
    """A builder under measurement."""

    name: str

    def reset(self) -> None:
        """Make the next build find nothing cached but the base image.

        Nothing is deleted for this: for minutes after thousands of files were deleted, ext4 takes many times as long to
        create as many new ones, since it does not reuse their inodes so soon but looks at each.
        """
        ...

    def build(self, dockerfile: str, contexts: Sequence[Path], flags: Sequence[str]) -> float:
        """Build each context, all at the same time, and return the wall time in seconds. Raises RuntimeError."""
        ...

    def peak(self) -> int:
        """Return the most bytes of memory in use since the last call."""
        ...


class Kernel:
    """`%%build` in a Jupyter kernel that is already running, with the embedded builder and a separate store."""

    name = "pybuild_magic"

    def __init__(self, scratch: Path) -> None:
        from jupyter_client.manager import start_new_kernel

        self._scratch = scratch
        self._homes = 0
        manager, client = start_new_kernel(kernel_name="python3")
        self._manager: Any = manager
        self._client: Any = client
        self._pid = int(self.run("import os; print(os.getpid())"))
        self.run("%load_ext pybuild_magic")
        self.reset()

    def close(self) -> None:
        """End the kernel."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def reset(self) -> None:
        self._homes += 1
        self.run(
            "import os\n"
            f"os.environ['PYBUILD_HOME'] = {str(self._scratch / f'home{self._homes}')!r}\n"
            "from pybuild_magic.builders import embedded_builder\n"
            "from pybuild_magic.images.load import load_image\n"
            f"_ = load_image(embedded_builder().store, {str(baseimages.busybox().path)!r}, 'busybox')\n"
        )

    def load(self, layout: Path, name: str) -> None:
        """Load a base image into the current store."""
        self.run(f"_ = load_image(embedded_builder().store, {str(layout)!r}, {name!r})")

    def build(self, dockerfile: str, contexts: Sequence[Path], flags: Sequence[str]) -> float:
        if len(contexts) == 1:
            line = " ".join([*flags, str(contexts[0])])
            return self.timed(f"%%build {line}\n{dockerfile}")
        return self.timed(
            "from concurrent.futures import ThreadPoolExecutor\n"
            "import pybuild_magic\n"
            f"with ThreadPoolExecutor({len(contexts)}) as pool:\n"
            f"    _ = list(pool.map(lambda context: pybuild_magic.build({dockerfile!r}, context, progress='none',\n"
            f"        tags='bench'), {[str(context) for context in contexts]!r}))\n"
        )

    def peak(self) -> int:
        return _peak([self._pid])

    def timed(self, code: str) -> float:
        """Run a cell, and return the wall time in seconds. Raises RuntimeError."""
        began = time.monotonic()
        self.run(code)
        return time.monotonic() - began

    def run(self, code: str) -> str:
        """Run a cell, and return its output. Raises RuntimeError."""
        printed: list[str] = []

        def output(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
            if message["msg_type"] == "error":
                raise RuntimeError("\n".join(content["traceback"]))

        self._client.execute_interactive(code, output_hook=output, timeout=600)
        return "".join(printed)


class Client:
    """`%%build --builder docker://` in the same kernel, on the engine of `docker buildx build`."""

    name = "pybuild_magic on BuildKit"

    def __init__(self, kernel: Kernel, engine: BuildKit) -> None:
        self._kernel = kernel
        self._cold: tuple[str, ...] = ()
        self.peak = kernel.peak
        kernel.run(f"os.environ.update({engine.engine.env!r})")

    def build(self, dockerfile: str, contexts: Sequence[Path], flags: Sequence[str]) -> float:
        cold, self._cold = self._cold, ()
        return self._kernel.build(dockerfile, contexts, ["--builder", "docker://", *cold, *flags])

    def reset(self) -> None:
        self._cold = _COLD


class BuildKit:
    """The command `docker buildx build`, on the engine of the tests or on another."""

    name = "BuildKit"

    def __init__(self, engine: buildkit.Engine | None = None) -> None:
        self.engine = engine or buildkit.engine()
        self._cold: tuple[str, ...] = ()

    def reset(self) -> None:
        self._cold = _COLD

    def build(self, dockerfile: str, contexts: Sequence[Path], flags: Sequence[str]) -> float:
        cold, self._cold = self._cold, ()
        with tempfile.NamedTemporaryFile("w", suffix=".Dockerfile") as file:
            file.write(dockerfile)
            file.flush()
            command = [str(self.engine.client), "buildx", "build", "--progress=plain", "-f", file.name, *cold, *flags]
            began = time.monotonic()
            builds = [
                subprocess.Popen(
                    [*command, str(context)],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=self.engine.environ(),
                    text=True,
                )
                for context in contexts
            ]
            errors = [build.communicate()[1] for build in builds]
            seconds = time.monotonic() - began
        for build, error in zip(builds, errors, strict=True):
            if build.returncode:
                raise RuntimeError(error[-2000:])
        return seconds

    def peak(self) -> int:
        return _peak(self.engine.processes())


def _peak(pids: Sequence[int]) -> int:
    """Return the sum of the processes' peak resident sizes since the last call, in bytes, and reset them."""
    total = 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            continue
        found = [int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:")]
        total += sum(found)
    return total
