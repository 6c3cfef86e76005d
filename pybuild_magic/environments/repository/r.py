"""R environments: `runtime.txt` with a day, `renv.lock`, `install.R` and `DESCRIPTION`, with IRkernel in a Jupyter."""

from __future__ import annotations

import posixpath
import re
from datetime import date

import msgspec

from ...errors import UsageError
from .documents import read_json, table_in, text
from .files import RepositoryFiles
from .parts import PREFIX, Environment, Finding, Use, bind, block, run
from .python import requirements_environment
from .runtime import Runtime

DEFAULT_R = "4.4.2"
_SNAPSHOTS = "https://packagemanager.posit.co/cran"
_FIRST_DAY = date(2017, 10, 10)
"""The first day of the CRAN archive."""
_LIBRARY = "/srv/rlibs"
_RESTORE = (
    "Rscript -e 'install.packages(\"renv\")'",
    # renv would link to its cache, which is not in the image.
    'RENV_CONFIG_CACHE_ENABLED=FALSE Rscript -e \'renv::restore(lockfile = "/tmp/renv.lock", '
    'library = Sys.getenv("R_LIBS_USER"), prompt = FALSE)\'',
)
_LOCAL = re.compile(r"\b(source|install_local|sys\.source|readRDS|readLines|file)\s*\(|repos\s*=\s*NULL|\brenv::")
"""Parts of a script that suggest that it needs the code beside it."""


def r_environment(files: RepositoryFiles, folder: str, runtime: Runtime | None) -> Environment:
    """Return the environment of an R repository. Raises UsageError."""
    script, package, lock = posixpath.join(folder, "install.R"), "DESCRIPTION", posixpath.join(folder, "renv.lock")
    version, day, findings = DEFAULT_R, None, list[Finding]()
    if runtime and runtime.name == "r":
        where = posixpath.join(folder, "runtime.txt")
        version, day = runtime.version or version, runtime.day
        if day and day < _FIRST_DAY:
            raise UsageError(
                f"{where} asks for CRAN as of {day}, which is not archived.", hint=f"The first day is {_FIRST_DAY}."
            )
        findings.append(Finding(where, Use.USED, f"R {version}" + (f", packages as of {day}" if day else "")))
    dependencies, code = list[str](), list[str]()
    if files.is_file(lock):
        version = runtime.version if runtime and runtime.version else _locked_version(files, lock)
        dependencies.append(block(lock, run(*_RESTORE, mounts=(bind(lock, "/tmp/renv.lock"),))))
        findings.append(Finding(lock, Use.USED, f"the locked versions are installed by renv, in R {version}"))
    if files.is_file(script):
        local = _LOCAL.search(files.text(script) or "")
        if local:
            code.append(block(script, run(f"Rscript --vanilla {script}")))
        else:
            mounts = (bind(script, "/tmp/install.R"),)
            dependencies.append(block(script, run("Rscript /tmp/install.R", mounts=mounts)))
        reason = "run" + (f", after the code is copied: it has {local[0].rstrip('( ')}" if local else "")
        findings.append(Finding(script, Use.USED, reason))
    if not folder and files.is_file(package):
        mounts = (bind(package, "/tmp/package/DESCRIPTION"),)
        install = "Rscript -e 'remotes::install_deps(\"/tmp/package\")'"
        dependencies.append(block("The dependencies of DESCRIPTION", run(install, mounts=mounts)))
        code.append(block("The package", run("Rscript -e 'remotes::install_local(\".\", dependencies = FALSE)'")))
        findings.append(Finding(package, Use.USED, "its dependencies are installed, then the package"))
    jupyter = requirements_environment(files, folder, f"rocker/r-ver:{version}")
    kernel = run(
        'Rscript -e \'install.packages(c("IRkernel", "remotes"))\'',
        f"Rscript -e 'IRkernel::installspec(prefix = \"{PREFIX}\")'",
    )
    system = [run(f"install -d -o 1000 -g 1000 {_LIBRARY}")]
    if day:
        repos = f'options(repos = c(CRAN = \\"{_SNAPSHOTS}/__linux__/$VERSION_CODENAME/{day}\\"))'
        profile = '"$(R RHOME)/etc/Rprofile.site"'
        system.append(block("CRAN as of that day", run(". /etc/os-release", f'echo "{repos}" >> {profile}')))
    return msgspec.structs.replace(
        jupyter,
        packages=("libcurl4-openssl-dev", "libssl-dev", "libzmq3-dev", "python3", "python3-venv"),
        system=tuple(system),
        variables={"R_LIBS_USER": _LIBRARY},
        tools=(*jupyter.tools, block("The kernel of R", kernel)),
        dependencies=(*dependencies, *jupyter.dependencies),
        project=(*jupyter.project, *code),
        findings=(*findings, *jupyter.findings),
    )


def _locked_version(files: RepositoryFiles, path: str) -> str:
    """Return the version of R that made a lock. Raises ContextError and UsageError."""
    version = text(table_in(read_json(files, path), "R").get("Version"))
    if not version:
        raise UsageError(f"{path} does not say which R made it.", hint="renv::snapshot() writes it.")
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise UsageError(f"{path} was made by R {version[:60]!r}, for which there is no image.")
    return version


def is_r(files: RepositoryFiles, folder: str, runtime: Runtime | None) -> bool:
    """Return whether a repository is an R repository."""
    if runtime and runtime.name == "r":
        return True
    if not folder and files.is_file("DESCRIPTION"):
        return True
    return any(files.is_file(posixpath.join(folder, name)) for name in ("install.R", "renv.lock"))
