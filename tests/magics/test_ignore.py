"""`%build ignore`, and the builds that tell of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybuild_magic.display.service import NeedsKeyError, service
from pybuild_magic.errors import UsageError

from .conftest import Shell


def test_a_large_copy_tells_what_it_is_and_one_command_leaves_it_out(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = tmp_path / "context"
    context.mkdir()
    monkeypatch.chdir(context)
    for path, size in ((".git/objects/pack", 60), ("data/set.csv", 45), ("nb/.ipynb_checkpoints/a.ipynb", 1)):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        with (context / path).open("wb") as file:
            file.truncate(size * 1_000_000)
    (context / "app.py").write_text("x")
    shell.run("%%build --progress=plain .\nFROM scratch\nCOPY . .\n")
    largest = ".git/objects (60 MB), data (45 MB), nb/.ipynb_checkpoints (1 MB)"
    assert f"Copying 106 MB, most of it in {largest}." in shell.err
    assert "`%build ignore` leaves out .git (60 MB), **/.ipynb_checkpoints (1 MB)." in shell.err
    said = repr(shell.run("%build ignore"))
    assert "Added .git   60.0 MB" in said and "Data, which stays in: data 45.0 MB" in said
    assert Path(".dockerignore").read_text() == ".git\n**/.ipynb_checkpoints\n"
    assert "Added" not in repr(shell.run("%build ignore"))
    result = shell.run("%%build --progress=plain -o type=local,dest=out .\nFROM scratch\nCOPY . .\n")
    assert "Copying 1" not in shell.err and "%build ignore" not in shell.err
    assert result is not None
    assert sorted(path.name for path in Path("out").iterdir()) == [".dockerignore", "app.py", "data", "nb"]


def test_patterns_are_added_to_what_is_there(shell: Shell) -> None:
    Path(".dockerignore").write_bytes(b"# mine\r\n*.env")
    assert "leaves out *.env, data, **/x." in repr(shell.run("%build ignore data **/x *.env"))
    assert Path(".dockerignore").read_bytes() == b"# mine\r\n*.env\ndata\n**/x\n"
    assert isinstance(shell.fail("%build ignore --all"), UsageError)


def test_the_context_of_a_build_elsewhere_is_meant(shell: Shell, tmp_path: Path) -> None:
    context = tmp_path / "my context"
    (context / "__pycache__").mkdir(parents=True)
    with (context / "__pycache__/x.pyc").open("wb") as file:
        file.truncate(101_000_000)
    shell.run(f"%%build --progress=plain '{context}'\nFROM scratch\nCOPY . .\n")
    [command] = [text for text in shell.err.split("`") if text.startswith("%build ignore")]
    assert command == "%build ignore --context 'my context'"
    assert "Added **/__pycache__   101.0 MB" in repr(shell.run(command))
    assert (context / ".dockerignore").read_text() == "**/__pycache__\n"
    assert not Path(".dockerignore").exists()
    assert "is not a directory" in str(shell.fail("%build ignore --context nowhere"))


def test_the_page_leaves_out_what_it_is_told(tmp_path: Path) -> None:
    """With the kernel's key alone."""
    page = service()
    params = {"context": str(tmp_path), "patterns": ["data", 7]}
    with pytest.raises(NeedsKeyError):
        page.answer("", "ignore", params)
    assert not list(tmp_path.iterdir())
    answer, _ = page.answer("", "ignore", params, page.key)
    assert answer["patterns"] == ("data",)
    assert (tmp_path / ".dockerignore").read_text() == "data\n"


def test_a_dockerfile_with_a_dockerignore_of_its_own_has_that_changed(shell: Shell) -> None:
    """Its builds do not read the context's."""
    Path("own.Dockerfile").write_text("FROM scratch\nCOPY . .\n")
    Path("data").mkdir()
    Path("data/x").touch()
    assert "Added data" in repr(shell.run("%build ignore -f own.Dockerfile data"))
    assert Path(".dockerignore").read_text() == "data\n"
    Path("own.Dockerfile.dockerignore").touch()
    told = repr(shell.run("%build ignore -f own.Dockerfile data ipython"))  # IPython's own files change meanwhile
    assert "own.Dockerfile.dockerignore leaves out data, ipython" in told
    Path(".dockerignore").unlink()
    shell.run("%build -f own.Dockerfile --output out .")
    assert not Path("out/data").exists() and Path("out/own.Dockerfile").exists()
