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
    assert "docker run --rm -p 80:80 pair:2" in repr(shell.run("%build share pair:2"))


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
