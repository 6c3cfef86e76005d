"""The stored notebooks: small, with few cards, each at a tab that there is, and with an exercise at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.summary import MIME_TYPE, TABS

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))


def _is_compact(card: dict[str, Any]) -> bool:
    """Whether a page shows the card of a build that found everything in the cache, as one line."""
    steps = [step for step in card["vertexes"] if step.get("kind") in ("exec", "file")]
    return not card.get("view") and not card.get("error") and all(step.get("cached") for step in steps)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_small_and_ends_with_an_exercise(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert max(len(json.dumps(cell.get("outputs", []))) for cell in cells) <= 200_000
    cards = [output["data"].get(MIME_TYPE) for cell in cells for output in cell.get("outputs", ()) if "data" in output]
    full = [card for card in cards if card and not _is_compact(card)]
    assert 1 <= len(full) <= 4
    assert all(card.get("view", TABS[0]) in TABS for card in full)
    last = "".join(next(cell for cell in reversed(cells) if cell["cell_type"] == "markdown")["source"])
    assert "## Exercise" in last and "<details><summary>Answer</summary>" in last
