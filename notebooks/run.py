"""Run a notebook from top to bottom and show the results of its builds, as `make demo` does.

`python notebooks/run.py NOTEBOOK` saves the notebook with its results as HTML in build/demo. With `--store` it builds
in a fresh store and saves the results in the notebook itself, as in the repository.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets.config import Config


def execute(source: Path, **metadata: str) -> Any:
    """Return the notebook after running it in its own directory; `metadata` is sent with each cell."""
    notebook = nbformat.read(source, as_version=4)
    resources = {"metadata": {"path": str(source.parent)}}
    config = Config({"Session": {"metadata": metadata}})
    ExecutePreprocessor(timeout=600, kernel_name="python3", config=config).preprocess(notebook, resources)
    # Results are static, so the widgets that showed the builds as they ran do not belong in the file.
    notebook.metadata.pop("widgets", None)
    return notebook


def demo(source: Path) -> None:
    """Execute the notebook, write `build/demo/NAME.html`, and print the answer of each build."""
    target = Path("build/demo") / source.with_suffix(".html").name
    target.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    notebook = execute(source, cellId="demo")  # see `store`
    seconds = time.monotonic() - began
    html, _ = HTMLExporter().from_notebook_node(notebook)
    target.write_text(html)
    print(f"{source.name}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} cells in {seconds:.1f} s\n")
    for cell in notebook.cells:
        if cell.cell_type == "code" and re.match(r"%%build|%build", cell.source):
            print(f"  {cell.source.splitlines()[0]}")
            for output in cell.outputs:
                text = output.get("data", {}).get("text/plain", "")
                print("".join(f"      {line}\n" for line in text.splitlines()), end="")
    print(f"\nThe notebook with its results: {os.path.relpath(target)}")


def store(source: Path) -> None:
    """Execute the notebook in a fresh store, and save the results in it."""
    shutil.rmtree(source.parent / "out", ignore_errors=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["PYBUILD_HOME"] = home
        # JupyterLab sends this, too: an error that a card shows is then not shown a second time.
        notebook = execute(source, cellId="stored")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, source)


if __name__ == "__main__":
    (store if "--store" in sys.argv else demo)(Path(sys.argv[1]))
