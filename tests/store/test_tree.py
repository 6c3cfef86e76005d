"""The merged tree of layers."""

from __future__ import annotations

import pytest

from pybuild_magic.errors import StoreError
from pybuild_magic.store import DIR, HARDLINK, SYMLINK, Entry, Layer, LayerTree, Store, opaque, resolve, whiteout
from pybuild_magic.store import write_layer as write


def file(path: str, content: str = "", **fields: int) -> tuple[Entry, bytes]:
    return Entry(path, size=len(content), **fields), content.encode()


def directory(path: str, mode: int = 0o755) -> tuple[Entry, None]:
    return Entry(path, DIR, mode), None


def link(path: str, target: str, type_: str = SYMLINK) -> tuple[Entry, None]:
    return Entry(path, type_, 0o777, link=target), None


def tree_of(store: Store, *layers: list[tuple[Entry, bytes | None]]) -> LayerTree:
    return store.tree([write(store, layer).diff_id for layer in layers])


def shown(tree: LayerTree) -> dict[str, str]:
    """What is where: a file's content, "/" for a directory, "-> target" for a link."""
    return {
        entry.path: "/" if entry.is_dir else f"-> {entry.link}" if entry.type == SYMLINK else tree.read(entry).decode()
        for entry in tree.walk()
    }


def test_scratch_is_an_empty_root(store: Store) -> None:
    tree = store.tree(())
    root = tree.get("")
    assert root is not None and root.is_dir and root.mode == 0o755
    assert list(tree.walk()) == [] and tree.children("") == [] and tree.get("a") is None


def test_upper_layers_win_and_directories_merge(store: Store) -> None:
    tree = tree_of(
        store,
        [directory("d"), file("d/a", "1"), file("d/b", "1")],
        [directory("d", 0o700), file("d/b", "2"), file("e/f", "2")],
    )
    assert shown(tree) == {"d": "/", "d/a": "1", "d/b": "2", "e": "/", "e/f": "2"}
    assert [tree.get(path).mode for path in ("d", "e")] == [0o700, 0o755]
    assert tree.layer_of(tree.get("d/a")) == tree.diff_ids[0]


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        ([(whiteout("d/a"), None)], {"d": "/", "d/b": "1", "d/s": "/", "d/s/x": "1"}),
        ([(whiteout("d"), None)], {}),
        ([(whiteout("nothing"), None)], {"d": "/", "d/a": "1", "d/b": "1", "d/s": "/", "d/s/x": "1"}),
        ([(opaque("d"), None)], {"d": "/"}),
        ([(opaque("d"), None), file("d/a", "2")], {"d": "/", "d/a": "2"}),
        ([file("d/a", "2"), file("d/s/y", "2"), (opaque("d"), None)], {"d": "/", "d/a": "2", "d/s": "/", "d/s/y": "2"}),
        ([file("d/a", "2"), (whiteout("d/a"), None)], {"d": "/", "d/a": "2", "d/b": "1", "d/s": "/", "d/s/x": "1"}),
        ([(whiteout("d"), None), directory("d"), file("d/n", "2")],
         {"d": "/", "d/a": "1", "d/b": "1", "d/n": "2", "d/s": "/", "d/s/x": "1"}),
        ([(whiteout("d"), None), file("d/n", "2")], {"d": "/", "d/n": "2"}),
        ([directory("d"), file("d/n", "2"), (whiteout("d"), None)], {"d": "/", "d/n": "2"}),
        ([(whiteout("d/a"), None), (whiteout("d/a"), None)], {"d": "/", "d/b": "1", "d/s": "/", "d/s/x": "1"}),
        ([(whiteout("d/a/x"), None)], {"d": "/", "d/a": "/", "d/b": "1", "d/s": "/", "d/s/x": "1"}),
        ([link("n", "d/s/x", HARDLINK)],
         {"d": "/", "d/a": "1", "d/b": "1", "d/s": "/", "d/s/x": "1", "n": "1"}),
        ([link("n", "d/s/x", HARDLINK), link("m", "n", HARDLINK), file("n", "2")],
         {"d": "/", "d/a": "1", "d/b": "1", "d/s": "/", "d/s/x": "1", "m": "1", "n": "2"}),
        ([file("d", "2")], {"d": "2"}),
        ([file("d", "2"), directory("d"), file("d/q", "3")],
         {"d": "/", "d/a": "1", "d/b": "1", "d/q": "3", "d/s": "/", "d/s/x": "1"}),
        ([directory("d/a"), file("d/a/x", "2"), (whiteout("d/s"), None)],
         {"d": "/", "d/a": "/", "d/a/x": "2", "d/b": "1"}),
        ([link("d/s", "b")], {"d": "/", "d/a": "1", "d/b": "1", "d/s": "-> b"}),
    ],
)  # fmt: skip
def test_whiteouts_and_replacements(
    store: Store, upper: list[tuple[Entry, bytes | None]], expected: dict[str, str]
) -> None:
    lower = [directory("d"), file("d/a", "1"), file("d/b", "1"), directory("d/s"), file("d/s/x", "1")]
    below = tree_of(store, lower)
    before = shown(below)
    assert shown(below.under(write(store, upper))) == expected
    assert shown(below) == before


