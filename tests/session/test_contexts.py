"""What a session offers of a context: the files, their order, and nothing outside of it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from pybuild_magic.errors import ContextError
from pybuild_magic.session import DirSource, Filter, LocalDir, MemorySource, TarSource
from tests.solver.compare import Dir, Fifo, File, Hard, Link, Socket, Spec, write_context

FILES = {
    "a/b/c": "1",
    "a/b/d.txt": "2",
    "a.txt": "3",
    "a-b": "4",
    "node_modules/x/y": "5",
    "src/main.py": "6",
    "src/test_main.py": "7",
    "é": "8",
}


def _tar(files: dict[str, str], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture(params=["directory", "dict", "tar", "tar.gz", "tar.xz"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> LocalDir:
    """The same files in every kind of context."""
    if request.param == "directory":
        return DirSource(write_context(tmp_path, FILES))
    if request.param == "dict":
        return MemorySource(FILES)
    return TarSource(_tar(FILES, {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz"}[request.param]))


def _paths(source: LocalDir, **wanted: tuple[str, ...]) -> list[str]:
    return [found.path for found in source.walk(Filter(**wanted))]


def test_walk_is_depth_first_in_byte_order(source: LocalDir) -> None:
    assert _paths(source) == [
        *("a", "a/b", "a/b/c", "a/b/d.txt", "a-b", "a.txt", "node_modules", "node_modules/x", "node_modules/x/y"),
        *("src", "src/main.py", "src/test_main.py", "é"),
    ]


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        ({"exclude": ("node_modules", "src", "a*", "é")}, []),
        ({"exclude": ("*", "!src/main.py")}, ["src", "src/main.py"]),
        ({"exclude": ("**/*.txt", "node_modules", "src")}, ["a", "a/b", "a/b/c", "a-b", "é"]),
        ({"exclude": ("*", "!a", "a/b/d.txt")}, ["a", "a/b", "a/b/c"]),
        ({"include": ("a/b/c",)}, ["a", "a/b", "a/b/c"]),
        ({"include": ("src",), "exclude": ("**/test_*",)}, ["src", "src/main.py"]),
        ({"include": ("**/*.txt",)}, ["a", "a/b", "a/b/d.txt", "a.txt"]),
        ({"follow": ("a.txt", "src/main.py")}, ["a.txt", "src", "src/main.py"]),
        ({"follow": ("a/*",)}, ["a", "a/b", "a/b/c", "a/b/d.txt"]),
        ({"follow": ("nowhere",)}, []),
        ({"follow": (".",), "exclude": ("a*", "src", "node_modules")}, ["é"]),
    ],
)
def test_filter_wants_what_fsutil_wants(source: LocalDir, wanted: dict[str, tuple[str, ...]], paths: list[str]) -> None:
    assert _paths(source, **wanted) == paths


def test_files_are_read_and_others_are_not(source: LocalDir) -> None:
    with source.open("a/b/d.txt") as file:
        assert file.read() == b"2"
    for path in ("a/b", "nowhere", "a/b/c/d"):
        with pytest.raises(ContextError), source.open(path) as file:
            file.read()


def test_metadata_are_what_buildkit_sends(tmp_path: Path) -> None:
    spec: Spec = {
        "file": File("12345", 0o4750),
        "dir": Dir(0o700),
        "link": Link("file"),
        "hard": Hard("file"),
        "fifo": Fifo(),
        "socket": Socket(),
    }
    found = {each.path: each for each in DirSource(write_context(tmp_path, spec)).walk()}
    assert {path: (each.mode, each.size, each.link) for path, each in found.items()} == {
        "dir": (stat.S_IFDIR | 0o700, 0, ""),
        "fifo": (found["fifo"].mode, 0, ""),
        "file": (stat.S_IFREG | 0o4750, 5, ""),
        "hard": (stat.S_IFREG | 0o4750, 5, "") if "hard" < "file" else (stat.S_IFREG | 0o4750, 0, "file"),
        "link": (stat.S_IFLNK | 0o777, 4, "file"),
        "socket": (found["socket"].mode, 0, ""),
    }
    assert stat.S_ISFIFO(found["fifo"].mode)
    assert stat.S_ISREG(found["socket"].mode)
    assert {(each.uid, each.gid) for each in found.values()} == {(0, 0)}


def test_links_on_the_way_are_followed_inside_the_root(tmp_path: Path) -> None:
    spec: Spec = {
        "real/file": "1",
        "relative": Link("real"),
        "absolute": Link("/real/file"),
        "up": Link("../../../../etc"),
        "loop": Link("loop"),
        "chain": Link("relative/file"),
    }
    source = DirSource(write_context(tmp_path / "root", spec))
    assert _paths(source, follow=("relative/file",)) == ["real", "real/file", "relative"]
    assert _paths(source, follow=("absolute",)) == ["absolute", "real", "real/file"]
    assert _paths(source, follow=("chain",)) == ["chain", "real", "real/file", "relative"]
    assert _paths(source, follow=("up/passwd",)) == ["up"]
    assert _paths(source, follow=("loop",)) == ["loop"]


def test_no_link_leads_out_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    source = DirSource(write_context(tmp_path / "root", {"out": Link("../secret"), "dir": Link(".."), "x": ""}))
    for path in ("out", "dir/secret", "dir/root/x", "../secret"):
        with pytest.raises(ContextError):
            source.open(path)
        assert source.stat("dir/secret") is None
    assert source.names("dir") == []


def test_directory_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    root = write_context(tmp_path / "root", {"a/x": "", "dir/file": "inside"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("outside")
    source = DirSource(root)
    walk = source.walk()
    assert next(walk).path == "a"
    (root / "dir").rename(root / "moved")
    (root / "dir").symlink_to(tmp_path / "other")
    rest = [found.path for found in walk]
    assert "dir/file" not in rest
    with pytest.raises(ContextError):
        source.open("dir/file")


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    name = b"\xff\xfe name"
    (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    (found,) = DirSource(tmp_path).walk()
    assert os.fsencode(found.path) == name


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../../b", "", ".", "nul\0"])
def test_dict_paths_stay_inside(path: str) -> None:
    with pytest.raises(ContextError, match="not a path inside the context"):
        MemorySource({path: "x"})


def test_dict_path_cannot_be_file_and_directory() -> None:
    for files in ({"a": "", "a/b": ""}, {"a/b": "", "a": ""}):
        with pytest.raises(ContextError):
            MemorySource(files)


def test_dict_has_text_and_bytes_with_fixed_metadata() -> None:
    found = list(MemorySource({"d/t": "é", "d/b": b"\xff"}).walk())
    assert [(each.path, each.mode, each.size) for each in found] == [
        ("d", stat.S_IFDIR | 0o755, 0),
        ("d/b", stat.S_IFREG | 0o644, 1),
        ("d/t", stat.S_IFREG | 0o644, 2),
    ]
    assert len({each.mtime_ns for each in found}) == 1


def test_hostile_archives_are_refused() -> None:
    with pytest.raises(ContextError, match=r"The context is not a valid tar: the name '../evil' leads out of the root"):
        TarSource(_tar({"../evil": "x"}))
    with pytest.raises(ContextError, match=r"^The context (is not a valid tar|is corrupt|is incomplete|has)"):
        TarSource(b"no archive at all")


def test_archive_keeps_links_and_owners() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        first = tarfile.TarInfo("f")
        first.size, first.uid, first.gid, first.mode, first.mtime = 3, 5, 6, 0o640, 1.5
        tar.addfile(first, io.BytesIO(b"abc"))
        hard = tarfile.TarInfo("h")
        hard.type, hard.linkname = tarfile.LNKTYPE, "f"
        tar.addfile(hard)
    source = TarSource(out.getvalue())
    found = {each.path: each for each in source.walk()}
    assert (found["f"].uid, found["f"].gid, found["f"].mode, found["f"].mtime_ns) == (
        5,
        6,
        stat.S_IFREG | 0o640,
        1_500_000_000,
    )
    assert found["h"].link == "f"
    with source.open("h") as file:
        assert file.read() == b"abc"


def test_context_that_is_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="does not exist"):
        DirSource(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(ContextError, match="is not a directory"):
        DirSource(tmp_path / "file")
