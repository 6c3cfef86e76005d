"""`%build repo`: the Dockerfile of a repository in the next cell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from pybuild_magic.errors import SourceError, UsageError
from pybuild_magic.notebook.completion import complete
from tests.conformance.server import serving

from .conftest import Shell


def test_the_next_cell_builds_the_repository(shell: Shell, tmp_path: Path) -> None:
    root = tmp_path / "My Project"
    root.mkdir()
    (root / "Dockerfile").write_text("FROM scratch\nCOPY . /code\n")
    (root / "apt.txt").write_text("file\n")
    table = shell.run("%build repo 'My Project'")
    assert table.rows == (
        ("Dockerfile", "used", "it is the Dockerfile, used as it is"),
        ("apt.txt", "not used", "Dockerfile says everything"),
    )
    cell = shell.ip.rl_next_input
    assert cell == "%%build -t my-project 'My Project'\nFROM scratch\nCOPY . /code\n"
    shell.run(cell)
    assert "code/apt.txt" in {file.path for file in shell.run("%build inspect my-project").files}


def test_a_list_makes_no_cell(shell: Shell, tmp_path: Path) -> None:
    shell.ip.rl_next_input = None
    (tmp_path / "requirements.txt").write_text("-e .\n")
    table = shell.run("%build repo --list")
    assert table.rows == (("requirements.txt", "used", "installed by pip, after the code is copied: it installs ."),)
    assert shell.ip.rl_next_input is None
    assert "<table" in table._repr_html_()


def test_flags_are_those_of_a_build(shell: Shell, tmp_path: Path) -> None:
    shell.run("%build repo -t mine:1 --base my/base .")
    assert shell.ip.rl_next_input.startswith("%%build -t mine:1 .\n# Made by")
    assert "\nFROM my/base\n" in shell.ip.rl_next_input
    assert isinstance(shell.fail("%build repo one two"), UsageError)
    assert "Did you mean --list?" in str(shell.fail("%build repo --lst"))
    assert isinstance(shell.fail("%build repo --base 'UPPER CASE' ."), UsageError)


def test_a_url_is_fetched_as_a_build_fetches_its_context(shell: Shell, tmp_path: Path) -> None:
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
    root = tmp_path / "work"
    (root / "part/binder").mkdir(parents=True)
    (root / "part/binder/apt.txt").write_text("file\n")
    (root / "part/binder/requirements.txt").symlink_to("../../../etc/passwd")
    for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "one")):
        subprocess.run([*git, *words], cwd=root, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(root), str(tmp_path / "shop.git")], check=True)
    with serving(("127.0.0.1", 0), tmp_path, {}) as url:
        shell.run(f"%build repo {url}/git/shop")
        assert shell.ip.rl_next_input.startswith(f"%%build -t shop {url}/git/shop.git\n")
        assert "leads out of the repository" in str(shell.fail(f"%build repo {url}/git/shop.git#main:part"))
        (root / "part/binder/requirements.txt").unlink()
        (root / "part/binder/requirements.txt").write_text("toml\n")
        for words in (("add", "-A"), ("commit", "-qm", "two"), ("push", "-q", str(tmp_path / "shop.git"), "main")):
            subprocess.run([*git, *words], cwd=root, check=True)
        table = shell.run(f"%build repo {url}/git/shop.git#main:part")
        assert [row[0] for row in table.rows] == ["binder/requirements.txt", "binder/apt.txt"]
        assert shell.ip.rl_next_input.startswith(f"%%build -t part '{url}/git/shop.git#main:part'\n")
        assert isinstance(shell.fail(f"%build repo {url}/git/other"), SourceError)
    shutil.rmtree(root)


def test_a_command_s_own_flags_are_offered(shell: Shell) -> None:
    def offered(line: str) -> list[str]:
        return [completion.text for completion in complete(line, len(line), shell.ip)["completions"]]

    assert sorted(offered("%build repo --")) == ["--base", "--list", "--secret", "--ssh", "--tag"]
    assert offered("%build repo . --l") == ["--list"]
    assert "--entrypoint" in offered("%build run --e")
    assert "--label" in offered("%build --l")
