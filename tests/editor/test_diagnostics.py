"""What is marked in a cell while it is written, and where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic import builders
from pybuild_magic.builders import embedded_builder
from pybuild_magic.editor.diagnostics import diagnostics
from pybuild_magic.images.load import load_image
from tests.services.baseimages import BaseImage


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busybox_layout: BaseImage) -> Iterator[None]:
    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(builders, "_embedded", None)
    monkeypatch.chdir(tmp_path)
    load_image(embedded_builder().store, busybox_layout.path, "busybox:latest")
    yield
    embedded_builder().close()


def marked(cell: str) -> list[tuple[str, str]]:
    """(rule or severity, the text that is marked) of each, in order."""
    lines = cell.split("\n")
    found: list[tuple[str, str]] = []
    for one in diagnostics(cell):
        line = lines[one.line - 1].encode("utf-16-le")
        found.append((one.rule or one.severity, line[2 * one.column : 2 * one.end].decode("utf-16-le")))
    return found


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%%build\nFROM busybox AS Foo\nENV A=${xyz}\n", [("StageNameCasing", "Foo"), ("UndefinedVar", "${xyz")]),
        ("%%build\nFROM busybox\nRUNN true\n", [("error", "RUNN")]),
        ("%%build\nFROM busybox\n  COPY --chow=1 \\\n a b\n", [("error", "--chow")]),
        ("%%build\nFROM busybox\nRUN --mount=type=cach,target=/x true\n", [("error", "cach")]),
        ("%%build --tga x\nFROM busybox\n", [("error", "%%build --tga x")]),
        ("%%build -t $name\nFROM busybox\n", []),
        ("%%build -t x \\\n  --pull\nFROM busybox\nMAINTAINER me\n", [("MaintainerDeprecated", "MAINTAINER me")]),
        ("%%build\nFROM busybox\nLABEL é𝒳=1 A=$nö\n", [("UndefinedVar", "$nö")]),
        ("%%build\nFROM unknown\nENV A=$FROM_THERE\nWORKDIR x\n", [("WorkdirRelativePath", "x")]),
        ("%%build\nFROM unknown AS a\nFROM a\nENV A=$FROM_THERE\nFROM busybox\nENV A=$B\n", [("UndefinedVar", "$B")]),
        ("%%build\n# check=skip=all\nFROM busybox as x\n", []),
        ("%%build --build-arg BUILDKIT_DOCKERFILE_CHECK=skip=all\nFROM busybox as x\n", []),
        ("%%build --target nope\nFROM busybox AS some\n", [("error", "nope")]),
        ("%%build\n# syntax=other/language\nthis is no Dockerfile\n", []),
        ("%%build\n# only a comment\n", []),
        ("%%build\n", []),
        ("%build images", []),
        ("%%build run -d --name app busybox\n#!/bin/sh\nFROM=1\n", []),
        ("%%build run busybox\nls /nowhere | wc -l\n", []),
        ("%%build lock .\nFROM busybox\nMAINTAINER me\n", [("MaintainerDeprecated", "MAINTAINER me")]),
        ("%%build lock --tga\nFROM busybox\n", [("error", "%%build lock --tga")]),
        ("print(1)", []),
        ("%%builds\nRUNN x", []),
    ],
)
def test_mistakes_and_warnings_are_marked_where_they_are(cell: str, expected: list[tuple[str, str]]) -> None:
    assert marked(cell) == expected


def test_what_dockerignore_leaves_out_is_marked(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("secret\n")
    assert marked("%%build\nFROM busybox\nCOPY secret /\n") == [("CopyIgnoredFile", "secret")]


def test_a_rule_comes_with_its_page() -> None:
    (one,) = diagnostics("%%build\nFROM busybox as x\n")
    assert (one.line, one.severity, one.rule) == (2, "warning", "FromAsCasing")
    assert one.url == "https://docs.docker.com/go/dockerfile/rule/from-as-casing/"
    assert one.message == "'as' and 'FROM' keywords' casing do not match"
