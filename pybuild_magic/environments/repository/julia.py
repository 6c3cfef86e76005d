"""Julia environments: `Project.toml` and `Manifest.toml`, with IJulia in a Jupyter beside them."""

from __future__ import annotations

import posixpath
import re

import msgspec

from ...errors import UsageError
from .documents import read_toml, table_in, text
from .files import RepositoryFiles
from .parts import HOME, PREFIX, Environment, Finding, Use, block, run
from .python import requirements_environment
from .runtime import DEFAULT_PYTHON

NAMES = ("JuliaProject.toml", "Project.toml")
DEFAULT_JULIA = "1"
_DEPOT = "/srv/julia"
_PART = re.compile(r"([=^~]?)\s*v?(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def project_file(files: RepositoryFiles, folder: str) -> str:
    """Return the path of the project file, or ""."""
    paths = (posixpath.join(folder, name) for name in NAMES)
    return next((path for path in paths if files.is_file(path)), "")


def julia_environment(files: RepositoryFiles, folder: str, path: str) -> Environment:
    """Return the environment of a Julia project. Raises ContextError and UsageError."""
    compat = text(table_in(read_toml(files, path), "compat").get("julia"))
    manifest = posixpath.join(folder, path.rpartition("/")[2].replace("Project", "Manifest"))
    findings, copied = [Finding(path, Use.USED, "its packages are installed")], [path]
    locked = ""
    if files.is_file(manifest):
        locked = text(read_toml(files, manifest).get("julia_version"))
        copied.append(manifest)
        findings.append(Finding(manifest, Use.USED, "the locked versions are installed"))
    version = _exact(locked, manifest) if locked else _version(compat, path)
    where = posixpath.join(HOME, folder) if folder else HOME
    jupyter = requirements_environment(files, folder, f"python:{DEFAULT_PYTHON}-slim")
    kernel = (
        'JULIA_PROJECT= julia -e \'using Pkg; Pkg.add("IJulia"); using IJulia; '
        f'installkernel("Julia", "--project={where}")\''
    )
    packages = block(
        " and ".join(copied),
        f"COPY --chown=1000:1000 {' '.join(copied)} {where}/",
        run("julia -e 'using Pkg; Pkg.instantiate()'"),
    )
    return msgspec.structs.replace(
        jupyter,
        stages=(f"FROM julia:{version} AS julia",),
        packages=("ca-certificates", *(("curl",) if _calls_curl(version) else ())),
        system=(
            "COPY --from=julia /usr/local/julia /usr/local/julia",
            run(f"install -d -o 1000 -g 1000 {_DEPOT}"),
        ),
        variables={
            "JULIA_DEPOT_PATH": _DEPOT,
            "JULIA_PROJECT": where,
            "JUPYTER": f"{PREFIX}/bin/jupyter",
            "JUPYTER_DATA_DIR": f"{PREFIX}/share/jupyter",
        },
        path=(*jupyter.path, "/usr/local/julia/bin"),
        tools=(*jupyter.tools, block("The kernel of Julia", run(kernel))),
        dependencies=(*jupyter.dependencies, packages),
        findings=(*findings, *jupyter.findings),
    )


def _version(compat: str, path: str) -> str:
    """Return a tag of Julia's image that a `compat` of Pkg allows: the highest part, understood as a caret."""
    if not compat:
        return DEFAULT_JULIA
    best: tuple[int, ...] = ()
    tag = ""
    for part in compat.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{path} is compatible with Julia {compat[:60]!r}, which is not a valid version.")
        sign, numbers = match[1], [number for number in match.groups()[1:] if number is not None]
        prefix = {"=": numbers, "~": numbers[:2]}.get(sign, numbers[:1] if numbers[0] != "0" else numbers[:2])
        if tuple(map(int, numbers)) >= best:
            best, tag = tuple(map(int, numbers)), ".".join(prefix)
    return tag


def _calls_curl(version: str) -> bool:
    """Return whether Pkg of this Julia downloads by means of a program, as it did before Julia 1.6."""
    numbers = tuple(map(int, version.split(".")[:2]))
    return len(numbers) == 2 and numbers < (1, 6)


def _exact(version: str, path: str) -> str:
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise UsageError(f"{path} was made by Julia {version[:60]!r}, for which there is no image.")
    return version
