"""The functions of `pybuild_magic`: a check without a build, a build that goes on by itself, and what help tells."""

from __future__ import annotations

import inspect

import pytest

import pybuild_magic
from pybuild_magic import BuildResult
from pybuild_magic.errors import BuildError

pytestmark = pytest.mark.usefixtures("home")


def test_a_check_finds_what_the_flag_finds_and_builds_nothing() -> None:
    found = pybuild_magic.check("FROM scratch as x\nCOPY nothing /\n", {}, tags="never")
    rules = [(one.rule_name, one.location.line) for one in found.sorted_warnings]
    assert ("FromAsCasing", 1) in rules
    assert found.error is None
    assert not pybuild_magic.check("FROM scratch\nCOPY a /\n", {"a": "x"}).warnings


def test_a_build_in_the_background_is_waited_for_and_tells_its_error() -> None:
    handle = pybuild_magic.build("FROM scratch\nCOPY a /\n", {"a": "x"}, background=True)
    result = handle.wait()
    assert isinstance(result, BuildResult)
    assert handle.done
    failed = pybuild_magic.build("FROM scratch\nCOPY b /\n", {"a": "x"}, background=True)
    with pytest.raises(BuildError, match="/b"):
        failed.wait()


def test_help_names_every_argument_and_others_are_refused() -> None:
    for function in (pybuild_magic.build, pybuild_magic.check):
        assert {"dockerfile", "tags", "build_args", "platforms"} <= set(inspect.signature(function).parameters)
    assert "background" in inspect.signature(pybuild_magic.build).parameters
    with pytest.raises(TypeError, match="tag"):
        pybuild_magic.build("FROM scratch\n", tag="x")  # pyright: ignore[reportCallIssue]
