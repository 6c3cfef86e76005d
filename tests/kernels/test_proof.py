"""Notebooks are run on an image's own kernel, and what they show is compared with what is stored in them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest

from pybuild_magic.api.functions import build
from pybuild_magic.cli import main
from pybuild_magic.environments import testing
from pybuild_magic.environments.options import TestOptions
from pybuild_magic.environments.testing import verify_notebooks

from .conftest import WITH_KERNEL

pytestmark = pytest.mark.xdist_group("browser")


def written(path: Path, *cells: tuple[str, str]) -> str:
    """A notebook of cells, each with what it has printed when it was saved."""
    notebook = nbformat.v4.new_notebook()
    for number, (source, printed) in enumerate(cells, 1):
        outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []
        notebook.cells.append(nbformat.v4.new_code_cell(source, execution_count=number, outputs=outputs))
    nbformat.write(notebook, path)
    return str(path)


def test_each_cell_is_compared_with_what_it_showed(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.csv").write_text("a\n1\n")
    name = written(
        tmp_path / "work.ipynb",
        ("import os, sys; print(sys.prefix, os.getuid())", "/opt/env 1000\n"),
        ("import os; print(os.listdir('.'))", "['work.ipynb']\n"),
        ("room = bytearray(200 << 20); print(1 + 1)", "3\n"),
        ("1 / 0", ""),
        ("# NBVAL_SKIP\nprint('never')", "other\n"),
        ("print('still here')", "still here\n"),
    )
    junit = tmp_path / "results.xml"
    report = verify_notebooks([name], WITH_KERNEL, junit=str(junit))
    assert not report
    assert [cell.verdict for cell in report.cells] == ["same", "same", "differs", "error", "skipped", "same"]
    assert [cell.number for cell in report.failures] == [3, 4]
    assert report.failures[0].text.splitlines()[0] == "stdout differs"
    told = report.failures[0].text.partition("stored (+), in the image (-):\n")[2]
    assert "'3\\n' == '2\\n'" in told and "  - 2\n" in told and "  + 3" in told
    assert "ZeroDivisionError: division by zero" in report.failures[1].text
    small, large = report.cells[0].memory, report.cells[2].memory
    assert 10 << 20 < small < large - (150 << 20)
    assert "6 cells in env:1-kernel: 1 differs, 1 error, 3 same, 1 skipped." in repr(report)
    assert "ZeroDivisionError" in report._repr_html_()
    (suite,) = ET.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("6", "2", "1")
    assert main(["test", name, "--in", WITH_KERNEL, "--lax"]) == 1
    assert "1 error, 4 ran, 1 skipped." in capfd.readouterr().out


def test_what_changes_by_nature_is_sanitised(place: Path, tmp_path: Path) -> None:
    name = written(tmp_path / "work.ipynb", ("print('took', 12.5)", "took 99.1\n"))
    assert not verify_notebooks([name], WITH_KERNEL)
    rules = tmp_path / "rules.cfg"
    rules.write_text("[seconds]\nregex: [0-9]+[.][0-9]+\nreplace: SECONDS\n")
    assert verify_notebooks([name], WITH_KERNEL, sanitize_with=str(rules))


def test_what_keeps_a_cell_from_its_end_is_a_sentence(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "ends.ipynb", ("import os; os._exit(3)", ""), ("print(1)", "1\n"))
    written(tmp_path / "late.ipynb", ("while True: pass", ""), ("print(1)", "2\n"))
    written(tmp_path / "asks.ipynb", ("input()", ""))
    written(tmp_path / "sided.ipynb", ("print(1)", ""), ("1", "2\n"))
    report = verify_notebooks(["*e*.ipynb", "asks.ipynb"], WITH_KERNEL, timeout=1, junit="results.xml")
    assert [(cell.notebook, cell.verdict, cell.text.partition("\n")[0]) for cell in report.cells] == [
        ("ends.ipynb", "error", "The kernel ended while the cell ran. It may have crashed, or taken more memory than "
         "there is."),
        ("ends.ipynb", "skipped", ""),
        ("late.ipynb", "error", "The cell took longer than its time limit of 1 s."),
        ("late.ipynb", "differs", "stdout differs"),
        ("sided.ipynb", "differs", "stdout is only in the image:"),
        ("sided.ipynb", "differs", "stdout is only stored:"),
        ("asks.ipynb", "error", "The cell asks for input, which no test can give."),
    ]  # fmt: skip
    assert "KeyboardInterrupt" in report.cells[2].text
    assert report.cells[4].text == "stdout is only in the image:\n1"
    (suite,) = ET.parse(tmp_path / "results.xml").getroot()
    cases = [(case.get("classname"), case.get("name")) for case in suite]
    assert cases[:2] == [("ends.ipynb", "Cell 1"), ("ends.ipynb", "Cell 2")]
    assert [failure.text for failure in suite.iter("failure")] == [cell.text for cell in report.failures]


def test_a_cell_that_ends_before_it_is_interrupted_took_too_long_all_the_same(place: Path, tmp_path: Path) -> None:
    name = written(tmp_path / "work.ipynb", ("print(1)", "1\n"))
    report = verify_notebooks([name], WITH_KERNEL, timeout=0.001)
    (cell,) = report.cells
    assert cell.verdict == "error"
    assert cell.text.startswith("The cell took longer than its time limit of 0.001 s.")


def test_a_notebook_without_outputs_is_run_and_not_called_the_same(place: Path, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1)")])
    nbformat.write(notebook, tmp_path / "cleared.ipynb")
    report = verify_notebooks([tmp_path / "cleared.ipynb"], WITH_KERNEL)
    assert report and [cell.verdict for cell in report.cells] == ["ran"]
    assert "1 cell in env:1-kernel: 1 ran. No output was compared." in repr(report)


def test_a_kernel_that_cannot_start_is_told_with_what_it_said(place: Path, tmp_path: Path) -> None:
    broken = "raise ImportError('libstdc++.so.6: cannot open shared object file')"
    build(
        f'FROM {WITH_KERNEL}\nUSER root\nRUN echo "{broken}" > "$(echo /opt/env/lib/python3*/site-packages)/zmq.py" '
        '&& rm -r "$(echo /opt/env/lib/python3*/site-packages)/zmq"\n',
        "-",
        tags="broken:1",
        progress="quiet",
    )
    name = written(tmp_path / "work.ipynb", ("1", ""), ("2", ""))
    report = verify_notebooks([name], "broken:1")
    assert [cell.verdict for cell in report.cells] == ["error", "error"]
    lines = report.cells[0].text.splitlines()
    assert lines[0] == "The image's kernel ended before it answered."
    assert lines[-1] == "ImportError: libstdc++.so.6: cannot open shared object file"
    assert "site-packages/_pytest" not in repr(report)


def test_pytest_reads_nothing_above_the_directory_of_a_run(tmp_path: Path) -> None:
    """Whoever may write to the directory of temporary files must not put code there that is run."""
    (tmp_path / "conftest.py").write_text("raise SystemExit('somebody else was here')\n")
    root = tmp_path / "run"
    root.mkdir()
    notebook = root / "text.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("text")]), notebook)
    lines, output = testing._run(root, {notebook: "text.ipynb"}, TestOptions())
    assert lines == [] and "no tests ran" in output, output
