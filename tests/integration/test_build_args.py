"""The build args that speak to the builder: each does what it does in BuildKit's front end, or is told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.errors import UsageError
from pybuild_magic.result import BuildResult
from tests.conformance.server import serving

from .lab import Home


@dataclass
class Repository:
    url: str
    commit: str


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    work = tmp_path / "served/work"
    work.mkdir(parents=True)
    (work / "f").write_text("content")

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
        return subprocess.run(
            ["git", *identity, *arguments], cwd=work, capture_output=True, text=True, check=True
        ).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "m")
    git("clone", "-q", "--bare", ".", "../repo.git")
    with serving(("127.0.0.1", 0), tmp_path / "served", {}) as url:
        yield Repository(f"{url}/git/repo.git", git("rev-parse", "HEAD"))


def paths(result: BuildResult) -> set[str]:
    assert result.image is not None
    return {file.path for file in result.image.files}


@pytest.mark.parametrize(("value", "kept"), [("1", True), ("TRUE", True), ("0", False), ("yes", False), ("", False)])
def test_the_git_directory_of_a_context_is_kept(home: Home, repository: Repository, value: str, kept: bool) -> None:
    result = home.build(
        "FROM scratch\nCOPY . /\n",
        f"{repository.url}#main",
        build_args={"BUILDKIT_CONTEXT_KEEP_GIT_DIR": value},
        tags="x",
    )
    assert "f" in paths(result)
    assert (".git/HEAD" in paths(result)) is kept


def test_it_is_the_main_context_alone_whose_git_directory_is_kept(home: Home, repository: Repository) -> None:
    result = home.build(
        "FROM scratch\nCOPY --from=other . /\n",
        {},
        build_contexts={"other": repository.url},
        build_args={"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"},
        tags="x",
    )
    assert "f" in paths(result)
    assert ".git/HEAD" not in paths(result)


def test_an_unknown_attestation_is_named(home: Home) -> None:
    error = home.fails("FROM scratch\nENV a=1\n", build_args={"BUILDKIT_ATTEST_NOPE": ""})
    assert isinstance(error, UsageError)
    assert 'unknown attestation type "nope"' in error.message


def test_an_inline_cache_may_be_asked_for_by_build_arg(home: Home) -> None:
    def config(value: str) -> dict[str, Any]:
        args = {"BUILDKIT_INLINE_CACHE": value}
        return home.build("FROM busybox\nRUN echo a >/a\n", build_args=args, tags="x").image.config

    assert "moby.buildkit.cache.v0" in config("1")
    assert "moby.buildkit.cache.v0" not in config("0")


def test_a_build_may_be_named_for_the_history(home: Home) -> None:
    home.build("FROM scratch\nENV a=1\n", tags="x", build_args={"BUILDKIT_BUILD_NAME": "nightly"})
    assert home.builder.history()[0].name == "nightly"


def test_the_built_in_front_end_can_be_asked_for_by_name(home: Home) -> None:
    home.build("# syntax=example.com/other\nFROM scratch\nENV a=1\n", build_args={"BUILDKIT_SYNTAX": "dockerfile.v0"})
    error = home.fails("FROM scratch\nENV a=1\n", build_args={"BUILDKIT_SYNTAX": " "})
    assert "empty BUILDKIT_SYNTAX build-arg is invalid" in error.message