def test_hardlinks_are_names_of_one_file(store: Store) -> None:
    tree = tree_of(
        store,
        [file("a", "one", mode=0o640), link("b", "a", HARDLINK), file("c", "one", mode=0o640)],
        [file("a", "two"), (whiteout("nothing"), None)],
    )
    assert shown(tree) == {"a": "two", "b": "one", "c": "one"}
    lower = store.tree(tree.diff_ids[:1])
    a, b, c = (lower.get(name) for name in "abc")
    assert b.is_file and b.path == "b"
    assert (a.mode, b.mode, c.mode) == (0o777, 0o777, 0o640), "the header of a hardlink is about the file"
    assert lower.inode(a) == lower.inode(b) != lower.inode(c)


def test_a_hardlink_to_nothing_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match='"/b" in a layer is a hardlink to "/missing"'):
        tree_of(store, [link("b", "missing", HARDLINK)]).get("b")


def test_paths_through_links_land_where_extraction_would_put_them(store: Store) -> None:
    tree = tree_of(
        store,
        [
            directory("usr"),
            directory("usr/lib"),
            link("lib", "usr/lib"),
            link("abs", "/usr/../../usr"),
            link("up", ".."),
            file("lib/x", "1"),
            file("abs/lib/y", "2"),
            file("up/up/z", "3"),
            (whiteout("abs/nothing"), None),
        ],
        [(whiteout("usr/lib/x"), None)],
    )
    assert shown(tree) == {
        "abs": "-> /usr/../../usr", "lib": "-> usr/lib", "up": "-> ..", "usr": "/", "usr/lib": "/",
        "usr/lib/y": "2", "z": "3",
    }  # fmt: skip


def test_walking_is_in_byte_order(store: Store) -> None:
    names = ["b", "a-", "a", "\U0001f600", "\uffee", "\udcff", "é", "Z"]
    tree = tree_of(store, [file(name) for name in names] + [directory("a.d"), file("a.d/x")])
    walked = [entry.path for entry in tree.walk()]
    assert [name for name in walked if "/" not in name] == sorted([*names, "a.d"], key=os_bytes)
    assert walked.index("a.d/x") == walked.index("a.d") + 1
    assert [entry.path for entry in tree.walk("a.d")] == ["a.d/x"]


def os_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def test_many_layers_do_not_exhaust_the_stack(store: Store) -> None:
    layers: list[Layer] = [write(store, [file(f"f{number % 7}", str(number))]) for number in range(1500)]
    tree = store.tree([layer.diff_id for layer in layers])
    assert tree.read(tree.get("f0")).decode() == "1498"


def test_content_is_read_at_any_place(store: Store) -> None:
    tree = tree_of(store, [file("before", "x" * 700), file("a", "0123456789"), file("empty")])
    with tree.open(tree.get("a")) as opened:
        opened.seek(4)
        assert opened.read(3) == b"456" and opened.read() == b"789" and opened.read() == b""
    assert tree.read(tree.get("empty")) == b""


@pytest.mark.parametrize(
    ("path", "follow", "expected"),
    [
        ("/", True, ""),
        ("/lib/x", True, "usr/lib/x"),
        ("lib", True, "usr/lib"),
        ("lib", False, "lib"),
        ("up/../up/up/etc", True, "etc"),
        ("../../etc/passwd", True, "etc/passwd"),
        ("out/shadow", True, "etc/shadow"),
        ("lib/../missing/./x/", True, "usr/missing/x"),
        ("usr/lib/rel", True, "usr/share"),
    ],
)
def test_paths_resolve_inside_the_root(store: Store, path: str, follow: bool, expected: str) -> None:
    tree = tree_of(
        store,
        [directory("usr/lib"), link("lib", "/usr/lib"), link("up", "../../.."), link("out", "/../../etc"),
         link("usr/lib/rel", "../share")],
    )  # fmt: skip
    assert resolve(tree, path, follow) == expected


def test_a_loop_of_links_is_an_error(store: Store) -> None:
    tree = tree_of(store, [link("a", "b"), link("b", "a")])
    with pytest.raises(StoreError, match="too many symbolic links"):
        resolve(tree, "a/x")
    with pytest.raises(StoreError, match="too many symbolic links"):
        tree.under(write(store, [file("a/x")])).get("a")
