"""Real packages: the lock of a whole large environment, and a plot that the kernel of an image draws.

`make bench` (`large`) builds a large environment as root, as an ordinary user and with BuildKit, which takes minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import pytest

from pybuild_magic.api.functions import build
from pybuild_magic.dockerfile.parser import parse
from pybuild_magic.environments.configuration import configuration
from pybuild_magic.environments.freeze import freeze
from pybuild_magic.environments.index import Indexes
from pybuild_magic.environments.lock import complete
from pybuild_magic.environments.target import target
from pybuild_magic.run import run
from tests.places.image import DEBIAN

from .test_image import enter, leave

_PLOT = """\
import matplotlib.pyplot as plt, numpy as np
figure, axes = plt.subplots()
axes.plot(np.arange(20.0), np.arange(20.0) ** 2)
figure.canvas.draw()
drawn = np.asarray(figure.canvas.buffer_rgba())
plt.close(figure)
print(drawn.shape, len(np.unique(drawn)) > 10)
"""
_SHOWN = "(480, 640, 4) True\n"


def test_the_environment_of_this_kernel_is_locked_whole() -> None:
    frozen = freeze(only_imports=True, code=["import jupyterlab, matplotlib.pyplot, pandas"], name="large:1")
    assert len(frozen.environment) >= 60
    lines = str(frozen.files["requirements.txt"]).replace("\\\n", "").splitlines()
    locked = {line.partition("==")[0] for line in lines if "--hash=sha256:" in line}
    assert locked | {name.partition("-")[0] for name in _wheels(frozen.files)} >= set(frozen.environment)
    assert parse(frozen.dockerfile).stages
    assert "--require-hashes" in frozen.dockerfile and 'CMD ["jupyter", "lab"' in frozen.dockerfile


def _wheels(files: Any) -> list[str]:
    return [name.partition("/")[2].replace("_", "-") for name in files if name.startswith("wheels/")]


@pytest.fixture
def home(tmp_path: Path, shared_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    enter(tmp_path / "place", monkeypatch, shared_store)
    yield
    leave()


def recorded(site: Path, *requirements: str) -> str:
    """Write the records of distributions and of what they need, as pip does; return the Python that they are for.

    The index's metadata is enough for that, and locking them does not need their files.
    """
    python = run(DEBIAN, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").text.strip()
    with closing(Indexes(configuration())) as indexes:
        environment = complete({}, requirements, target(python), indexes)
    for name, distribution in environment.items():
        folder = site / f"{name.replace('-', '_')}-{distribution.version}.dist-info"
        folder.mkdir(parents=True)
        requires = "".join(f"Requires-Dist: {text}\n" for text in distribution.requires)
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {distribution.version}\n"
        (folder / "METADATA").write_text(head + requires)
        if name in requirements:
            (folder / "REQUESTED").write_text("")
    return python


def test_a_plot_is_drawn_by_the_kernel_of_an_image(home: None, tmp_path: Path) -> None:
    site = tmp_path / "site"
    python = recorded(site, "numpy", "matplotlib", "ipykernel")
    frozen = freeze(paths=[str(site)], name="plots:1", base=DEBIAN, python=python)
    assert "#   ipykernel matplotlib numpy\n" in frozen.dockerfile
    result = build(**frozen.arguments, progress="quiet")
    cells = [nbformat.v4.new_code_cell(_PLOT, execution_count=number) for number in (1, 2)]
    for cell, shown in zip(cells, (_SHOWN, "(1, 1, 4) False\n"), strict=True):
        cell.outputs = [nbformat.v4.new_output("stream", text=shown)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "plot.ipynb")
    report = result.test(str(tmp_path / "plot.ipynb"))
    assert [cell.verdict for cell in report.cells] == ["same", "differs"], report
