"""`pybuild repo`: a Dockerfile on standard output."""

from __future__ import annotations

from pathlib import Path

from .conftest import Pybuild


def test_a_dockerfile_is_printed_and_how_it_is_built_is_told(pybuild: Pybuild, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY . /code\n")
    done = pybuild("repo", "-t", "code", ".")
    assert done.stdout == b"FROM busybox\nCOPY . /code\n"
    assert done.stderr == b"Build it with: pybuild build -f - -t code .\n"
    pybuild("build", "-f", "-", "-t", "code", ".", stdin=done.stdout)
    assert b"/code/Dockerfile" in pybuild("run", "code", "find", "/code").stdout


def test_a_list_and_what_is_wrong(pybuild: Pybuild, tmp_path: Path) -> None:
    (tmp_path / "apt.txt").write_text("file; id\n")
    wrong = pybuild("repo", code=1)
    assert b"ERROR: apt.txt has 'file;' in line 1" in wrong.stderr
    assert b"Traceback" not in wrong.stderr
    (tmp_path / "apt.txt").write_text("file\n")
    assert pybuild("repo", "--list").stdout.splitlines()[1].split() == (
        b"apt.txt used its packages are installed by apt-get".split()
    )


def test_an_image_is_weighed(pybuild: Pybuild) -> None:
    pybuild(
        "build", "-t", "heavy", "-", stdin=b"FROM busybox\nRUN mkdir /c && head -c 2m /dev/zero > /c/a\nRUN rm -r /c\n"
    )
    lines = pybuild("slim", "heavy").stdout.decode().splitlines()
    assert lines[0].startswith("heavy: 2.10 MB of ")
    assert "instead  RUN mkdir /c && head -c 2m /dev/zero > /c/a && rm -r /c" in lines[5]
    assert b"pybuild slim takes one image. pybuild images lists them" in pybuild("slim", code=1).stderr
