"""The functions of `pybuild_magic`: a check without a build, a build that goes on by itself, and what help tells."""

from __future__ import annotations

import inspect

import pytest

import pybuild_magic
from pybuild_magic import BuildResult
from pybuild_magic.api.run import run
from pybuild_magic.builders import embedded_builder
from pybuild_magic.errors import BuildError
from pybuild_magic.request.options import BuildOptions
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.status.trace import Trace
from pybuild_magic.store import Store
from pybuild_magic.store.usage import prune

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
    with pytest.raises(BuildError, match=r"has no argument 'tag'. Did you mean tags\?"):
        pybuild_magic.build("FROM scratch\n", tag="x")  # pyright: ignore[reportCallIssue]


class Recorder:
    """A display that notes how it was finished."""

    def __init__(self) -> None:
        self.finished: list[BuildError | None] = []

    def update(self, status: SolveStatus) -> None: ...

    def tick(self, trace: Trace) -> None: ...

    def finish(self, trace: Trace, error: BuildError | None, result: object = None) -> None:
        self.finished.append(error)


@pytest.mark.parametrize(
    "options",
    [
        BuildOptions(dockerfile="FROM scratch", context="/nowhere/at/all"),
        BuildOptions(dockerfile="FROM scratch", builder="ftp://nowhere"),
        BuildOptions(dockerfile="FROM scratch", context="-", policies=("p",)),
        BuildOptions(dockerfile="FROM scratch", context="-", iidfile="/nowhere/at/all"),
    ],
)
def test_a_display_is_finished_also_when_nothing_was_begun(options: BuildOptions) -> None:
    progress = Recorder()
    with pytest.raises(BuildError) as caught:
        run(options, progress)
    assert progress.finished == [caught.value]


def test_a_prune_elsewhere_right_after_a_build_does_not_make_it_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    store = embedded_builder().store
    leave = store.leases.leave

    def leave_and_be_pruned() -> None:
        leave()
        if not store.leases.held:
            with Store(store.root) as other:
                prune(other, all=True)

    monkeypatch.setattr(store.leases, "leave", leave_and_be_pruned)
    result = run(BuildOptions(dockerfile="FROM scratch\nCOPY <<E /pruned\nat once\nE\n", context="-"))
    assert result.vertexes
