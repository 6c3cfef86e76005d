"""Python environments: a lock, `requirements.txt`, `pyproject.toml` and `setup.py`, installed by pip into one place."""

from __future__ import annotations

import posixpath

import msgspec

from ...errors import UsageError
from .documents import Table, read_toml, rows, table_in, text
from .files import RepositoryFiles
from .locks import Lock, find_lock, specifier
from .parts import PIP_CACHE, PREFIX, Environment, Finding, Use, bind, block, cache, run
from .requirements import Requirements, normal_name, read_requirements
from .runtime import DEFAULT_PYTHON, Runtime, allows, checked_python, python_for

_LISTED = (
    "python3 -c 'import tomllib; "
    'print(*tomllib.load(open("/tmp/pyproject.toml", "rb"))["project"]["dependencies"], sep="\\n")\''
)
"""Prints the dependencies in pyproject.toml, with Python 3.11 or later."""
_SERVER = "jupyterlab"


class _Project(msgspec.Struct, frozen=True):
    """The repository as a Python project, and how much of it can be installed before the code is copied."""

    path: str = ""
    """`pyproject.toml` or `setup.py`; "" when it is not a project."""
    is_package: bool = False
    has_static: bool = False
    """Whether its dependencies are listed statically, rather than determined by its build."""
    dependencies: frozenset[str] = frozenset()
    python: str = ""


def python_environment(files: RepositoryFiles, folder: str, runtime: Runtime | None) -> Environment:
    """Return the environment of a Python repository, or of one without a language. Raises ContextError, UsageError."""
    lock = find_lock(files, folder)
    path = posixpath.join(folder, "requirements.txt")
    requirements = read_requirements(files, path) if lock is None and files.is_file(path) else None
    project = _Project() if folder else _project(files)
    return put_together(files, folder, lock, requirements, project, runtime)


def requirements_environment(files: RepositoryFiles, folder: str, base: str) -> Environment:
    """Return just Jupyter and `requirements.txt`, beside another language's environment on `base`."""
    path = posixpath.join(folder, "requirements.txt")
    requirements = read_requirements(files, path) if files.is_file(path) else None
    compiled = put_together(files, folder, None, requirements, _Project(), None)
    return msgspec.structs.replace(compiled, base=base)


def put_together(
    files: RepositoryFiles,
    folder: str,
    lock: Lock | None,
    requirements: Requirements | None,
    project: _Project,
    runtime: Runtime | None,
) -> Environment:
    """Return the blocks of an environment."""
    version, reason = _version(folder, lock, project, runtime)
    if tuple(map(int, version.split(".")[:2])) < (3, 11) and not lock:
        project = msgspec.structs.replace(project, has_static=False)  # tomllib does not exist yet
    dependencies, code, stages, findings = list[str](), list[str](), list[str](), list[Finding]()
    names: frozenset[str] = frozenset()
    if runtime:
        findings.append(Finding(posixpath.join(folder, "runtime.txt"), Use.USED, reason))
    if lock:
        stages.append(lock.stage)
        (dependencies if lock.early else code).append(lock.install)
        names = lock.names
        note = "" if lock.early else ", after the code is copied, because it installs a part of it"
        findings.append(Finding(lock.path, Use.USED, f"the locked versions are installed{note}"))
        findings += [Finding(path, Use.USED, f"read with {lock.path}") for path in lock.others]
        code += [
            block(f"The code of {where}", _pip(f"--no-deps {'.' if where == '.' else './' + where}"))
            for where in lock.local
            if where != "." or project.is_package or not project.path
        ]
    if requirements:
        names = requirements.names
        reason = "installed by pip"
        if requirements.local:
            reason += f", after the code is copied: {requirements.local}"
            code.append(block(requirements.files[0], _pip(f"-r {requirements.files[0]}")))
        else:
            dependencies.append(block(requirements.files[0], _pip_early(requirements.files)))
        findings.append(Finding(requirements.files[0], Use.USED, reason))
    installed = bool(lock and lock.path.rpartition("/")[2] in ("uv.lock", "poetry.lock"))
    by_pipfile = bool(lock and not installed)
    if project.path and not installed and not by_pipfile:
        if project.has_static and project.dependencies:
            dependencies.append(block("The dependencies of pyproject.toml", _listed_early(project.path)))
            names |= project.dependencies
        if project.is_package and not (requirements and requirements.itself):
            code.append(block(project.path, _pip("--no-deps ." if project.has_static else ".")))
        findings.append(Finding(project.path, Use.USED, _of_project(project)))
    elif project.path and by_pipfile:
        findings.append(Finding(project.path, Use.UNUSED, f"{lock.path if lock else ''} lists what is installed"))
    findings += _passed_over(files, folder, lock)
    server = () if _SERVER in names else (_pip(_SERVER),)
    first = "Jupyter, in an environment of the user" if server else "The environment, which the user owns"
    return Environment(
        base=f"python:{version}-slim",
        stages=tuple(stages),
        path=(f"{PREFIX}/bin",),
        tools=(block(first, run(f"python3 -m venv {PREFIX}"), *server),),
        dependencies=tuple(dependencies),
        project=tuple(code),
        findings=tuple(findings),
    )


