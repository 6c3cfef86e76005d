"""Locks of Python projects: each becomes requirements in a separate stage, through the tool that wrote it.

The last stage installs them with pip, and contains neither the tool nor its cache.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any, cast

import msgspec

from ...errors import ContextError
from .documents import Table, read_json, read_toml, rows, table_in, text
from .files import RepositoryFiles
from .parts import PIP_CACHE, PREFIX, bind, block, cache, run
from .requirements import is_plain, normal_name

_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOOLS = "/tools/bin"
_ROOT_CACHE = "type=cache,target=/root/.cache"
_REQUIREMENTS = "/tmp/requirements.txt"


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A lock, and how it is installed."""

    path: str
    others: tuple[str, ...] = ()
    """Files that are read with it."""
    stage: str
    install: str
    names: frozenset[str]
    """The locked distributions."""
    python: str = ""
    """A version specifier, or a version."""
    local: tuple[str, ...] = ()
    """Directories of the repository that are installed without dependencies after the code is copied."""
    early: bool = True
    """Whether it can be installed before the code is copied."""


def find_lock(files: RepositoryFiles, folder: str) -> Lock | None:
    """Read the lock of a repository, the most exact of several. Raises ContextError for one that cannot be read."""
    for name, read in _READERS.items():
        path = posixpath.join(folder, name)
        if files.is_file(path):
            return read(files, path)
    return None


def _uv(files: RepositoryFiles, path: str) -> Lock:
    project = _beside(files, path, "pyproject.toml")
    document = read_toml(files, path)
    packages = _packages(document, path)
    local, left_out = list[str](), list[str]()
    for package in packages:
        source = table_in(package, "source")
        where = text(source.get("editable") or source.get("directory") or source.get("virtual"))
        if not where:
            continue
        name = text(package.get("name"))
        if _GROUP.fullmatch(name):
            left_out.append(name)
        if not text(source.get("virtual")):
            local.append(where)
    words = [f"{_TOOLS}/uv export --frozen --no-emit-workspace"]
    words += [f"--no-emit-package {name}" for name in left_out]
    return Lock(
        path=path,
        others=(project,),
        stage=_stage("uv", path, (path, project), (" ".join([*words, "--output-file requirements.txt"]),)),
        install=_install(path),
        names=_names(packages),
        python=text(document.get("requires-python")),
        local=tuple(_inside(where, path) for where in local),
    )


def _pylock(files: RepositoryFiles, path: str) -> Lock:
    document = read_toml(files, path)
    packages = _packages(document, path, "packages")
    for package in packages:
        if "directory" in package:
            raise ContextError(
                f"{path} locks {text(package.get('name'))[:80] or 'a package'} as a directory, which does not exist "
                "in an image.",
                hint="Lock it as a version or a commit.",
            )
    installing = run(
        f"uv pip install --system-certs --python {PREFIX} --cache-dir {PIP_CACHE} --requirements /tmp/pylock.toml",
        mounts=(
            cache(PIP_CACHE),
            bind(f"{_TOOLS}/uv", "/usr/local/bin/uv", "lock"),
            bind(path, "/tmp/pylock.toml"),
        ),
    )
    return Lock(
        path=path,
        stage=_tool("uv"),
        install=block(path, installing),
        names=_names(packages),
        python=text(document.get("requires-python")),
    )


def _poetry(files: RepositoryFiles, path: str) -> Lock:
    project = _beside(files, path, "pyproject.toml")
    document = read_toml(files, path)
    poetry = table_in(read_toml(files, project), "tool", "poetry")
    groups = [
        name
        for name, group in table_in(poetry, "group").items()
        if _GROUP.fullmatch(name) and not (isinstance(group, dict) and cast("Table", group).get("optional"))
    ]
    export = f"{_TOOLS}/poetry export --output requirements.txt" + "".join(f" --with {group}" for group in groups)
    packages = _packages(document, path)
    local = any(text(table_in(package, "source").get("type")) in ("directory", "file") for package in packages)
    return Lock(
        path=path,
        others=(project,),
        stage=_stage("poetry poetry-plugin-export", path, (path, project), (export,)),
        install=_install(path),
        names=_names(packages),
        python=_python_of_poetry(text(table_in(document, "metadata").get("python-versions"))),
        local=() if poetry.get("package-mode") is False else (".",),
        early=not local,
    )


def _pipfile_lock(files: RepositoryFiles, path: str) -> Lock:
    document = read_json(files, path)
    packages = {**table_in(document, "default"), **table_in(document, "develop")}
    requires = table_in(document, "_meta", "requires")
    local = _has_paths(packages)
    beside = posixpath.join(posixpath.dirname(path), "Pipfile")
    others = (beside,) if files.is_file(beside) else ()
    hashed = all(isinstance(package, dict) and "hashes" in package for package in packages.values())
    hashes = " --hash" if hashed else ""  # pip wants digests of all, or of none
    commands = (
        *(() if others else ("touch Pipfile",)),
        f"{_TOOLS}/pipenv requirements --dev{hashes} > requirements.txt",
    )
    return Lock(
        path=path,
        others=others,
        stage=_stage("pipenv", path, (path, *others), commands),
        install=_install(path, posixpath.dirname(path) if local else None),
        names=frozenset(map(normal_name, packages)),
        python=_exact(text(requires.get("python_full_version")) or text(requires.get("python_version"))),
        early=not local,
    )


