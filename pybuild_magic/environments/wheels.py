"""Wheels of projects on this machine, built from their trees: the same tree gives the same bytes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from ..errors import ContextError, UnsupportedError
from ..temporary import temporary_directory

EPOCH = 315_532_800
"""Seconds since 1970 of the start of 1980, the earliest time that a zip archive can have."""
_CLUTTER = (".venv", "node_modules", "__pycache__")
_PATIENCE = 600


def wheel_of(project: Path) -> tuple[str, bytes]:
    """Return the file name and the content of the wheel of a project, given its directory or source archive.

    Raises ContextError when it cannot be built, UnsupportedError where there is neither pip nor uv.
    """
    with temporary_directory("pybuild-wheel-") as folder:
        target = Path(folder, "wheels")
        source = _copy(project, Path(folder, "project")) if project.is_dir() else project
        done = subprocess.run(
            [*_builder(), str(target), str(source)],
            env={
                **os.environ,
                "SOURCE_DATE_EPOCH": str(EPOCH),
                "PYTHONHASHSEED": "0",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE,
            check=False,
        )
        wheels = sorted(target.glob("*.whl")) if target.is_dir() else []
        if done.returncode or not wheels:
            output = done.stdout.decode("utf-8", "replace").splitlines()
            raise ContextError(f"The project {project} produced no wheel.", logs=output[-10:])
        return wheels[0].name, _settled(wheels[0].read_bytes())


def _builder() -> list[str]:
    import importlib.util

    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    uv = shutil.which("uv")
    if uv:
        return [uv, "build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir"]
    raise UnsupportedError("A wheel of a local project needs pip or uv, but neither is installed.")


def _copy(project: Path, target: Path) -> Path:
    """Copy a project without remains of earlier builds, which setuptools would include in the wheel."""

    def left_out(folder: str, names: list[str]) -> set[str]:
        top = Path(folder) == project
        return {name for name in names if name in _CLUTTER or (top and _is_left(Path(folder, name)))}

    shutil.copytree(project, target, ignore=left_out, symlinks=True)
    return target


def _is_left(path: Path) -> bool:
    """Return whether an entry of a project's directory is left from an earlier build, and not a package of that
    name.
    """
    return (path.name in ("build", "dist") or path.suffix == ".egg-info") and not (path / "__init__.py").is_file()


def _settled(wheel: bytes) -> bytes:
    """Return the wheel with fixed times and order, independent of when and where it was built."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as old, zipfile.ZipFile(written, "w") as new:
        # By convention, the wheel's metadata comes last in the archive.
        for info in sorted(old.infolist(), key=lambda member: (".dist-info/" in member.filename, member.filename)):
            entry = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
            entry.external_attr, entry.create_system = info.external_attr, 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(info))
    return written.getvalue()
