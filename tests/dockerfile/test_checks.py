"""Build checks, errors, outlines and targets: what BuildKit answers to `--call`, the embedded builder answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from pybuild_magic.builders.embedded.builder import EmbeddedBuilder
from pybuild_magic.dockerfile.rules import RULES
from pybuild_magic.images.load import load_image
from pybuild_magic.request.calls import Lint, Outline, Targets
from pybuild_magic.store import Store
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine

from .check_answers import foreign_image, ours, theirs
from .check_cases import CHECKS, ERRORS, FOREIGN, OUTLINES, Case

Ask = Callable[[str, Case], dict[str, Any]]

OURS = {
    # BuildKit marks each COPY of the circle; one place is enough to begin with.
    "stage in a circle": ("circular dependency detected on stage: a", [4]),
    "from of a bad platform": (
        'failed to parse platform a/b/c/d: "a/b/c/d" is not a platform: it has more than three parts.',
        [1],
    ),
}
"""What we say in our own way."""


@pytest.fixture(scope="module")
def ask(busybox_layout: BaseImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks an embedded builder."""
    root = tmp_path_factory.mktemp("checks")
    builder = EmbeddedBuilder(Store(root / "store"))
    load_image(builder.store, busybox_layout.path, "busybox:latest")
    (root / "foreign.tar").write_bytes(foreign_image())
    load_image(builder.store, root / "foreign.tar", FOREIGN)
    number = iter(range(10**6))
    yield lambda method, case: ours(builder, method, case, root / str(next(number)))
    builder.close()


@pytest.fixture(scope="module")
def checking(engine: Engine) -> Engine:
    """An engine that has build checks."""
    if engine.version.suite == "trixie":
        pytest.skip("Docker 26 has no build checks")
    return engine


def lines(location: dict[str, Any]) -> list[int]:
    """The lines that a location marks. BuildKit counts the lines of directives from 0."""
    return [line for each in location.get("ranges", ()) if (line := each["start"].get("line", 0))]


def found(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The warnings of an answer. BuildKit gives the names of one instruction in any order."""
    warnings = answer["warnings"] or ()
    return sorted(
        (lines(one["location"]), one["ruleName"], one["detail"], one.get("url"), one["description"]) for one in warnings
    )


def failed(answer: dict[str, Any]) -> tuple[str, list[int]]:
    """The error of an answer, and the lines it marks."""
    error = answer.get("buildError") or {"message": "", "location": {}}
    return error["message"], lines(error["location"])


@pytest.mark.parametrize("name", CHECKS)
def test_checks_find_what_buildkit_finds(checking: Engine, ask: Ask, name: str) -> None:
    case, expected = CHECKS[name], theirs(checking, "check", CHECKS)[name]
    answer = ask("check", case)
    if case.newer and found(answer) != found(expected):
        assert [(rule, at[0]) for at, rule, *_ in found(answer)] == list(case.rules)
    else:
        assert found(answer) == found(expected)
    assert failed(answer) == failed(expected)


def test_every_rule_is_violated_by_a_case(checking: Engine) -> None:
    answers = theirs(checking, "check", CHECKS).values()
    assert {one["ruleName"] for answer in answers for one in answer["warnings"] or ()} == RULES.keys()
    assert len(RULES) == 22


@pytest.mark.parametrize("name", ERRORS)
def test_mistakes_are_told_in_the_words_and_at_the_lines_of_buildkit(checking: Engine, ask: Ask, name: str) -> None:
    message, marked = failed(theirs(checking, "check", ERRORS)[name])
    ours_message, ours_marked = failed(ask("check", ERRORS[name]))
    message, marked = OURS.get(name, (message, marked))
    assert ours_message == message
    assert ours_marked == marked or not marked  # where it marks nothing, a place does no harm


@pytest.mark.parametrize("method", ["outline", "targets"])
@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_and_targets_are_buildkits(checking: Engine, ask: Ask, name: str, method: str) -> None:
    assert ask(method, OUTLINES[name]) == theirs(checking, method, OUTLINES)[name]


@pytest.mark.parametrize(
    ("method", "case"),
    [("check", CHECKS["many"]), ("outline", OUTLINES["secrets and ssh"]), ("targets", OUTLINES["stages"])],
)
def test_answers_print_as_buildx_prints_them(checking: Engine, ask: Ask, method: str, case: Case) -> None:
    done = checking.buildx_build(None, f"--call={method}", dockerfile=case.dockerfile, check=False)
    kinds: dict[str, type[Lint | Outline | Targets]] = {"check": Lint, "outline": Outline, "targets": Targets}
    printed = msgspec.convert(ask(method, case), kinds[method]).text()
    theirs_printed = re.sub(r"^/\S+/Dockerfile:", "Dockerfile:", done.stdout.strip(), flags=re.MULTILINE)
    # The last column of a table is padded by buildx.
    assert [line.rstrip() for line in printed.splitlines()] == [line.rstrip() for line in theirs_printed.splitlines()]
