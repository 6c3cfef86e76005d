"""Build the tracer if its sources have changed: for the wheel, or by `python native/build.py`."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = HERE.parent / "pybuild_magic" / "builders" / "embedded" / "sandbox" / "bin"
"""A directory for each machine, with `tracer`, `loader`, and `.built`, the digest of their sources."""
ARCHITECTURES = ("x86_64", "aarch64")
VARIABLE = "PYBUILD_TRACER"
"""The variable that names the machine of the wheel: one of ARCHITECTURES, or `none`; by default this one."""

_FLAGS = ("-O2", "-s", "-Wall", "-Wextra", "-Werror", "-fno-sanitize=all")
_LOADER = ("-ffreestanding", "-fno-stack-protector", "-nostdlib", "-fPIE", "-pie", "-Wl,-e,_start")


def architecture() -> str | None:
    """Return the machine to build for; None if there is no tracer for it, so that RUN uses a `proot` on PATH."""
    machine = os.environ.get(VARIABLE) or (platform.machine() if sys.platform == "linux" else "none")
    return machine if machine in ARCHITECTURES else None


def digest() -> str:
    """Return the digest of the sources, this file among them."""
    sha = hashlib.sha256()
    for path in sorted({*HERE.glob("*.[ch]"), *HERE.glob("*.def"), Path(__file__).resolve()}):
        content = path.read_bytes()
        sha.update(f"{path.name} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def is_built(arch: str) -> bool:
    """Return whether the programs in place were built from these sources."""
    stamp = BIN / arch / ".built"
    return (
        stamp.exists()
        and stamp.read_text() == digest()
        and all((BIN / arch / n).exists() for n in ("tracer", "loader"))
    )


def build(arch: str) -> Path:
    """Build for `arch` if necessary, and return the directory.

    The compiler is the `ziglang` wheel, which builds for either machine.
    """
    target = BIN / arch
    BIN.mkdir(exist_ok=True)
    with (HERE / "build.py").open() as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        if is_built(arch):
            return target
        if importlib.util.find_spec("ziglang") is None:
            raise SystemExit("The compiler is missing: run `pip install ziglang`, and build again.")
        part = target.with_name(arch + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", f"{arch}-linux-musl", *_FLAGS]
        sources = [str(path) for path in sorted(HERE.glob("*.c")) if path.name != "loader.c"]
        subprocess.run([*compiler, "-static", "-D_GNU_SOURCE", "-o", part / "tracer", *sources], check=True)
        subprocess.run([*compiler, *_LOADER, "-o", part / "loader", HERE / "loader.c"], check=True)
        (part / ".built").write_text(digest())
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    return target


if __name__ == "__main__":
    for name in sys.argv[1:] or [architecture() or sys.exit("There is no tracer for this machine.")]:
        print(build(name))
