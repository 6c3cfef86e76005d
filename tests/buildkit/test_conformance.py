"""Cases of the conformance table through our client: the bytes of the image are those that `docker buildx` got.

A sample, as each case is a build without cache; PYBUILD_CONFORMANCE=all has them all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pybuild_magic.api import run as api
from pybuild_magic.errors import BuildError
from pybuild_magic.request.parse import parse_options
from tests.conformance.answer import Answer, read_answer
from tests.conformance.builders import Reference, made
from tests.conformance.case import Case
from tests.conformance.lab import load_cases
from tests.conformance.server import Site, site
from tests.services.buildkit import Engine

CASES = load_cases()
SAMPLE = sorted(CASES)[:: 1 if os.environ.get("PYBUILD_CONFORMANCE") == "all" else 45]


@pytest.fixture(scope="module")
def served() -> Iterator[Site]:
    with site() as running:
        yield running


@pytest.fixture(scope="module")
def reference(engine: Engine, debian: object) -> Reference:
    return Reference(engine)


def build(case: Case, served: Site) -> Answer:
    with made(case, served, case.instead) as (arguments, archive):
        environ = {**os.environ, "SOURCE_DATE_EPOCH": str(case.epoch)}
        try:
            flags = ["--builder", "docker://", "--provenance=mode=max", *arguments]
            api.run(parse_options(flags, environ=environ))
        except BuildError as error:
            where = error.location
            return Answer(error=error.message, lines=list(range(where.start, where.end + 1)) if where else [])
        return read_answer(archive, multi="MULTI_PLATFORM" in case.flags)


@pytest.mark.parametrize("name", SAMPLE)
def test_an_image_is_the_one_that_buildx_gets(reference: Reference, served: Site, name: str) -> None:
    case = CASES[name]
    theirs, ours = reference.answer(case, served), build(case, served)
    assert bool(ours.error) == bool(theirs.error), (theirs.error, ours.error)
    assert [image.digest for image in ours.images] == [image.digest for image in theirs.images]
    assert ours.index == theirs.index
