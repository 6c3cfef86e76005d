"""After a change the same steps run again as in BuildKit, under the same names and in the same order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.services import require

from . import pairs, table
from .pair import PAIRS, Batch, batches
from .rebuild import Bench, bench
from .trace import differing

BATCHES = {pair.name: batch for batch in batches() for pair in batch.pairs}
assert pairs


def _group(batch: Batch) -> pytest.MarkDecorator:
    """A batch is built once, by one worker."""
    return pytest.mark.xdist_group(f"rebuild-{batch.pairs[0].name}")


@pytest.fixture(scope="module")
def opened() -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        found = require(lambda: stack.enter_context(bench()))
        if found.reference.suite != table.recorded_suite():
            pytest.skip(f"an older front end names vertices otherwise: {found.reference.version}")
        yield found


@pytest.mark.parametrize("name", [pytest.param(name, marks=_group(batch)) for name, batch in BATCHES.items()])
def test_the_second_build_runs_what_buildkit_runs(opened: Bench, name: str) -> None:
    theirs, ours = opened.traces(BATCHES[name])
    diff = differing(PAIRS[name], theirs, ours)
    assert bool(diff) == bool(PAIRS[name].note), "\n".join(["- BuildKit, + embedded builder", *diff])
    assert not [step for trace in theirs for step in trace.early], "BuildKit itself does not wait for what a step reads"


@_group(batches()[0])
def test_the_pairs_tell_steps_that_run_from_those_that_do_not(opened: Bench) -> None:
    """Each kind of outcome is there: a table in which all is CACHED, or nothing, would hold nothing."""
    cached = {True: 0, False: 0}
    for batch in batches()[:1]:
        _, second = opened.traces(batch)[0]
        for step in second.steps:
            cached[step.cached] += 1
    assert cached[True] > 10
    assert cached[False] > 10
