"""Links within a root: what the kernel does for a process that has it for its root, and nothing that leads out."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pybuild_magic.store.links import EscapeError, LinkLoopError, follow_links

NAMES = st.sampled_from(["a", "b", "c", "..", ".", ""])
PATHS = st.builds(lambda start, parts: start + "/".join(parts), st.sampled_from(["", "/"]), st.lists(NAMES, max_size=5))
TREES = st.dictionaries(st.sampled_from(["a", "b", "c", "d/a", "d/b", "d/e/c"]), PATHS.filter(bool), max_size=6)


def link_in(root: Path, path: str) -> str | None:
    here = root / path
    try:
        return os.readlink(here) if stat.S_ISLNK(os.lstat(here).st_mode) else None  # noqa: PTH115 - "./x" stays
    except (FileNotFoundError, NotADirectoryError):
        return None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux is asked")
@settings(max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(tree=TREES, path=PATHS)
def test_where_the_kernel_arrives_so_does_a_path(
    tree: dict[str, str], path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from pybuild_magic.builders.embedded.sandbox.helper.inside import Root

    outer = tmp_path_factory.mktemp("links")
    root = outer / "root"
    (root / "d/e").mkdir(parents=True)
    (outer / "a").write_text("outside")
    for name, target in tree.items():
        (root / name).symlink_to(target)
    inside = Root(str(root))
    try:
        fd = inside.open(path or "/")
    except OSError:
        return
    try:
        arrived = os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), root)  # noqa: PTH115 - no file of its own
    finally:
        os.close(fd)
        os.close(inside.fd)
    expected = "" if arrived == "." else arrived
    assert follow_links(path, lambda at: link_in(root, at)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("../../etc", "etc"),
        ("up/etc", "etc"),
        ("root/../etc", "etc"),
        ("deep/up/x", "x"),
        ("missing/../../x", "x"),
        ("etc/./passwd//", "etc/passwd"),
    ],
)
def test_nothing_leads_above_the_root(path: str, expected: str) -> None:
    links = {"up": "../../..", "root": "/", "deep/up": "/../.."}
    assert follow_links(path, links.get) == expected


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "up", "up/x", "deep/up/x"])
def test_an_escape_is_told_where_it_is_refused(path: str) -> None:
    links = {"up": "..", "deep/up": "../../x"}
    with pytest.raises(EscapeError, match="leads above its root"):
        follow_links(path, links.get, refuse_escapes=True)


def test_after_an_absolute_link_there_is_nothing_above_the_root() -> None:
    assert follow_links("root/../x", {"root": "/"}.get, refuse_escapes=True) == "x"


def test_a_link_at_the_end_stays_when_it_is_not_to_be_followed() -> None:
    links = {"a": "b", "b": "c"}
    assert follow_links("a", links.get) == "c"
    assert follow_links("a", links.get, follow_last=False) == "a"
    assert follow_links("a/b", links.get, follow_last=False) == "c/b"


def test_a_circle_ends() -> None:
    with pytest.raises(LinkLoopError, match="too many symbolic links"):
        follow_links("a/x", {"a": "b", "b": "a"}.get)
    chain = {str(number): str(number + 1) for number in range(255)}
    assert follow_links("0", chain.get) == "255"
    with pytest.raises(LinkLoopError):
        follow_links("0", {**chain, "255": "256"}.get)
