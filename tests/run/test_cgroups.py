"""Limits by cgroups of version 2, on a Linux that has them: in every place where they are had, and where they are not.

This machine may mount version 1, or delegate none to the tests; so another Linux is booted, once, for all of this.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.services import require
from tests.services.baseimages import BaseImage
from tests.services.linux import boot

pytestmark = pytest.mark.xdist_group("cgroups")

LIMITED = ("service", "delegated", "leaf", "container")
SECONDS = 900
"""Many times what it takes, because other tests use the processors too."""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory, busybox_layout: BaseImage) -> dict[str, dict[str, Any]]:
    """What each place had to tell, by its name; see `cgroup_places`."""
    shared = tmp_path_factory.mktemp("shared")
    command = [sys.executable, "-m", "tests.run.cgroup_places", busybox_layout.path]
    path = str(Path(__file__).parents[2])
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    shown = require(lambda: boot(shared, command, env, SECONDS))
    told = shared / "facts"
    lines = told.read_text().splitlines() if told.exists() else []
    found = {fact["place"]: fact for fact in map(json.loads, lines)}
    assert {*found} == {*LIMITED, "read-only", "nobody"}, shown[-4000:]
    for fact in found.values():
        assert "failed" not in fact, fact["failed"]
    return found


@pytest.mark.parametrize("place", LIMITED)
def test_limits_hold_for_all_processes_and_are_told(facts: dict[str, dict[str, Any]], place: str) -> None:
    fact = facts[place]
    assert fact["guard"][1] == ""
    assert fact["memory"] == {
        "code": 0,
        "text": "137\n",
        "limits": "memory 32 MiB, by cgroups of version 2",
        "warnings": ["Linux killed a process because memory ran out: the limit is 32 MiB."],
    }
    assert fact["pids"]["text"] == ""
    assert fact["pids"]["limits"] == "5 processes, by cgroups of version 2"
    assert fact["pids"]["warnings"] == ["Linux refused to start another process: the limit is 5."]
    assert fact["all"]["code"] == 0
    assert fact["all"]["limits"] == "memory 64 MiB, 0.5 CPUs, 50 processes, by cgroups of version 2"
    assert fact["step"]["error"].endswith("did not complete successfully: cannot allocate memory")
    assert fact["step"]["code"] == 137
    assert "because memory ran out: the limit is 32 MiB." in fact["step"]["hint"]


@pytest.mark.parametrize("place", ["service", "leaf"])
def test_bombs_without_limits_end_alone(facts: dict[str, dict[str, Any]], place: str) -> None:
    fact = facts[place]
    assert any("can't fork" in line for line in fact["bomb"]["logs"])
    if place == "service":  # in a user namespace, an rlimit of the same number comes first, and does not count
        assert "refused to start another process: the limit of all that is run here is 48." in fact["bomb"]["hint"]
    assert fact["greedy"]["error"].endswith("did not complete successfully: cannot allocate memory")
    assert "the limit of all that is run here is 96 MiB." in fact["greedy"]["hint"]
    assert fact["still"]["text"] == "still here\n"


@pytest.mark.parametrize("place", LIMITED)
def test_no_cgroup_is_left(facts: dict[str, dict[str, Any]], place: str) -> None:
    fact = facts[place]
    assert len(fact["after"]) == 1, "the one of the builder"
    assert fact["closed"] == []
    assert fact.get("bombed", []) == []


def test_a_share_of_the_processors_is_what_there_is(facts: dict[str, dict[str, Any]]) -> None:
    with_a_quarter, with_all = facts["service"]["pace"]
    assert with_a_quarter > 1.5 * with_all


def test_a_parent_is_made_enabled_and_removed(facts: dict[str, dict[str, Any]]) -> None:
    assert facts["service"]["parent"]["code"] == 3
    assert not facts["service"]["parents"]


def test_a_limit_that_linux_refuses_is_named(facts: dict[str, dict[str, Any]]) -> None:
    assert "Linux refuses it for cpu.max" in facts["service"]["bad"]["error"]


def test_the_next_process_removes_what_a_killed_one_left(facts: dict[str, dict[str, Any]]) -> None:
    cgroups, processes = facts["service"]["killed"]["during"]
    assert len(cgroups) == 2, "the builder's, and the one of its run with a limit"
    assert len(processes) == 2
    assert facts["service"]["killed"]["after"] == [[], []]


def test_limits_of_a_run_in_the_background_are_listed(facts: dict[str, dict[str, Any]]) -> None:
    fact = facts["service"]["background"]
    assert fact["code"] == 137
    assert fact["during"].endswith("greedy: memory 32 MiB, by cgroups of version 2")
    assert fact["after"].endswith("greedy: Linux killed a process because memory ran out: the limit is 32 MiB.")


def test_a_run_in_a_run_has_limits_where_it_may_make_cgroups(facts: dict[str, dict[str, Any]]) -> None:
    plain, privileged = facts["service"]["nested"]["plain"], facts["service"]["nested"]["privileged"]
    for inner in (plain, privileged):
        assert inner["step"].startswith("Built in")
        assert inner["reached"] == [], "the limit that was reached is not the outer one"
    assert plain["guard"] == ["", "Read-only file system"]
    assert plain["memory"]["limits"] == "memory 32 MiB of each process, by rlimit"
    assert privileged["guard"][0].startswith("memory 460.8 MiB"), "nine tenths of the outer one"
    assert privileged["memory"]["text"] == "137\n"
    assert privileged["memory"]["limits"] == "memory 32 MiB, by cgroups of version 2"
    assert facts["service"]["nested left"] == []


@pytest.mark.parametrize("place", ["read-only", "nobody"])
def test_where_no_cgroup_can_be_had_that_is_said(facts: dict[str, dict[str, Any]], place: str) -> None:
    fact = facts[place]
    assert fact["guard"][1]
    assert fact["memory"]["limits"] == "memory 32 MiB of each process, by rlimit"
    assert "Limits need a cgroup, which cannot be made here: " in fact["memory"]["warnings"][0]
    for refused in ("pids", "all"):
        assert fact[refused]["error"].startswith("Limits need a cgroup, which cannot be made here: ")
        assert fact[refused]["hint"]
    assert fact["step"]["code"] == 1
    assert fact["after"] == []
