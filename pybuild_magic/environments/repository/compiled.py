"""The compilation of a repository: from its files to a Dockerfile and findings."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

import msgspec

from ...errors import ContextError, UnsupportedError, UsageError
from .conda import conda_environment, environment_file
from .files import RepositoryFiles
from .julia import julia_environment, project_file
from .parts import HOME, Environment, Finding, Use, block, run
from .python import python_environment
from .r import is_r, r_environment
from .runtime import Runtime, parse_runtime

_FOLDERS = ("binder", ".binder")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+(?::[a-z0-9]+)?(?:=[A-Za-z0-9.+:~-]+)?(?:/[a-z0-9-]+)?")
"""A name in Debian's policy (5.6.1), with the suffixes that apt-get accepts."""
_USER = block(
    "The user that Jupyter's hubs expect; a base image may have another one with that id",
    "RUN getent passwd jovyan || \\\n"
    '    { getent passwd 1000 && usermod --login jovyan --home /home/jovyan --move-home "$(id -nu 1000)"; } || \\\n'
    "    useradd --create-home --shell /bin/bash --uid 1000 jovyan",
    "RUN install -d -o 1000 -g 1000 /home/jovyan /srv/env",
)
_KNOWN = (
    *("Dockerfile", "default.nix", "runtime.txt", "apt.txt", "environment.yml", "environment.yaml", "uv.lock"),
    *("pylock.toml", "poetry.lock", "Pipfile.lock", "Pipfile", "requirements.txt", "requirements3.txt"),
    *(
        "pyproject.toml",
        "setup.py",
        "renv.lock",
        "install.R",
        "DESCRIPTION",
        "Project.toml",
        "JuliaProject.toml",
        "Manifest.toml",
    ),
    *("REQUIRE", "postBuild", "start"),
)
_COMMAND = ("jupyter", "lab", "--ip=0.0.0.0", "--no-browser")


class Compiled(msgspec.Struct, frozen=True, kw_only=True):
    """The Dockerfile of a repository."""

    dockerfile: str
    findings: tuple[Finding, ...]
    """The known files, most important first."""
    contexts: dict[str, str] = {}
    """Named contexts that the build needs besides the repository: directories of the repository by name."""


def compile_repository(
    files: RepositoryFiles, base: str = "", is_ignored: Callable[[str], bool] = lambda _: False
) -> Compiled:
    """Return the Dockerfile of a repository, on `base` or on the base image that its language has.

    `is_ignored` says which paths `.dockerignore` excludes. Raises ContextError for unreadable files, UsageError for
    invalid contents, UnsupportedError for unsupported ones.
    """
    folder = _folder(files)
    whole = posixpath.join(folder, "Dockerfile")
    if files.is_file(whole):
        used = (Finding(whole, Use.USED, "it is the Dockerfile, used as it is"),)
        return Compiled(dockerfile=files.text(whole) or "", findings=(*used, *_rest(files, folder, used, whole)))
    environment = _environment(files, folder)
    findings = list(environment.findings)
    packages = _packages(files, folder)
    if packages:
        findings.append(Finding(posixpath.join(folder, "apt.txt"), Use.USED, "its packages are installed by apt-get"))
    scripts = {name: posixpath.join(folder, name) for name in ("postBuild", "start")}
    scripts = {name: path for name, path in scripts.items() if files.is_file(path)}
    if post_build := scripts.get("postBuild", ""):
        findings.append(Finding(post_build, Use.USED, "run by the user after everything else"))
    if start := scripts.get("start", ""):
        findings.append(Finding(start, Use.USED, "the entrypoint, which gets the command as its arguments"))
    dockerfile = _render(environment, base or environment.base, packages, post_build, start)
    contexts = _contexts(folder, findings, is_ignored)
    if contexts:
        dockerfile = _from_context(dockerfile, folder)
    findings += _rest(files, folder, tuple(findings), "")
    return Compiled(dockerfile=dockerfile, findings=tuple(findings), contexts=contexts)


def _folder(files: RepositoryFiles) -> str:
    """Return the directory with the files: if there is a `binder`, anything outside of it is ignored."""
    folders = [folder for folder in _FOLDERS if files.is_directory(folder)]
    if len(folders) > 1:
        raise UsageError(
            "The repository has both a binder and a .binder directory.",
            hint="Remove one of them.",
        )
    return folders[0] if folders else ""


def _environment(files: RepositoryFiles, folder: str) -> Environment:
    path = posixpath.join(folder, "runtime.txt")
    text = files.text(path)
    runtime: Runtime | None = None if text is None else parse_runtime(text, path)
    if project := project_file(files, folder):
        return julia_environment(files, folder, project)
    if is_r(files, folder, runtime):
        return r_environment(files, folder, runtime)
    if environment := environment_file(files, folder):
        return conda_environment(files, environment)
    python = python_environment(files, folder, runtime)
    nix = posixpath.join(folder, "default.nix")
    if not python.findings and files.is_file(nix):
        raise UnsupportedError(
            f"The environment is {nix}, and Nix environments are not supported.",
            hint="Put its packages into environment.yml or apt.txt, or use a Dockerfile with Nix.",
        )
    return python


