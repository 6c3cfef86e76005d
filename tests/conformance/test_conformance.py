"""Every case reaches the levels that README.md records, against a real BuildKit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.services import require

from . import table
from .lab import Lab, lab, load_cases

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
    lost = [level for level, equal in RECORDED[name].items() if equal and not verdict.marks.get(level)]
    assert not lost, f"lost: {', '.join(lost)}\n{verdict.report}"
