"""The pages say what is there: files and names of the code, and the lines of commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pybuild_magic.notebook.bake_command import targets
from pybuild_magic.notebook.command import Syntax
from pybuild_magic.notebook.commands import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = [
    ROOT,
    ROOT / "pybuild_magic",
    *(ROOT / "pybuild_magic" / name for name in ("builders/embedded", "builders/embedded/sandbox")),
    ROOT / "labextension" / "src" / "components" / "result",
]
EXAMPLES = {"app.py", "pylock.toml", "pylock.sources.toml"}
"""Files of Dockerfiles and locks that a page explains."""
CODE = re.compile(r"`([^`\n]+)`")
NAME = re.compile(r"_?[a-z]+(?:_[a-z]+)+|_[a-zA-Z]+|_?[A-Z]+_[A-Z]+")
FILE = re.compile(r"([\w/.-]+\.(?:py|ts|md|toml))(?:::?(\w+)(?:\.(\w+))?)?")


def mentioned(page: Path) -> set[tuple[str, str]]:
    """The files in code spans, each with the name in it that is asked for."""
    spans = CODE.findall(re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL))
    found = (FILE.fullmatch(word) for span in spans for word in span.split())
    return {(match[1], match[3] or match[2] or "") for match in found if match}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_mentioned_exists(page: Path) -> None:
    for name, symbol in mentioned(page):
        if name in EXAMPLES or "NAME" in name:
            continue
        paths = [folder / name for folder in FOLDERS if (folder / name).is_file()]
        assert paths, f"{page.name} mentions {name}, which is not there"
        assert re.search(rf"\b{symbol}\b", paths[0].read_text("utf-8")), f"{name} has no {symbol}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_of_code_that_is_mentioned_is_written_somewhere(page: Path) -> None:
    """A constant or a function in code style, such as `FLAGS` or `compile_request`, is one that the code has."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    spans = CODE.findall(text)
    names = {span for span in spans if NAME.fullmatch(span)}
    folders = (ROOT / "pybuild_magic", ROOT / "docs")
    code = "\n".join(path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py"))
    missing = {name for name in names if not re.search(rf"\b{re.escape(name)}\b", code)}
    assert not missing, f"{page.name} mentions {sorted(missing)}, which the code does not have"


def commands_in(page: str) -> dict[str, str]:
    """Return the commands in the README's table, each with what its line takes; "" where only the name is there."""
    rows = re.findall(r"^\| (`%(?:\\\||[^|])*) \|", page, flags=re.MULTILINE)
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row.replace("\\|", "|"))]
    lines: dict[str, str] = {}
    for span in spans:
        name, _, rest = span.removeprefix("%build ").partition(" ")
        if rest and name in COMMANDS and COMMANDS[name].words:
            word, _, rest = rest.partition(" ")
            name = f"{name} {word}"
        lines[name] = rest
    return lines


def test_the_readme_lists_all_commands_with_what_they_take() -> None:
    lines = commands_in((ROOT / "README.md").read_text("utf-8"))
    assert lines.pop("-f") == "Dockerfile ."
    assert {name.partition(" ")[0] for name in lines} == {*COMMANDS, "%bake"}
    known: dict[str, Syntax] = {**COMMANDS, "%bake": targets}
    known |= {f"{name} {word}": own for name, command in COMMANDS.items() for word, own in command.words.items()}
    assert {name: rest for name, rest in lines.items() if rest} == {
        name: known[name].line for name, rest in lines.items() if rest
    }
    assert len([rest for rest in lines.values() if rest]) > 20


def test_pages_mention_files() -> None:
    assert sum(len(mentioned(page)) for page in PAGES) > 60
