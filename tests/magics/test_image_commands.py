"""`%build slim`, `%build diff` and `%build share` in a notebook."""

from __future__ import annotations

import pytest

from pybuild_magic.errors import StoreError, UsageError

from .conftest import Shell


def test_images_are_weighed_compared_and_shared(shell: Shell) -> None:
    shell.run("%%build -t pair:1 -\nFROM scratch\nCOPY <<EOF /root/.cache/pip/a\n" + ("x" * 99 + "\n") * 2000 + "EOF\n")
    shell.run("%%build -t pair:2 -\nFROM scratch\nCOPY <<EOF /a\na\nEOF\nEXPOSE 80\n")
    weighed = shell.run("%build slim pair:1")
    assert [row.what for row in weighed.rows] == ["cache of pip"]
    assert "cache of pip (1 file)" in shell.out
    assert "<table" in weighed._repr_html_()
    assert "nothing significant" in repr(shell.run("%build slim --platform linux/amd64 pair:2"))
    compared = shell.run("%build diff pair:1 pair:2")
    assert [change.key for change in compared.files.config] == ["ExposedPorts 80/tcp"]
    assert "D  −200.0 kB  /root/.cache/pip/a" in shell.out
    assert "ExposedPorts 80/tcp: (none) → yes" in shell.out
    assert "docker run --rm -p 80:80 pair:2" in repr(shell.run("%build share pair:2"))


def test_an_image_without_python_or_a_system_is_nothing_special(shell: Shell) -> None:
    shell.run("%%build -q -t one --into one -\nFROM scratch\nCOPY <<EOF /hello\nhello\nEOF\n")
    shell.run("%%build -q -t two -\nFROM one\nCOPY <<EOF /hello\nhi\nEOF\n")
    assert repr(shell.run("%build slim $one")) == "one:latest: nothing significant can be saved in 6 B of files"
    text = repr(shell.run("%build diff $one two"))
    assert text.startswith("Packages: none in either image\nFiles: 0 added, 1 changed, 0 removed;")
    assert "M       −3 B  /hello" in text
    assert "Packages: none in either image" in shell.run("%build diff one two")._repr_html_()


def test_a_directory_that_comes_or_goes_is_one_row_where_there_are_many(shell: Shell) -> None:
    shell.names["files"] = {f"data/{n % 10}/{n}.txt": b"text" for n in range(2000)}
    shell.run("%%build -q -t few -\nFROM scratch\nCOPY <<EOF /own\n\nEOF\n")
    shell.run("%%build -q -t lots $files\nFROM few\nCOPY data /srv/data\nCOPY data/3 /three\n")
    found = shell.run("%build diff few lots")
    assert "  A   +8.00 kB  /srv/ (2,012 paths)\n" in repr(found)
    assert "  A     +800 B  /three/ (201 paths)\n" in repr(found)
    assert "0.txt" not in repr(found)
    assert "2,012 paths" in found._repr_html_() and "0.txt" not in found._repr_html_()
    assert "D     −800 B  /three/ (201 paths)" in repr(shell.run("%build diff lots few"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("slim @failed", "@failed is what a failed step left, and no image. `%build run @failed sh` opens a shell"),
        ("diff one @failed", "@failed is what a failed step left, and no image"),
        ("share @failed:abc", "@failed:abc is what a failed step left, and no image"),
        ("slim $bad", "There is no variable bad. A build that fails sets none."),
        ("slim onee", "Did you mean one?"),
        ("slim missing", "The image missing is not in the store. %build images lists them."),
        (
            "slim --platform linux/riscv64 multi",
            "The image is not for linux/riscv64. It is for linux/amd64, linux/arm64.",
        ),
        ("diff --platform linux/arm64 one multi", "The image is not for linux/arm64. It is for linux/amd64."),
    ],
)
def test_what_is_no_image_is_told_with_the_next_step(shell: Shell, line: str, message: str) -> None:
    shell.run("%%build -q -t one --platform linux/amd64 -\nFROM scratch\nCOPY <<EOF /a\n\nEOF\n")
    shell.run("%%build -q -t many -\nFROM one\n")
    shell.run("%%build -q -t multi --platform linux/amd64,linux/arm64 -\nFROM scratch\nCOPY <<EOF /a\n\nEOF\n")
    shell.fail("%%build -q -t bad --into bad -\nFROM scratch\nCOPY missing /\n")
    assert message in str(shell.fail(f"%build {line}"))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("slim", UsageError),
        ("slim --all", UsageError),
        ("slim nobody", StoreError),
        ("diff one", UsageError),
        ("diff nobody nothing", StoreError),
        ("share", UsageError),
        ("share nobody", StoreError),
    ],
)
def test_what_is_wrong_is_a_sentence(shell: Shell, line: str, kind: type[Exception]) -> None:
    error = shell.fail(f"%build {line}")
    assert isinstance(error, kind)
    assert "Traceback" not in shell.out
