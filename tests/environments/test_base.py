"""What is found out about a base image before a Dockerfile is made for it."""

from __future__ import annotations

import _ssl
import io
import platform
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.api.functions import build
from pybuild_magic.builders import embedded_builder
from pybuild_magic.environments.base import opened
from pybuild_magic.environments.freeze import freeze
from pybuild_magic.environments.target import TargetPython
from pybuild_magic.errors import UsageError

from .conftest import Install
from .index import LocalIndex

TARGET = TargetPython((3, 11), "x86_64")
_STDLIB = ("os.py", "ensurepip/__init__.py")


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(builders, "_embedded", None)
    yield
    embedded_builder().close()


def image(*paths: str, env: str = "", contents: dict[str, bytes] | None = None) -> str:
    """An image with these files; `a -> b` is a symbolic link."""
    contents = contents or {}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in paths:
            name, _, target = path.partition(" -> ")
            info = tarfile.TarInfo(name)
            info.type, info.linkname = (tarfile.SYMTYPE, target) if target else (tarfile.REGTYPE, "")
            info.size = len(contents.get(name, b""))
            tar.addfile(info, io.BytesIO(contents.get(name, b"")))
    build(f"FROM scratch\nADD files.tar /\n{env}", {"files.tar": buffer.getvalue()}, tags="base", progress="quiet")
    return "base"


def library(prefix: str, version: str, *names: str) -> list[str]:
    return [f"{prefix}/lib/python{version}/{name}" for name in names or _STDLIB]


