"""Every step of every case is CACHED for a builder that has built nothing and is given the other builder's cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.services import require
from tests.services.buildkit import Engine, fresh_engine

from . import exchange
from .builders import needs_debian
from .lab import Lab, lab
from .test_cachekeys import CASES

SOME = [*sorted(name for name, case in CASES.items() if not needs_debian(case))[::30], "copy/xattrs"]
"""Cases that are carried to BuildKit, which takes up to a second for each: `make conformance` carries them all."""


@pytest.fixture(scope="module")
def opened() -> Iterator[Lab]:
    with contextlib.ExitStack() as stack:
        yield require(lambda: stack.enter_context(lab()))


@pytest.fixture(scope="module")
def other() -> Iterator[Engine]:
    with contextlib.ExitStack() as stack:
        yield require(lambda: stack.enter_context(fresh_engine()))


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_new_store_finds_what_buildkit_has_exported(opened: Lab, name: str) -> None:
    assert exchange.from_buildkit(opened.reference, opened.newcomer, CASES[name], opened.site) == []


@pytest.mark.xdist_group("exchange")
@pytest.mark.parametrize("name", SOME)
def test_buildkit_finds_what_is_exported(opened: Lab, other: Engine, name: str) -> None:
    case = CASES[name]
    embedded = opened.embedded.builder_for(case)
    assert exchange.to_buildkit(other, opened.reference, embedded, case, opened.site) == []
