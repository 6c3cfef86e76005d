"""What the files of a repository are compiled to: a table of expectations, and sentences for what is wrong."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from pybuild_magic.dockerfile.parser import parse
from pybuild_magic.environments.repository.compiled import Compiled, compile_repository
from pybuild_magic.environments.repository.files import OnDisk, RepositoryFiles
from pybuild_magic.environments.repository.opening import image_name, open_repository
from pybuild_magic.errors import BuildError, ContextError, SourceError, UnsupportedError, UsageError
from pybuild_magic.session import MemorySource

from .repositories import CASES, Case


def compiled(files: dict[str, str], base: str = "") -> Compiled:
    return compile_repository(RepositoryFiles(OnDisk(MemorySource(files or {"README": ""}))), base)


EXPECTED: dict[str, tuple[dict[str, str], list[str]]] = {
    "conda": (
        {"environment.yml": "channels: [conda-forge]\ndependencies:\n- python=3.11\n- numpy\n- pip\n- pip: [toml]\n"},
        [
            "FROM mambaorg/micromamba:2 AS micromamba",
            "FROM debian:12-slim",
            "COPY --from=micromamba /bin/micromamba /usr/local/bin/micromamba",
            "--mount=type=bind,source=environment.yml,target=/tmp/environment.yml",
            "micromamba create --yes --prefix /srv/env",
            "--file /tmp/environment.yml jupyterlab\n",
            'CMD ["micromamba", "run", "--prefix", "/srv/env", "jupyter", "lab"',
        ],
    ),
    "conda, yaml": (
        {"environment.yaml": "dependencies: [numpy]\n", "requirements.txt": "not-this"},
        ["--channel conda-forge", "--file /tmp/environment.yml jupyterlab python=3.12 pip"],
    ),
    "conda in .binder": (
        {
            ".binder/environment.yml": "dependencies: [python=3.10, pip]",
            "environment.yml": "- no",
            "Dockerfile": "FROM no",
        },
        ["source=.binder/environment.yml,target=/tmp/environment.yml", "jupyterlab\n"],
    ),
    "conda with the code": (
        {"environment.yml": "dependencies:\n- pip\n- pip: ['-e .']\n", "setup.py": ""},
        ["COPY --chown=1000:1000 . .\n\n# environment.yml\n", "--file environment.yml jupyterlab python=3.12"],
    ),
    "conda with R": (
        {"environment.yml": "dependencies: [r-base=4.3, r-digest]"},
        ["jupyterlab python=3.12 pip r-irkernel", "/srv/env/bin/R -e \"IRkernel::installspec(prefix = '/srv/env')\""],
    ),
    "Pipfile and conda": (
        {"Pipfile": "[packages]\nsix = '*'", "environment.yml": "dependencies: [pip, pip: [toml]]"},
        ["micromamba create"],
    ),
    "R of a day": (
        {"runtime.txt": "r-2025-07-01", "install.R": 'install.packages("digest")', "apt.txt": "libsodium-dev"},
        [
            "FROM rocker/r-ver:4.4.2",
            "cran/__linux__/$VERSION_CODENAME/2025-07-01",
            "--mount=type=bind,source=install.R,target=/tmp/install.R",
            "        libsodium-dev && ",
            "IRkernel::installspec",
        ],
    ),
    "R of a version": ({"runtime.txt": "r-4.3.2-2024-01-10"}, ["FROM rocker/r-ver:4.3.2", "/2024-01-10"]),
    "R of a file": (
        {"install.R": 'source("more.R")', "more.R": ""},
        ["COPY --chown=1000:1000 . .\n\n# install.R\nRUN Rscript --vanilla install.R"],
    ),
    "R package": (
        {"DESCRIPTION": "Package: small\nVersion: 0.1\n", "requirements.txt": "toml"},
        [
            'remotes::install_deps("/tmp/package")',
            'remotes::install_local(".", dependencies = FALSE)',
            "-r /tmp/repository/requirements.txt",
        ],
    ),
    "R that is locked": (
        {"renv.lock": '{"R": {"Version": "4.3.1"}, "Packages": {}}', "install.R": 'install.packages("digest")'},
        [
            "FROM rocker/r-ver:4.3.1",
            "--mount=type=bind,source=renv.lock,target=/tmp/renv.lock",
            'renv::restore(lockfile = "/tmp/renv.lock", library = Sys.getenv("R_LIBS_USER"), prompt = FALSE)',
            "source=install.R,target=/tmp/install.R",
        ],
    ),
    "Julia": (
        {"Project.toml": '[deps]\nA = "82899510-4779-5014-852e-03e436cf321d"\n'},
        [
            "FROM julia:1 AS julia",
            "FROM python:3.12-slim",
            "COPY --chown=1000:1000 Project.toml /home/jovyan/",
            "JULIA_PROJECT=/home/jovyan",
            "Pkg.instantiate()",
        ],
    ),
    "Julia in .binder": (
        {".binder/Project.toml": '[compat]\njulia = "=1.3"\n', "Project.toml": "[no"},
        ["FROM julia:1.3 AS julia", " curl ", "COPY --chown=1000:1000 .binder/Project.toml /home/jovyan/.binder/"],
    ),
    "Julia, locked": (
        {"Project.toml": "", "Manifest.toml": 'julia_version = "1.10.4"\nmanifest_format = "2.0"\n'},
        ["FROM julia:1.10.4 AS julia", "COPY --chown=1000:1000 Project.toml Manifest.toml /home/jovyan/"],
    ),
    "Julia, of several": ({"Project.toml": '[compat]\njulia = "1.6, ~1.9, 0.7"\n'}, ["FROM julia:1.9 AS julia"]),
    "Python of runtime.txt": ({"runtime.txt": "python-3.9\n"}, ["FROM python:3.9-slim"]),
    "Python of a patch": ({"runtime.txt": "python-3.10.4"}, ["FROM python:3.10.4-slim"]),
    "Python of a major version": ({"runtime.txt": "python-3"}, ["FROM python:3.12-slim"]),
    "Python of a Pipfile, whatever runtime.txt says": (
        {"Pipfile": '[packages]\n[requires]\npython_version = "3.6"\n', "runtime.txt": "python-3.7"},
        ["FROM python:3.6-slim AS lock", "FROM python:3.6-slim\n"],
    ),
    "Python that pyproject.toml requires": (
        {"pyproject.toml": '[project]\nname = "a"\nrequires-python = ">=3.13"\ndependencies = ["six"]\n'},
        ["FROM python:3.14-slim", "source=pyproject.toml,target=/tmp/pyproject.toml"],
    ),
    "dependencies that a build finds out": (
        {"pyproject.toml": '[build-system]\nrequires=[]\n[project]\nname="a"\nversion="1"\ndynamic=["dependencies"]\n'},
        ["pip install --cache-dir /var/cache/pip .\n"],
    ),
    "hashes of all kinds": (
        {"requirements.txt": f"six==1 --hash=sha256:{'a' * 64} \\\n --hash sha512:{'B' * 128}"},
        ["# requirements.txt\n"],
    ),
    "a lock that has JupyterLab": (
        {"requirements.txt": "JupyterLab==4.2\n"},
        ["# The environment, which the user owns\nRUN python3 -m venv /srv/env\n\n# requirements.txt\n"],
    ),
    "a user of 1000 and hubs": ({}, ["useradd --create-home --shell /bin/bash --uid 1000 jovyan", "\nUSER 1000\n"]),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_files_are_compiled_to_what_is_expected(name: str) -> None:
    files, expected = EXPECTED[name]
    dockerfile = compiled(files).dockerfile
    assert [part for part in expected if part not in dockerfile] == [], dockerfile
    assert parse(dockerfile).stages


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dependencies_come_before_the_code(case: Case) -> None:
    dockerfile = compiled(case.filled().files).dockerfile
    instructions = [line for line in dockerfile.splitlines() if line.startswith("COPY --chown=1000:1000 . .")]
    assert len(instructions) == (case.name != "dockerfile")
    before = dockerfile.partition("COPY --chown=1000:1000 . .")[0]
    for path in ("requirements.txt", "Pipfile.lock", "uv.lock", "pylock.toml", "poetry.lock"):
        if f"# {path}\n" in dockerfile and case.name != "local-requirement":
            assert f"# {path}\n" in before


def test_a_base_is_the_base_of_every_stage() -> None:
    dockerfile = compiled({"Pipfile": "[packages]\n"}, "my/base:1").dockerfile
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["my/base:1", "my/base:1"]


def test_what_is_passed_over_is_told_with_its_reason() -> None:
    found = compiled(
        {
            "binder/environment.yml": "dependencies: [python=3.11]",
            "binder/requirements.txt": "toml",
            "binder/default.nix": "",
            "apt.txt": "file",
        }
    ).findings
    assert {one.path: one.use.value for one in found} == {
        "binder/environment.yml": "used",
        "binder/requirements.txt": "not used",
        "binder/default.nix": "not done",
        "apt.txt": "not used",
    }
    assert all(one.why for one in found)


BAD: dict[str, tuple[dict[str, str | bytes], type[BuildError], str]] = {
    "both folders": ({"binder/a": "", ".binder/a": ""}, UsageError, "both a binder and a .binder"),
    "nonsense": ({"runtime.txt": "snake-3"}, UsageError, "runtime.txt asks for snake"),
    "no version": ({"runtime.txt": "python"}, UsageError, "which is not a valid runtime"),
    "a shell in a version": ({"runtime.txt": "python-3.11;id"}, UsageError, "which is not a valid runtime"),
    "no day": ({"runtime.txt": "r-2025-02-30"}, UsageError, "not a valid date"),
    "a day too early": ({"runtime.txt": "r-2015-01-01"}, UsageError, "not archived"),
    "a Python too old": ({"runtime.txt": "python-2.7"}, UsageError, "in which JupyterLab does not run"),
    "contradictions": (
        {"runtime.txt": "python-3.9", "pyproject.toml": '[project]\nrequires-python = ">=3.11"'},
        UsageError,
        "asks for Python 3.9, but pyproject.toml requires >=3.11",
    ),
    "no Python is that": ({"pyproject.toml": '[project]\nrequires-python = "<3"'}, UsageError, "none of 3.14 to 3.6"),
    "no specifier": ({"pyproject.toml": '[project]\nrequires-python = "new"'}, UsageError, "not a version specifier"),
    "apt with a shell": ({"apt.txt": "file\nfile; rm -rf /\n"}, UsageError, "'file;' in line 2"),
    "apt with a substitution": ({"apt.txt": "$(id)\n"}, UsageError, "'$(id)' in line 1"),
    "apt with an option": ({"apt.txt": "-o\n"}, UsageError, "'-o' in line 1"),
    "no YAML": (
        {"environment.yml": "dependencies:\n  - a\n invalid"},
        ContextError,
        "environment.yml cannot be read (line",
    ),
    "no mapping": ({"environment.yml": "- a"}, ContextError, "it contains a list instead of a table"),
    "no list": ({"environment.yml": "dependencies: a"}, ContextError, "must be a list"),
    "no package": ({"environment.yml": "dependencies: [[a]]"}, ContextError, "which is not a conda package"),
    "old conda Python": (
        {"environment.yml": "dependencies: [python=2.7]"},
        UsageError,
        "in which JupyterLab does not run",
    ),
    "unreadable uv.lock": ({"uv.lock": "= no", "pyproject.toml": ""}, ContextError, "uv.lock cannot be read"),
    "an empty lock": ({"uv.lock": "", "pyproject.toml": ""}, ContextError, "uv.lock is not a lock"),
    "a lone lock": ({"uv.lock": "version = 1"}, ContextError, "uv.lock needs pyproject.toml beside it"),
    "unreadable Pipfile.lock": ({"Pipfile.lock": "{"}, ContextError, "Pipfile.lock cannot be read"),
    "Pipfile.lock of another kind": ({"Pipfile.lock": "[]"}, ContextError, "it contains a list"),
    "unreadable Pipfile": ({"Pipfile": "{"}, ContextError, "Pipfile cannot be read"),
    "unreadable pylock": ({"pylock.toml": "{"}, ContextError, "pylock.toml cannot be read"),
    "unreadable poetry.lock": ({"poetry.lock": "{", "pyproject.toml": ""}, ContextError, "poetry.lock cannot be read"),
    "unreadable pyproject.toml": ({"pyproject.toml": "{"}, ContextError, "pyproject.toml cannot be read"),
    "no requirement": (
        {"pyproject.toml": '[project]\ndependencies = ["a b"]'},
        UsageError,
        "which is not a valid requirement",
    ),
    "a lock of a place outside": (
        {
            "uv.lock": '[[package]]\nname = "a"\nsource = { editable = "../../etc" }',
            "pyproject.toml": "[project]\nname='a'",
        },
        ContextError,
        "which is not in the repository",
    ),
    "a hash that is too short": (
        {"requirements.txt": "-r more.txt", "more.txt": "toml==0.10.2 \\\n    --hash=sha256:abc\n"},
        ContextError,
        "more.txt has the hash sha256:abc, which is not valid.",
    ),
    "a weak hash": ({"requirements.txt": f"toml --hash md5:{'0' * 32}"}, ContextError, "which is not valid"),
    "a missing include": ({"requirements.txt": "-r more.txt"}, ContextError, "includes more.txt, which is not"),
    "an include outside": ({"requirements.txt": "-r ../../etc/passwd"}, ContextError, "which is not in the repository"),
    "Nix": ({"default.nix": "{}"}, UnsupportedError, "Nix environments are not supported"),
    "unreadable renv.lock": ({"renv.lock": "{"}, ContextError, "renv.lock cannot be read"),
    "renv.lock of no R": ({"renv.lock": "{}"}, UsageError, "renv.lock does not say which R made it"),
    "renv.lock with a shell": (
        {"renv.lock": '{"R": {"Version": "4 AS a"}}'},
        UsageError,
        "for which there is no",
    ),
    "Julia's nonsense": ({"Project.toml": '[compat]\njulia = "new"'}, UsageError, "which is not a valid version"),
    "Julia with a shell": (
        {"Project.toml": "", "Manifest.toml": 'julia_version = "1.10.4 AS a"'},
        UsageError,
        "for which there is no image",
    ),
    "no text": ({"requirements.txt": b"\xff\xfe\0"}, ContextError, "is not UTF-8 text"),
    "a file without end": ({"requirements.txt": "#" * (5 << 20)}, ContextError, "is larger than 4 MB"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_a_sentence(name: str) -> None:
    files, kind, message = BAD[name]
    with pytest.raises(kind, match=re.escape(message)):
        compile_repository(RepositoryFiles(OnDisk(MemorySource(files))))


HOSTILE = {
    "a folder": ("binder", "../outside"),
    "a folder, absolute": ("binder", "{outside}"),
    "a file": ("apt.txt", "../outside/apt.txt"),
    "a file, by two links": ("apt.txt", "one"),
    "a lock": ("uv.lock", "../outside/apt.txt"),
    "the Dockerfile": ("Dockerfile", "/etc/passwd"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_link_that_leads_out_of_a_repository_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/apt.txt").write_text("a-secret-of-the-user\n")
    root = tmp_path / "repository"
    root.mkdir()
    link, target = HOSTILE[name]
    (root / link).symlink_to(target.format(outside=tmp_path / "outside"))
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("../outside/apt.txt")
    with pytest.raises(ContextError, match="leads out of the repository") as raised:
        open_repository(str(root))
    assert "secret" not in str(raised.value)


def test_links_that_go_round_and_what_is_no_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "apt.txt").symlink_to("apt.txt")
    with pytest.raises(ContextError, match="loop of symbolic links"):
        open_repository(str(tmp_path))
    (tmp_path / "apt.txt").unlink()
    os.mkfifo(tmp_path / "apt.txt")
    with pytest.raises(ContextError, match="not a regular file"):
        open_repository(str(tmp_path))


def test_a_link_within_a_repository_is_followed(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/packages").write_text("file\n")
    (tmp_path / "apt.txt").symlink_to("config/packages")
    assert "        file && " in open_repository(str(tmp_path)).dockerfile


def test_a_file_that_dockerignore_leaves_out_is_missed_before_the_build(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("toml\n")
    (tmp_path / ".dockerignore").write_text("*.txt\n")
    with pytest.raises(ContextError, match=r"\.dockerignore excludes requirements\.txt"):
        open_repository(str(tmp_path))


def test_a_folder_that_dockerignore_leaves_out_is_a_context_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "binder").mkdir()
    (tmp_path / "binder/Pipfile").write_text("[packages]\n")
    (tmp_path / ".dockerignore").write_text("binder\n")
    found = open_repository(str(tmp_path), name="here")
    assert found.line == f"-t here --build-context binder={tmp_path}/binder {tmp_path}"
    assert "COPY --from=binder Pipfile ./" in found.dockerfile
    assert "COPY --chown=1000:1000 --from=binder . binder\n" in found.dockerfile


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/a/My Project", "my-project"),
        ("owner/Name.git", "name"),
        ("..", "repository"),
        ("/a/été", "t"),
        ("x" * 200, "x" * 80),
    ],
)
def test_an_image_has_the_name_of_its_repository(text: str, name: str) -> None:
    assert image_name(text) == name


def test_what_is_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match=r"The repository .*missing does not exist\. Name a directory, or a URL"):
        open_repository(str(tmp_path / "missing"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ContextError, match=r"The repository .*file is not a directory"):
        open_repository(str(tmp_path / "file"))
    with pytest.raises(ContextError, match=r"is a file URL\. Write the path of the directory"):
        open_repository(tmp_path.as_uri())
    with pytest.raises(UsageError, match="not a Git repository"):
        open_repository("ftp://host/a.git")


def test_a_private_repository_is_fetched_over_ssh_with_an_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "theirs.git"
    repository.mkdir()
    (repository / "apt.txt").write_text("graphviz\n")
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@t", "-C", str(repository)]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    # An ssh that runs the command here, if it was given an agent.
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text('#!/bin/sh\ntest -S "$SSH_AUTH_SOCK" || exit 9\nfor last; do :; done\neval "$last"\n')
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    url = f"ssh://git@host.example{repository}"
    with pytest.raises(SourceError, match=r"needs SSH, but the build has no SSH agent\. Pass --ssh default"):
        open_repository(url)
    agent = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(agent))
        found = open_repository(url, ssh=(f"default={agent}",))
    assert [finding.path for finding in found.findings] == ["apt.txt"]
    assert found.line == f"-t theirs --ssh default={agent} {url}"
