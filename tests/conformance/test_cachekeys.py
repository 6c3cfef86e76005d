"""What the embedded builder exports as a cache of a case has the keys that BuildKit's export has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.services import require

from . import cachekeys
from .lab import Lab, lab, load_cases

CASES = {name: case for name, case in load_cases().items() if not case.instead}
"""Without those of which the engine builds something else."""


@pytest.fixture(scope="module")
def opened() -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        yield require(lambda: stack.enter_context(lab()))


@pytest.mark.parametrize("name", sorted(CASES))
def test_each_finds_the_steps_of_the_other(opened: Lab, name: str) -> None:
    case = CASES[name]
    theirs = cachekeys.theirs(opened.reference, case, opened.site)
    if theirs is None:
        return  # refused, as the comparison of answers holds
    ours = cachekeys.ours(opened.embedded.builder_for(case), case, opened.site)
    assert not cachekeys.differing(theirs, ours)