def _pipfile(files: RepositoryFiles, path: str) -> Lock:
    document = read_toml(files, path)
    packages = {**table_in(document, "packages"), **table_in(document, "dev-packages")}
    requires = table_in(document, "requires")
    local = _has_paths(packages)
    python = _exact(text(requires.get("python_full_version")) or text(requires.get("python_version")))
    lock = (f"{_TOOLS}/pipenv lock", f"{_TOOLS}/pipenv requirements --dev > ")
    if not local:
        commands = (lock[0], f"{lock[1]}requirements.txt")
        stage, install = _stage("pipenv", path, (path,), commands), _install(path)
    else:
        # A directory is locked where it is.
        stage = _tool("pipenv")
        where = posixpath.dirname(path)
        commands = (*((f"cd {where}",) if where else ()), lock[0], f"{lock[1]}{_REQUIREMENTS}")
        installing = f"pip install --cache-dir {PIP_CACHE} -r {_REQUIREMENTS}"
        mounts = (cache(PIP_CACHE), bind("/tools", "/tools", "lock"))
        install = block(path, run(*commands, installing, f"rm {_REQUIREMENTS}", mounts=mounts))
    return Lock(
        path=path,
        stage=stage,
        install=install,
        names=frozenset(map(normal_name, packages)),
        python=python,
        early=not local,
    )


_READERS: dict[str, Callable[[RepositoryFiles, str], Lock]] = {
    "uv.lock": _uv,
    "pylock.toml": _pylock,
    "poetry.lock": _poetry,
    "Pipfile.lock": _pipfile_lock,
    "Pipfile": _pipfile,
}
"""Readers by file name, most exact locks first."""


def _tool(packages: str) -> str:
    installing = run("python3 -m venv /tools", f"{_TOOLS}/pip install {packages}", mounts=(_ROOT_CACHE,))
    return f"FROM {{base}} AS lock\n{installing}"


def _stage(packages: str, path: str, files: tuple[str, ...], commands: tuple[str, ...]) -> str:
    copy = f"COPY {' '.join(files)} ./"
    return "\n".join(
        [
            block(f"{path}, as requirements", _tool(packages)),
            "WORKDIR /lock",
            copy,
            run(*commands, mounts=(_ROOT_CACHE,)),
        ]
    )


def _install(path: str, where: str | None = None) -> str:
    """Return the RUN that installs the stage's result; in the directory `where`, if it has paths."""
    command = f"pip install --cache-dir {PIP_CACHE} -r {_REQUIREMENTS}"
    if where:
        command = f"cd {where} && {command}"
    mounts = (cache(PIP_CACHE), bind("/lock/requirements.txt", _REQUIREMENTS, "lock"))
    return block(path, run(command, mounts=mounts))


def _beside(files: RepositoryFiles, path: str, name: str) -> str:
    lock = posixpath.join(posixpath.dirname(path), name)
    if not files.is_file(lock):
        raise ContextError(f"{path} needs {name} beside it.")
    return lock


def _packages(document: Table, path: str, key: str = "package") -> list[Table]:
    packages = [cast("Table", package) for package in rows(document.get(key)) if isinstance(package, dict)]
    if not packages and key not in document and not document.get("version") and not document.get("lock-version"):
        raise ContextError(f"{path} is not a lock: it has neither packages nor a version.")
    return packages


def _names(packages: list[Table]) -> frozenset[str]:
    return frozenset(normal_name(text(package.get("name"))) for package in packages)


def _has_paths(packages: Table) -> bool:
    """Return whether a Pipfile, or its lock, installs something from the repository."""
    return any(
        isinstance(package, dict) and {"path", "file"} & set(cast("Table", package)) for package in packages.values()
    )


def _inside(where: str, path: str) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), where))
    if target.startswith(("/", "..")) or not is_plain(target):
        raise ContextError(f"{path} installs {where[:80]!r}, which is not in the repository.")
    return target


def _exact(version: str) -> str:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return match[0] if match else ""


def _python_of_poetry(constraint: str) -> str:
    """Return a version specifier for Poetry's notation: `^3.10` is `>=3.10,<4`."""
    if match := re.fullmatch(r"\^(\d+)((?:\.\d+)*)", constraint.strip()):
        return f">={match[1]}{match[2]},<{int(match[1]) + 1}"
    return "" if constraint.strip() in ("", "*") or re.search(r"[\^|~]", constraint) else constraint


def specifier(value: Any) -> str:
    """Return a file's requirement on Python as a version specifier; a plain version means exactly that."""
    version = text(value)
    return (
        f"=={version}.*"
        if re.fullmatch(r"\d+(\.\d+)?", version)
        else f"=={version}"
        if version[:1].isdigit()
        else version
    )