def _pip(words: str) -> str:
    return run(f"pip install --cache-dir {PIP_CACHE} {words}", mounts=(cache(PIP_CACHE),))


def _pip_early(paths: tuple[str, ...]) -> str:
    """Install requirements with only their files, at the same paths as in the repository."""
    mounts = (cache(PIP_CACHE), *(bind(path, f"/tmp/repository/{path}") for path in paths))
    return run(f"pip install --cache-dir {PIP_CACHE} -r /tmp/repository/{paths[0]}", mounts=mounts)


def _listed_early(path: str) -> str:
    return run(
        f"{_LISTED} > /tmp/requirements.txt",
        f"pip install --cache-dir {PIP_CACHE} -r /tmp/requirements.txt",
        "rm /tmp/requirements.txt",
        mounts=(cache(PIP_CACHE), bind(path, "/tmp/pyproject.toml")),
    )


def _of_project(project: _Project) -> str:
    if not project.is_package:
        return "its dependencies are installed; it has no build system, so it is not a package"
    if project.has_static:
        return "its dependencies are installed, then the package"
    return "the package is installed with its dependencies, after the code is copied"


def _project(files: RepositoryFiles) -> _Project:
    if files.is_file("pyproject.toml"):
        document = read_toml(files, "pyproject.toml")
        project: Table = table_in(document, "project")
        package = "build-system" in document and ("project" in document or bool(table_in(document, "tool", "poetry")))
        dynamic = "dependencies" in rows(project.get("dynamic")) or "project" not in document
        static = [text(dependency) for dependency in rows(project.get("dependencies"))]
        names = frozenset(normal_name(_distribution(dependency)) for dependency in static)
        python = text(project.get("requires-python"))
        if package or (project and static):
            return _Project("pyproject.toml", package, not dynamic, names, python)
        if not files.is_file("setup.py"):
            return _Project(python=python)
    if files.is_file("setup.py"):
        return _Project("setup.py", is_package=True)
    return _Project()


def _distribution(requirement: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(requirement).name
    except InvalidRequirement:
        raise UsageError(f"pyproject.toml depends on {requirement[:80]!r}, which is not a valid requirement.") from None


def _version(folder: str, lock: Lock | None, project: _Project, runtime: Runtime | None) -> tuple[str, str]:
    """Return the version of Python, and the finding about `runtime.txt`."""
    of_pipfile = lock.python if lock and lock.path.rpartition("/")[2].startswith("Pipfile") else ""
    if of_pipfile and lock:
        version = ".".join(checked_python(of_pipfile, lock.path).split(".")[:2])
        return version, f"Python {version}, as {lock.path} says"
    required, path = (specifier(lock.python), lock.path) if lock and lock.python else (project.python, "pyproject.toml")
    if runtime and runtime.name == "python" and runtime.version:
        where = posixpath.join(folder, "runtime.txt")
        version = checked_python(runtime.version, where)
        if required and not allows(required, version) and runtime.version != "3":
            raise UsageError(
                f"{where} asks for Python {version}, but {path} requires {required}.", hint="Change one of them."
            )
        return version, f"Python {version}"
    if required:
        version = python_for(required, path)
        return version, f"Python {version}, which {path} allows"
    return DEFAULT_PYTHON, f"Python {DEFAULT_PYTHON}"


def _passed_over(files: RepositoryFiles, folder: str, lock: Lock | None) -> list[Finding]:
    findings: list[Finding] = []
    if lock:
        others = ("uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock", "Pipfile", "requirements.txt")
        paths = (posixpath.join(folder, name) for name in others)
        findings += [
            Finding(path, Use.UNUSED, f"{lock.path} is more exact")
            for path in paths
            if path not in (lock.path, *lock.others) and files.is_file(path)
        ]
    path = posixpath.join(folder, "requirements3.txt")
    if files.is_file(path):
        findings.append(
            Finding(path, Use.UNUSED, "it is for a Python 2 kernel, next to which Jupyter needs another Python")
        )
    return findings
