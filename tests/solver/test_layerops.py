"""A layer of differences, put on the lower tree, gives the upper one, whatever the two trees are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybuild_magic.builders.embedded.layerops import diff, differences, merge
from pybuild_magic.cancel import Cancel
from pybuild_magic.llb.ops import DiffOp
from pybuild_magic.store import CHAR, DIR, FIFO, FILE, SYMLINK, Entry, LayerTree, Store, write_layer

KINDS = [FILE, FILE, FILE, DIR, DIR, SYMLINK, CHAR, FIFO]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def _random_tree(rng: random.Random) -> list[tuple[Entry, bytes | None]]:
    made: dict[str, tuple[Entry, bytes | None]] = {}
    folders = [""]
    for _ in range(rng.randrange(30)):
        folder = rng.choice(folders)
        path = f"{folder}/{rng.choice('abcdé')}".lstrip("/")
        if path in made:
            continue
        kind = rng.choice(KINDS)
        data = rng.choice([b"", b"one", b"two"]) if kind == FILE else None
        made[path] = (
            Entry(
                path,
                kind,
                rng.choice([0o644, 0o755, 0o4711]) if kind != SYMLINK else 0o777,
                rng.choice([0, 7]),
                0,
                rng.choice([1, 2]) * 1_000_000_000,
                len(data or b""),
                "target" if kind == SYMLINK else "",
                devmajor=1 if kind == CHAR else 0,
                devminor=3 if kind == CHAR else 0,
            ),
            data,
        )
        if kind == DIR:
            folders.append(path)
    return [made[path] for path in sorted(made)]


def _shown(tree: LayerTree) -> list[tuple[object, ...]]:
    return [
        (e.path, e.type, e.mode, e.uid, e.gid, e.link, e.devmajor, e.devminor, tree.read(e) if e.is_file else None)
        for e in tree.walk()
    ]


@pytest.mark.parametrize("seed", range(60))
def test_differences_on_the_lower_tree_are_the_upper_tree(seed: int, store: Store) -> None:
    rng = random.Random(seed)
    lower = (write_layer(store, _random_tree(rng)).diff_id, write_layer(store, _random_tree(rng)).diff_id)
    upper = (write_layer(store, _random_tree(rng)).diff_id,)
    layer = write_layer(store, differences(store.tree(lower), store.tree(upper)))
    assert _shown(store.tree(lower).under(layer)) == _shown(store.tree(upper))


def test_nothing_differs_from_itself(store: Store) -> None:
    snapshot = (write_layer(store, _random_tree(random.Random(1))).diff_id,)
    assert list(differences(store.tree(snapshot), store.tree(snapshot))) == []


def test_stacks_are_taken_apart_and_put_together(store: Store) -> None:
    layers = tuple(write_layer(store, _random_tree(random.Random(seed))).diff_id for seed in (3, 4, 5))
    assert diff(store, DiffOp(0, 1), [layers[:1], layers], Cancel()) == layers[1:]
    assert diff(store, DiffOp(upper=0), [layers], Cancel()) == layers
    assert diff(store, DiffOp(0, 1), [layers, layers], Cancel()) == ()
    assert merge([layers[:1], (), layers[1:]]) == layers
