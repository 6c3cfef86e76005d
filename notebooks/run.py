"""Run a notebook from top to bottom, keep it as HTML, and say what its builds made: what `make demo` does."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor


def main(source: Path) -> int:
    """Execute `source` in its own directory and write `build/demo/NAME.html`; the exit code."""
    target = Path("build/demo") / source.with_suffix(".html").name
    target.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(source, as_version=4)
    began = time.monotonic()
    ExecutePreprocessor(timeout=600, kernel_name="python3").preprocess(
        notebook, {"metadata": {"path": str(source.parent)}}
    )
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
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
