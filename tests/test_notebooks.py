"""The stored notebooks: small, with few cards, each at a tab that there is, and with an exercise at the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert.preprocessors import ExecutePreprocessor

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


def test_a_card_s_error_is_told_once() -> None:
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            outputs = cell.get("outputs", ())
            if any(output.get("data", {}).get(MIME_TYPE, {}).get("error") for output in outputs):
                told = [line for output in outputs for line in output.get("traceback", ())]
                assert [line.partition(": ")[2] for line in told] == ["see above."], path.name


def test_exporters_are_run_again_where_an_earlier_run_has_left_its_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter adds to a layout that is there; the notebook compares the layout with an archive."""
    source = next(path for path in NOTEBOOKS if path.stem == "02-exporters")
    shutil.copy(source.with_name("base.py"), tmp_path)
    left = tmp_path / "out" / "02" / "layout" / "blobs" / "sha256" / ("0" * 64)
    left.parent.mkdir(parents=True)
    left.write_text("of an earlier run")
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    notebook = nbformat.read(source, as_version=4)
    ExecutePreprocessor(timeout=600, kernel_name="python3").preprocess(notebook, {"metadata": {"path": str(tmp_path)}})
    assert not left.exists()
