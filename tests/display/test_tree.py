"""Paths as the tree that people see."""

from __future__ import annotations

import pytest

from pybuild_magic.display import html
from pybuild_magic.display.tree import grow, mode_string
from pybuild_magic.results.owners import Owners
from pybuild_magic.results.trees import ImageFiles
from pybuild_magic.store import DIR, Entry
from pybuild_magic.summary import FileSummary, ImageSummary, OutputSummary, Summary

from .test_markup import Page

FILES = (
    FileSummary("a", "5", 0o755),
    FileSummary("a/b", "5", 0o1777),
    FileSummary("a/b/file", "0", 0o644, 1500),
    FileSummary("a/setuid", "0", 0o4755, 10, uid=1000, gid=100),
    FileSummary("link", "2", 0o777, link="a/b"),
    FileSummary("only/parents/implied", "0", 0o600, 5),
    FileSummary("pipe", "6", 0o644),
)

IMAGE = ImageSummary(names=(), digest="sha256:" + "1" * 64, media_type="", size=1)


def page(files: tuple[FileSummary, ...], more: int = 0) -> str:
    output = OutputSummary(type="local", dest="out", size=1, files=files, file_count=len(files), more_files=more)
    return str(html.render(Summary(ref="x", builder="embedded", outputs=(output,)))).partition("</style>")[2]


def test_directories_hold_and_count_what_is_below_them() -> None:
    root = grow(FILES)
    assert sorted(root.children) == ["a", "link", "only", "pipe"]
    assert root.children["a"].size == 1510
    assert root.children["only"].children["parents"].children["implied"].size == 5


def test_modes_are_written_as_ls_writes_them() -> None:
    modes = {file.path: mode_string(file) for file in FILES}
    assert modes["a/b"] == "drwxrwxrwt"
    assert modes["a/setuid"] == "-rwsr-xr-x"
    assert modes["link"] == "lrwxrwxrwx"
    assert modes["pipe"] == "prw-r--r--"


def test_the_page_shows_sizes_modes_owners_and_targets() -> None:
    text = Page(page(FILES)).text
    for shown in (
        "file 1.50 kB -rw-r--r-- root",
        "setuid 10 B -rwsr-xr-x 1000:100",
        "link → a/b",
        "a/ 1.51 kB drwxr-xr-x",
    ):
        assert shown in text
    assert text.startswith("7 files · "), "the first thing said is what there is"
    assert text.index("only/") < text.index("link"), "directories come first"


def test_a_small_tree_is_open_and_a_large_one_is_not() -> None:
    opened = "<details open><summary><strong>Files"
    assert opened in page(FILES)
    many = tuple(FileSummary(f"d/file{number}", "0", 0o644, 1) for number in range(50))
    assert opened not in page(many)


def test_of_a_tree_that_is_cut_the_sizes_of_directories_are_not_guessed() -> None:
    text = Page(page(FILES, more=1000)).text
    assert "1,000 more entries are not shown" in text
    assert "a/  drwxr-xr-x" in text


@pytest.mark.parametrize("count", [400, 440, 450, 500])
def test_a_level_that_is_not_written_would_have_been_too_long(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(FileSummary(path=chr(0x4E00 + number), type="5", mode=0) for number in range(count))
    quick = page(files)
    monkeypatch.setattr(html, "ENTRY", 0)
    assert page(files) == quick
    assert "</ul>" in quick


def test_a_page_without_a_kernel_lists_the_files_of_an_image_as_far_as_they_fit() -> None:
    """With `--view files`, nbconvert and code-hosting pages showed none."""
    entries = [("", Entry(f"usr/lib{number % 7}/module{number}.py", mode=0o644, size=number)) for number in range(3000)]
    root = [("", Entry("app", DIR, 0o755)), ("", Entry("app/main.py", mode=0o644, uid=1000, gid=1000, size=12))]
    summary = Summary(ref="x", builder="embedded", view="files", image=IMAGE)
    few = [ImageFiles("linux/amd64", root, Owners({"1000": "ada"}, {"1000": "ada"}))]
    text = Page(str(html.render(summary, trees=few))).text
    assert "Files of the image" in text
    assert "2 entries, 12 B" in text
    assert "main.py" in text
    assert "ada" in text
    whole = str(html.render(summary, trees=[ImageFiles("linux/amd64", [*root, *entries], Owners())]))
    assert len(whole) <= html.LIMIT
    assert "<details open><summary><strong>Files of the image</strong>" in whole
    text = Page(whole).text
    assert "3,002 entries" in text
    assert "the largest directories are listed" in text
    assert "more entries" in text
    assert text.count("module") > 100, "the room is used"
