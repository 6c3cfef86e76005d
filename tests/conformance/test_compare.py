"""The comparison sees what differs, and says so at the first level where it does."""

from __future__ import annotations

import copy
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.dockerfile.provenance import Line, Provenance, decode, differing, graph

from .answer import Answer, read_answer
from .case import Case, Dir, File, Hard, Layout, Link, Tree, write_layout
from .compare import compare

CASE = Case("test/case", "FROM scratch\n")
TREE: Tree = {"d": Dir(), "d/f": "content\n", "l": Link("d/f"), "h": Hard("d/f")}


def answer(root: Path, *layers: Tree, **config: object) -> Answer:
    """The answer that an image of these layers is."""
    write_layout(root, Layout(layers, config))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(root, arcname=".", filter=lambda info: info.replace(name=info.name.removeprefix("./")))
    archive = root.with_suffix(".tar")
    archive.write_bytes(buffer.getvalue())
    return read_answer(archive)


def test_equal_images_are_equal_on_all_levels(tmp_path: Path) -> None:
    verdict = compare(CASE, answer(tmp_path / "a", TREE), answer(tmp_path / "b", TREE))
    assert verdict.report == ""
    assert all(verdict.marks.values())
    assert len(verdict.marks) == 7


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"d/f": "changed\n"}, "preview"),
        ({"d/f": File("content\n", mode=0o600)}, "mode"),
        ({"d/f": File("content\n", uid=7)}, "uid"),
        ({"d/f": File("content\n", mtime=5)}, "mtime"),
        ({"d/f": File("content\n", xattrs={"security.capability": b"x"})}, "pax"),
        ({"l": Link("elsewhere")}, "link"),
        ({"h": "content\n"}, "link"),
        ({"new": ""}, "+ new"),
    ],
)
def test_a_file_that_differs_is_shown(tmp_path: Path, change: Tree, shown: str) -> None:
    verdict = compare(CASE, answer(tmp_path / "a", TREE), answer(tmp_path / "b", {**TREE, **change}))
    assert verdict.report.startswith("files differs")
    assert shown in verdict.report


def test_whiteouts_hide_what_is_below_them(tmp_path: Path) -> None:
    whole = answer(tmp_path / "a", TREE, {"d/.wh.f": "", ".wh.h": ""})
    opaque = answer(tmp_path / "b", TREE, {"d/.wh..wh..opq": "", ".wh.h": ""})
    verdict = compare(CASE, whole, opaque)
    assert verdict.marks["files"]
    assert verdict.report.startswith("layers differs")


def test_a_config_that_differs_is_shown_by_its_path(tmp_path: Path) -> None:
    verdict = compare(CASE, answer(tmp_path / "a", TREE, User="1"), answer(tmp_path / "b", TREE, User="2"))
    assert verdict.report.splitlines()[1:] == ['- config.User: "1"', '+ config.User: "2"']


def test_refusals_are_equal_in_words_and_lines() -> None:
    said = Answer(error="no such thing", lines=[2])
    assert compare(CASE, said, Answer(error="no such thing", lines=[2])).marks == {"accepted": True}
    assert not compare(CASE, said, Answer(error="no such thing", lines=[3])).marks["accepted"]
    assert not compare(CASE, said, Answer(error="something else", lines=[2])).marks["accepted"]
    assert not compare(CASE, said, Answer()).marks["accepted"]


STEP: dict[str, Any] = {
    "id": "step0",
    "op": {"Op": {"exec": {"meta": {"args": ["true"], "cwd": "/", "removeMountStubsRecursive": True}, "mounts": []}}},
}
RESULT = {"id": "step1", "op": {"Op": {}}, "inputs": ["step0:0"]}


def test_a_vertex_that_differs_is_shown_and_the_lines_that_it_comes_from() -> None:
    places = {"step0": {"locations": [{"ranges": [{"start": {"line": 2}, "end": {"line": 3}}]}]}}
    theirs = graph(decode(Provenance([STEP, RESULT], places)))
    assert differing(theirs, theirs) == []
    assert differing(theirs, [])[0].startswith('- 0 {"": "ExecOp"')
    assert differing(theirs, [Line(theirs[0].text, "2-2")])[1].startswith("+ lines 2-2 of 0 ")
    assert len(differing(theirs, [Line(theirs[0].text.replace("true", "false"), "2-3")])) == 2


def test_a_field_that_would_not_be_compared_is_refused() -> None:
    step = copy.deepcopy(STEP)
    step["op"]["Op"]["exec"]["meta"]["new"] = 1
    with pytest.raises(AssertionError, match=r"fields that are not compared: \{'new'\}"):
        decode(Provenance([step, RESULT]))
