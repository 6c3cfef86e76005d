"""`%build env` and `%build test` in a notebook, and `pybuild env` in a terminal."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from pybuild_magic.environments import freeze as freezing
from pybuild_magic.errors import BuildError, UsageError
from pybuild_magic.notebook import environment_commands
from pybuild_magic.notebook.environment_commands import environment

from .conftest import Install
from .index import LocalIndex


class Shell:
    """What the commands take of IPython's shell."""

    def __init__(self, **names: Any) -> None:
        self.user_ns: dict[str, Any] = names
        self.real = InteractiveShell()
        self.history_manager = self.real.history_manager
        self.cell = ""

    def set_next_input(self, text: str, replace: bool = False) -> None:
        self.cell = text


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, site: Path) -> Shell:
    """A notebook in which the environment is that of `site`."""
    found = Shell()
    monkeypatch.setattr(InteractiveShell, "instance", lambda: found)
    monkeypatch.setattr("IPython.get_ipython", lambda: found)
    everything = freezing.installed
    monkeypatch.setattr(freezing, "installed", lambda paths: everything(paths or [str(site)]))
    monkeypatch.setattr(freezing, "providers", lambda *_: {"app": ["app"]})
    monkeypatch.setattr(environment_commands, "_own_variables", set())
    return found


def test_the_next_cell_builds_the_kernels_environment(shell: Shell, install: Install, index: LocalIndex) -> None:
    for name in ("app", "other"):
        install(name, "1")
        index.add(name, "1")
    shell.user_ns["files"] = "the user's own"
    said = repr(environment(["mine:2"]))
    assert "4 distributions, 2 of them requested directly. The next cell builds it; $files2 are its files." in said
    assert shell.user_ns["files"] == "the user's own"
    assert shell.cell.startswith("%%build -t mine:2 ")
    assert shell.cell.partition("\n")[0].endswith(" $files2")
    assert list(shell.user_ns["files2"]) == ["requirements.txt"]


@pytest.mark.parametrize("cell", ["import app", "%%time\nimport app", "a = %time __import__('app')"])
def test_only_what_this_notebook_has_imported_is_kept(
    shell: Shell, install: Install, index: LocalIndex, cell: str
) -> None:
    for name in ("app", "other"):
        install(name, "1")
        index.add(name, "1")
    shell.real.run_cell(cell, store_history=True)
    environment(["--only-imports"])
    assert "app==1" in shell.user_ns["files"]["requirements.txt"]
    assert "other" not in shell.user_ns["files"]["requirements.txt"]


def test_what_is_written_is_told_with_the_command_that_builds_it(
    shell: Shell, index: LocalIndex, tmp_path: Path
) -> None:
    words = ["mine:2", "--write", str(tmp_path / "its place")]
    said = repr(environment(words))
    flags = shell.cell.partition("\n")[0].removeprefix("%%build ").removesuffix(" $files")
    assert f"Written to {words[2]}; in a terminal: pybuild build {flags} '{words[2]}'\n" in f"{said}\n"
    assert (tmp_path / "its place" / "Dockerfile").read_text() == shell.cell.partition("\n")[2]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a", "b"], "takes one name"),
        (["--pip", "--uv"], "--pip and --uv exclude each other"),
        (["--pyton", "3.12"], "Did you mean --python"),
    ],
)
def test_a_line_that_cannot_be_is_a_sentence(shell: Shell, words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        environment(words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a.ipynb"], "takes --in REF"),
        (["--in", "env"], "takes notebooks"),
        (["no.ipynb", "--in", "env"], "The notebook no.ipynb cannot be read: No such file"),
        (["no*.ipynb", "--in", "env"], "No notebook matches no"),
        *(
            (["a.ipynb", "--in", "env", "--timeout", word], f"{word} is not a number of seconds above zero")
            for word in ("soon", "nan", "inf", "0", "-5")
        ),
        (["a.ipynb", "--in", "env", "--junit", "/dev/null/a.xml"], "--junit /dev/null/a.xml cannot be written"),
        (["a.ipynb", "--in", "env", "--sanitize-with", "gone.cfg"], "--sanitize-with gone.cfg is not a file"),
    ],
)
def test_a_test_that_cannot_be_is_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(BuildError, match=sentence):
        environment_commands.test(words)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"cells": ', "is not a notebook. Give an .ipynb file of format 4.$"),
        ('{"cells": [], "metadata": []}', "is not a notebook"),
        (
            '{"cells": [{"cell_type": "code", "source": "1"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
            "a.ipynb is not a valid notebook: .* missing an expected key: metadata. Save it in Jupyter.",
        ),
    ],
)
def test_a_test_of_no_notebook_is_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        environment_commands.test([str(path), "--in", "env"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[dates]\nregex: (\nreplace: x\n", "bad.cfg has '\\(', no regular expression: missing \\)"),
        ("regex = x\n", "bad.cfg has no replacements"),
    ],
)
def test_a_bad_replacement_is_told_before_any_kernel_starts(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.cfg").write_text(text)
    with pytest.raises(BuildError, match=sentence):
        environment_commands.test(["a.ipynb", "--in", "env", "--sanitize-with", "bad.cfg"])


def test_a_terminal_gets_the_dockerfile_alone(index: LocalIndex, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text("import packaging\n")
    index.add("packaging", _version("packaging"))
    for name in ("ipykernel", "comm"):
        index.files[name].clear()
    for each in freezing.closure(["ipykernel"], freezing.installed(), freezing.target()).values():
        index.add(each.name, each.version)
    done = subprocess.run(
        [sys.executable, "-m", "pybuild_magic", "env", "--notebook", "work.py", "app:1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# Python 3.")
    assert "#   packaging\n" in done.stdout
    assert done.stderr == "Its files are requirements.txt: write them with --write DIR.\n"


def _version(name: str) -> str:
    return freezing.installed()[name].version
