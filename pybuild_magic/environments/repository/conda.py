"""Conda environments: `environment.yml`, solved and installed by micromamba in the image."""

from __future__ import annotations

import posixpath
import re
from typing import Any, cast

from ...errors import ContextError
from .documents import Table, read_yaml, rows, text
from .files import RepositoryFiles
from .parts import PREFIX, Environment, Finding, Use, bind, block, cache, run
from .runtime import DEFAULT_PYTHON, checked_python

BASE = "debian:12-slim"
MICROMAMBA = "mambaorg/micromamba:2"
NAMES = ("environment.yml", "environment.yaml")
_CACHE = "/var/cache/conda"
_SPEC = re.compile(r"(?:[\w.-]+::)?([A-Za-z0-9_.-]+)\s*(.*)")


def environment_file(files: RepositoryFiles, folder: str) -> str:
    """Return the path of the environment file, or ""."""
    paths = (posixpath.join(folder, name) for name in NAMES)
    return next((path for path in paths if files.is_file(path)), "")


def conda_environment(files: RepositoryFiles, path: str) -> Environment:
    """Return the environment of an `environment.yml`. Raises ContextError and UsageError."""
    document = read_yaml(files, path)
    if not isinstance(document.get("dependencies") or [], list):
        raise ContextError(f"The dependencies in {path} must be a list.")
    specs: dict[str, str] = {}
    pip: list[Any] = []
    for dependency in rows(document.get("dependencies")):
        if isinstance(dependency, dict):
            pip += rows(cast("Table", dependency).get("pip"))
        elif match := _SPEC.fullmatch(text(dependency)):
            specs[match[1].lower()] = match[2]
        else:
            raise ContextError(f"{path} depends on {str(dependency)[:60]!r}, which is not a conda package.")
    extra = [] if "jupyterlab" in specs else ["jupyterlab"]
    findings = [Finding(path, Use.USED, "installed by micromamba")]
    if match := re.match(r"[=\s]*=\s*v?(\d+(?:\.\d+)*)", specs.get("python", "")):
        checked_python(match[1], path)
    elif "python" not in specs:
        extra.append(f"python={DEFAULT_PYTHON}")
    if "pip" not in specs:
        extra.append("pip")
    uses_r = any(name.startswith("r-") for name in specs)
    extra += ["r-irkernel"] if uses_r and "r-irkernel" not in specs else []
    channels = "" if rows(document.get("channels")) else "--channel conda-forge "
    local = any(re.match(r"\s*(-e\b|--editable|-r\b|-c\b|\.|/|file:)", text(line)) for line in pip)
    if local:
        findings = [Finding(path, Use.USED, "installed by micromamba, after the code is copied: pip is given a path")]
    file = path if local else "/tmp/environment.yml"
    command = f"CONDA_PKGS_DIRS={_CACHE} micromamba create --yes --prefix {PREFIX} {channels}\\\n        --file {file}"
    install = run(
        f"{command} {' '.join(extra)}".rstrip(),
        *((f"{PREFIX}/bin/R -e \"IRkernel::installspec(prefix = '{PREFIX}')\"",) if uses_r else ()),
        mounts=(cache(_CACHE), *(() if local else (bind(path, file),))),
    )
    installing = (block(path, install),)
    return Environment(
        base=BASE,
        stages=(f"FROM {MICROMAMBA} AS micromamba",),
        packages=("ca-certificates",),
        system=("COPY --from=micromamba /bin/micromamba /usr/local/bin/micromamba",),
        variables={"CONDA_DIR": "/srv/conda", "MAMBA_ROOT_PREFIX": "/srv/conda", "CONDA_PREFIX": PREFIX},
        path=(f"{PREFIX}/bin",),
        dependencies=() if local else installing,
        project=installing if local else (),
        activate=("micromamba", "run", "--prefix", PREFIX),
        findings=tuple(findings),
    )