def _packages(files: RepositoryFiles, folder: str) -> tuple[str, ...]:
    path = posixpath.join(folder, "apt.txt")
    packages: list[str] = []
    for number, line in enumerate((files.text(path) or "").split("\n"), 1):
        for word in line.partition("#")[0].split():
            if not _PACKAGE.fullmatch(word):
                raise UsageError(
                    f"{path} has {word[:60]!r} in line {number}, which is not the name of a Debian package.",
                    hint="Write one name per line, without shell syntax.",
                )
            packages.append(word)
    return tuple(sorted(dict.fromkeys(packages)))


def _apt(packages: tuple[str, ...]) -> str:
    return run(
        "apt-get update",
        "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \\\n        "
        + " \\\n        ".join(packages),
        "apt-get clean",
        "rm -rf /var/lib/apt/lists/*",
    )


def _render(environment: Environment, base: str, packages: tuple[str, ...], post_build: str, start: str) -> str:
    used = [finding.path for finding in environment.findings if finding.use is Use.USED]
    made_of = ", ".join([*used, *(["apt.txt"] if packages else []), *filter(None, (post_build, start))])
    parts = [f"# Made by %build repo of {made_of or 'a repository that names no environment'}"]
    parts += [stage.replace("{base}", base) for stage in environment.stages]
    parts.append(f"FROM {base}")
    if environment.packages:
        parts.append(_apt(environment.packages))
    variables = {
        "USER": "jovyan",
        "NB_USER": "jovyan",
        "NB_UID": "1000",
        "HOME": HOME,
        "REPO_DIR": HOME,
        "NB_PYTHON_PREFIX": "/srv/env",
        "KERNEL_PYTHON_PREFIX": "/srv/env",
        **environment.variables,
        "PATH": ":".join((f"{HOME}/.local/bin", *environment.path, "$PATH")),
    }
    settings = " \\\n    ".join(f"{name}={value}" for name, value in variables.items())
    parts += [_USER, *environment.system, f"ENV {settings}"]
    as_user = "USER 1000"
    if environment.tools:
        parts += [as_user, *environment.tools]
    if packages:
        parts += ["USER root", block("apt.txt", _apt(packages))]
    if packages or not environment.tools:
        parts.append(as_user)
    parts += [*environment.dependencies, block("The code", f"WORKDIR {HOME}", "COPY --chown=1000:1000 . .")]
    parts += environment.project
    if post_build:
        parts.append(block(post_build, run(f"chmod +x {post_build}", f"./{post_build}")))
    if start:
        parts.append(block(start, run(f"chmod +x {start}"), f'ENTRYPOINT ["{HOME}/{start}"]'))
    command = ", ".join(f'"{word}"' for word in (*environment.activate, *_COMMAND))
    parts.append(f"EXPOSE 8888\nCMD [{command}]")
    return "\n\n".join(parts) + "\n"


def _contexts(folder: str, findings: list[Finding], is_ignored: Callable[[str], bool]) -> dict[str, str]:
    """Return a context for the folder, where `.dockerignore` excludes it. Raises ContextError for files at the top."""
    left_out = [finding.path for finding in findings if finding.use is Use.USED and is_ignored(finding.path)]
    if left_out and not folder:
        raise ContextError(
            f".dockerignore excludes {left_out[0]}, which the build needs.",
            hint=f"Add a line !{left_out[0]} to it.",
        )
    return {"binder": folder} if left_out else {}


def _from_context(dockerfile: str, folder: str) -> str:
    """Copy the folder's files from a separate context."""
    name = re.escape(folder)
    dockerfile = re.sub(rf"(type=bind,)source={name}/", r"\1from=binder,source=", dockerfile)
    dockerfile = re.sub(
        rf"^COPY (?=(?:--chown=\S+ )?{name}/)(.*)$",
        lambda line: "COPY --from=binder " + line[1].replace(f"{folder}/", ""),
        dockerfile,
        flags=re.MULTILINE,
    )
    code = "COPY --chown=1000:1000 . .\n"
    return dockerfile.replace(code, f"{code}COPY --chown=1000:1000 --from=binder . {folder}\n", 1)


def _rest(files: RepositoryFiles, folder: str, used: tuple[Finding, ...], whole: str) -> list[Finding]:
    """Return the other known files, each with the reason why it is ignored."""
    listed = {finding.path for finding in used}
    rest: list[Finding] = []
    for name in _KNOWN:
        for place in dict.fromkeys((folder, "")):
            path = posixpath.join(place, name)
            if path in listed or not files.is_file(path):
                continue
            if place != folder:
                rest.append(Finding(path, Use.UNUSED, f"there is a directory {folder}, so only its files count"))
            elif whole:
                rest.append(Finding(path, Use.UNUSED, f"{whole} says everything"))
            elif name in ("default.nix", "REQUIRE"):
                rest.append(
                    Finding(path, Use.NOT_DONE, "environments of Nix and of Julia before 0.7 are not supported")
                )
            else:
                rest.append(Finding(path, Use.UNUSED, "another file describes the environment"))
    return rest
