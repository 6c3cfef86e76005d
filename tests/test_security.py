"""SECURITY.md: every claim names a test that holds it, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")
CLAIMS = re.findall(r"^- (.*?)(?=^- |^#|^\||\Z)", TEXT, re.MULTILINE | re.DOTALL)
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim[:40].replace("\n", " "))
def test_every_claim_names_a_test(claim: str) -> None:
    assert re.search(r"`tests/[\w/]+\.py::test_\w+`", claim)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_are_claims() -> None:
    assert len(CLAIMS) >= 20
    assert len(NAMED) > 40