PLACES: dict[str, tuple[list[str], str, str]] = {
    "python:3.11": (
        ["usr/local/bin/python3.11", "usr/local/bin/python3 -> python3.11", *library("usr/local", "3.11")],
        "",
        "python3.11",
    ),
    "Debian": (["bin -> usr/bin", "usr/bin/python3.11", *library("usr", "3.11")], "", "python3.11"),
    "python3 is a link to it": (
        ["usr/bin/python3 -> /opt/python/bin/python3.11", "opt/python/bin/python3.11", *library("opt/python", "3.11")],
        "",
        "python3",
    ),
    "python3 alone": (["usr/bin/python3", *library("usr", "3.11")], "", "python3"),
    "python alone": (["usr/bin/python", *library("usr", "3.11")], "", "python"),
    "conda, which is not in PATH": (
        ["opt/conda/bin/python3.11", *library("opt/conda", "3.11")],
        "",
        "/opt/conda/bin/python3.11",
    ),
    "a PATH of its own": (
        ["srv/py/bin/python3", *library("srv/py", "3.11"), "usr/bin/python3.9", *library("usr", "3.9")],
        "ENV PATH=/srv/py/bin:/usr/bin\n",
        "python3",
    ),
    "beside an older one": (
        [
            *("usr/bin/python3 -> python3.9", "usr/bin/python3.9", *library("usr", "3.9")),
            *("usr/local/bin/python3.11", *library("usr/local", "3.11")),
        ],
        "",
        "python3.11",
    ),
    "Fedora": (
        ["usr/bin/python3", "usr/lib64/python3.11/os.py", "usr/lib64/python3.11/ensurepip/__init__.py"],
        "",
        "python3",
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_interpreter_is_found_under_its_usual_names(name: str) -> None:
    paths, env, program = PLACES[name]
    with opened(image(*paths, env=env), TARGET) as base:
        assert base.python == program
        assert not (base.has_apt or base.has_find or base.has_useradd or base.has_headers)
        assert not base.is_doubtful


def test_programs_that_lines_could_use_are_looked_for() -> None:
    programs = [f"usr/bin/{name}" for name in ("apt-get", "find", "sort", "xargs", "nproc", "getent")]
    python = ["usr/bin/python3.11", *library("usr", "3.11", "os.py"), "usr/include/python3.11/Python.h"]
    with opened(image(*programs, "usr/sbin/useradd", *python), TARGET) as base:
        assert base.has_apt and base.has_find and base.has_useradd and base.has_headers
        assert not base.has_ensurepip  # Debian has it in a package of its own


REFUSED: dict[str, tuple[list[str], str, str]] = {
    "none": (["usr/bin/perl"], "has no python3.11", "It has no Python at all"),
    "another": (
        ["usr/bin/python3", *library("usr", "3.13")],
        "has no python3.11",
        "It has Python 3.13: use --python 3.13, or another base",
    ),
    "a link that leads nowhere": (["usr/bin/python3.11 -> /gone/python3.11"], "has no python3.11", "no Python at all"),
    "a link to itself": (["usr/bin/python3.11 -> python3.11"], "has no python3.11", "no Python at all"),
    "musl": (
        ["usr/bin/python3.11", *library("usr", "3.11"), "lib/ld-musl-x86_64.so.1"],
        "uses musl, but environments are locked for glibc",
        "python:3.11-slim",
    ),
    "no ensurepip": (
        ["usr/bin/python3.11", *library("usr", "3.11", "os.py")],
        "lacks ensurepip",
        "python:3.11-slim",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_base_in_which_no_environment_can_be_is_a_sentence(name: str) -> None:
    paths, sentence, hint = REFUSED[name]
    with pytest.raises(UsageError, match=sentence) as caught, opened(image(*paths), TARGET):
        pass
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "may_lack_python", "may_lack_apt", "has_headers"),
    [
        ("python", False, False, True),
        ("python:3-slim", False, False, True),
        ("python:3.11-slim", False, False, True),
        ("docker.io/library/python@sha256:" + "0" * 64, False, False, True),
        ("ubuntu", True, False, False),
        ("registry.example/team/python:1", True, True, False),
    ],
)
def test_an_image_that_is_not_here_is_taken_for_debian(
    name: str, *, may_lack_python: bool, may_lack_apt: bool, has_headers: bool
) -> None:
    with opened(name, TARGET) as base:
        assert (base.python, base.has_apt, base.has_headers) == ("python3.11", True, has_headers)
        assert (base.is_doubtful, base.may_lack_apt) == (may_lack_python, may_lack_apt)


@pytest.mark.parametrize(
    "name", ["python:3.13", "docker.io/library/python:3.13.1-slim", "python:3.13-slim@sha256:" + "0" * 64]
)
def test_an_image_whose_name_tells_another_python_is_a_sentence(name: str) -> None:
    with pytest.raises(UsageError, match=f"The base image {name} has no python3.11") as caught, opened(name, TARGET):
        pass
    assert caught.value.hint == "It has Python 3.13: use --python 3.13, or another base."


def test_a_python_that_does_not_exist_yet_is_a_sentence() -> None:
    future = TargetPython((3, 99), "x86_64")
    for name in ("python:3.99-slim", "registry.example/team/python:1"):
        with pytest.raises(UsageError, match=r"There is no Python 3\.99 yet") as caught, opened(name, future):
            pass
        assert re.fullmatch(r"The newest should be --python 3\.\d\d\.", caught.value.hint)
    with opened("python", TargetPython(sys.version_info[:2], "x86_64")):
        pass


RELEASES: dict[str, tuple[bytes, bytes, str]] = {
    "in its program": (b"x\0003.2.0\0003.11.99\0", b"", "3.11.99"),
    "in its library": (b"\0003.11\0", b"\0003.11.99+\0", "3.11.99"),
    "nowhere": (b"3.11.99 is written about it\0", b"", ""),
}


@pytest.mark.parametrize("where", RELEASES)
def test_the_exact_version_of_a_base_is_read_from_its_files(where: str) -> None:
    program, shared, release = RELEASES[where]
    files = ["usr/bin/python3 -> python3.11", "usr/bin/python3.11", "usr/lib/libpython3.11.so.1.0"]
    contents = {files[1]: program, files[2]: shared}
    with opened(image(*files, *library("usr", "3.11"), contents=contents), TARGET) as base:
        assert base.release == release


def test_a_base_with_another_patch_level_than_the_kernel_is_told(
    site: Path, install: Install, index: LocalIndex
) -> None:
    install("late", "1")
    index.pythons[index.add("late", "1")] = f">={HERE}.60"
    python = ["usr/bin/python3", *library("usr", HERE)]
    base = image(*python, contents={python[0]: f"\0{HERE}.59\0".encode()})
    assert freeze(paths=[str(site)], base=base).notes == (
        f"This kernel has Python {platform.python_version()}, and the base image base has {HERE}.59.",
        f"late==1 needs Python >={HERE}.60, and the base has {HERE}.59: use a newer base.",
    )
    image(*python, contents={python[0]: f"\0{platform.python_version()}\0".encode()})
    index.pythons.clear()
    assert freeze(paths=[str(site)], base=base).notes == ()


@pytest.fixture
def native(site: Path, install: Install, index: LocalIndex) -> list[str]:
    """A distribution with an extension module that needs OpenSSL's library; where it is installed."""
    install("native", "1", more={"native.so": ""})
    shutil.copy(_ssl.__file__, site / "native.so")
    index.add("native", "1")
    return [str(site)]


HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_libraries_that_a_base_without_apt_lacks_are_told(native: list[str]) -> None:
    made = freeze(paths=native, base=image("usr/bin/python3", *library("usr", HERE)))
    assert "apt-get" not in made.dockerfile and "find " not in made.dockerfile and "useradd" not in made.dockerfile
    assert "RUN python3 -m venv /opt/install" in made.dockerfile
    note = next(note for note in made.notes if "libssl.so.3" in note)
    assert (
        note
        == "native needs libssl.so.3, and base has neither the library nor apt: COPY it there, or use another base."
    )


def test_libraries_that_a_base_of_debian_lacks_are_installed_by_apt(native: list[str]) -> None:
    python = ["usr/bin/apt-get", "usr/bin/python3", *library("usr", HERE, "os.py"), "lib/libc.so.6"]
    made = freeze(paths=native, base=image(*python))
    assert "--no-install-recommends libssl3 " in made.dockerfile
    assert f"--no-install-recommends python{HERE}-venv\n" in made.dockerfile
    assert not any("libssl" in note for note in made.notes)
    unknown = freeze(paths=native, base="registry.example/team/python:1")
    assert "--no-install-recommends libssl3 " in unknown.dockerfile
    assert unknown.notes == (
        f"registry.example/team/python:1 is not in the store, and may lack python{HERE} and apt, "
        "which must install libssl3.",
    )


def test_what_needs_apt_where_there_is_none_is_a_sentence(site: Path, install: Install, index: LocalIndex) -> None:
    base = image("usr/bin/python3", *library("usr", HERE))
    with pytest.raises(UsageError, match="--apt file: the base image base has no apt"):
        freeze(paths=[str(site)], base=base, apt=("file",))
    install("old", "1")
    index.files["old"] = {"old-1.tar.gz": b"source"}
    with pytest.raises(UsageError, match="old must be built from source, but the base image base has no apt"):
        freeze(paths=[str(site)], base=base)
