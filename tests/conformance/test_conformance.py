"""Every case reaches the levels that README.md records, against a real BuildKit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.services import require

from . import table
from .lab import Lab, lab, load_cases
from .rungs import EXPLAINED, RUNGS, has_run

CASES = load_cases()
RECORDED = table.recorded()


@pytest.fixture(scope="module")
def opened() -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        found = require(lambda: stack.enter_context(lab()))
        if found.reference.suite != table.recorded_suite():
            # On a day when the newest Docker cannot be installed there is an older one, with an older front end.
            pytest.skip(f"the table is not about {found.reference.version}: `make conformance` compares with it")
        yield found


@pytest.mark.parametrize("name", sorted(CASES))
def test_no_level_is_lost(opened: Lab, name: str) -> None:
    assert name in RECORDED, "the case is not in the table: run `make conformance`"
    verdict = opened.check(CASES[name])
    lost = table.lost(RECORDED[name], verdict.marks)
    assert not lost, f"lost: {', '.join(lost)}\n{verdict.report}"


@pytest.mark.parametrize("name", sorted(name for name, case in CASES.items() if has_run(case)))
def test_every_rung_makes_the_same_image(opened: Lab, name: str) -> None:
    for rung in RUNGS:
        if f"rung {rung}" in RECORDED[name] and rung not in EXPLAINED.get(name, {}):
            verdict = opened.check_on(CASES[name], rung)
            assert not table.lost(RECORDED[name], verdict.marks), f"on rung {rung}: {verdict.report}"


def test_what_differs_on_a_rung_is_explained() -> None:
    differing = {
        (name, rung) for name, marks in RECORDED.items() for rung in RUNGS if marks.get(f"rung {rung}") is False
    }
    assert differing == {(name, rung) for name, rungs in EXPLAINED.items() for rung in rungs}
