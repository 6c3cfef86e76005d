"""Run a notebook from top to bottom and show what its builds made: what `make demo` does.

`python notebooks/run.py NOTEBOOK` keeps the notebook with its results as HTML in build/demo; with `--store` it keeps
them in the notebook itself, built in a fresh store, as the repository has it.
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
    """The notebook, run in its own directory; `metadata` is sent with each of its cells."""
    notebook = nbformat.read(source, as_version=4)
    resources = {"metadata": {"path": str(source.parent)}}
    config = Config({"Session": {"metadata": metadata}})
    ExecutePreprocessor(timeout=600, kernel_name="python3", config=config).preprocess(notebook, resources)
    # Results are static; the widgets that showed the builds while they ran have no business in the file.
    notebook.metadata.pop("widgets", None)
    return notebook


def demo(source: Path) -> None:
    """Execute, write `build/demo/NAME.html`, and print what each build answered."""
    target = Path("build/demo") / source.with_suffix(".html").name
    target.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    notebook = execute(source)
    seconds = time.monotonic() - began
    html, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
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
    """Execute in a fresh store, and keep the results in the notebook."""
    shutil.rmtree(source.parent / "out", ignore_errors=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["PYBUILD_HOME"] = home
        # As JupyterLab sends its cells: an error that a card tells is not told a second time.
        notebook = execute(source, cellId="stored")
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, source)


if __name__ == "__main__":
    (store if "--store" in sys.argv else demo)(Path(sys.argv[1]))
