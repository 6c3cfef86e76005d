"""The trees that a notebook keeps: whole where they fit, else the heaviest directories, and the rest counted."""

from __future__ import annotations

import base64
import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest

import pybuild_magic
from pybuild_magic.display import html
from pybuild_magic.display.service import service
from pybuild_magic.result import BuildResult
from pybuild_magic.results import trees
from pybuild_magic.results.trees import REST, heaviest
from pybuild_magic.store import DIR, Entry
from pybuild_magic.summary import MIME_TYPE


def paths(tree: dict[str, Any]) -> list[str]:
    columns = json.loads(zlib.decompress(base64.b64decode(tree["columns"])))
    names, runs = iter(columns["names"].split("/")), columns["runs"]
    return [
        f"{columns['folders'][place]}/{next(names)}".lstrip("/")
        for place, count in zip(runs[::2], runs[1::2], strict=True)
        for _ in range(count)
    ]


def test_a_small_image_keeps_what_each_layer_did_and_its_outputs_keep_their_files(built: BuildResult) -> None:
    document = built.mime_bundle()[MIME_TYPE]
    trees = {tree["of"]: tree for tree in document["trees"]}
    layers = document["image"]["manifests"][0]["layers"]
    assert set(trees) == {"output:2", *(f"layer:{layer['diff_id']}" for layer in layers)}
    assert all(not tree.get("more") for tree in trees.values())
    assert "data/table.csv" in paths(trees[f"layer:{layers[-1]['diff_id']}"])
    assert "src/sub/b.bin" in paths(trees["output:2"])
    assert not any(output.get("files") for output in document["outputs"]), "the entries are not there twice"
    assert built.outputs[2].files, "but Python has them as they were"


def test_a_large_image_keeps_its_heaviest_directories_within_the_limit(home: Path) -> None:
    chance = random.Random(4)
    files = {f"d{number % 40}/{chance.randbytes(12).hex()}": b"" for number in range(9000)}
    files |= {f"heavy/{number}": b"x" * 5000 for number in range(10)}
    built = pybuild_magic.build("FROM scratch\nCOPY . /\n", files, tags="large", progress="none")
    bundle = built.mime_bundle()
    document = bundle[MIME_TYPE]
    image = next(tree for tree in document["trees"] if tree["of"] == "image")
    kept = paths(image)
    assert "heavy/3" in kept
    assert image["entries"] == 9051
    assert image["more"] == 9051 - sum("more entr" not in path for path in kept)
    assert (
        sum(int(path.rpartition("/")[2].split()[0].replace(",", "")) for path in kept if "more entr" in path)
        == (image["more"])
    )
    assert len(json.dumps(bundle)) < 200_000


def test_a_tree_is_read_and_a_page_is_drawn_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For `--view files`, the page and the document each read all files, and the page was drawn for each size tried."""
    chance = random.Random(4)
    files = {f"d{number % 40}/{chance.randbytes(12).hex()}": b"" for number in range(9000)}
    built = pybuild_magic.build("FROM scratch\nCOPY . /\n", files, tags="seen", view="files", progress="none")
    calls: list[str] = []

    def counted(module: Any, name: str) -> None:
        whole = getattr(module, name)

        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(" ".join([name, *(one for one in arguments if isinstance(one, str) and len(one) < 100)]))
            return whole(*arguments, **named)

        monkeypatch.setattr(module, name, call)

    counted(trees, "_entries")
    counted(trees, "owners_of")
    counted(html, "_page")
    page = built.mime_bundle()["text/html"]
    assert "the largest directories are listed" in page
    assert 0.9 * html.LIMIT < len(page) <= html.LIMIT, "and there is no more room than for a few entries"
    assert {"_entries image linux/amd64", "owners_of", "_page"} < {*calls}
    assert len(calls) == len({*calls})


def test_what_was_shown_is_not_packed_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build from the cache shows the same image."""
    first, second = (
        pybuild_magic.build("FROM scratch\nCOPY . /\n", {"a/b": "c"}, tags="seen", progress="none") for _ in range(2)
    )
    document = first.mime_bundle()[MIME_TYPE]
    monkeypatch.setattr(trees, "_pack", lambda *_: pytest.fail("it is packed again"))
    assert [paths(tree) for tree in document["trees"]] == [["a", "a/b"]]
    assert second.mime_bundle()[MIME_TYPE]["trees"] == document["trees"]


def test_a_layer_that_could_not_be_listed_is_listed_the_next_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = pybuild_magic.build("FROM scratch\nCOPY . /\n", {"a/d": "e"}, tags="seen", progress="none")
    whole = trees._entries
    monkeypatch.setattr(trees, "_entries", lambda *_: [])
    assert not any(map(paths, built.mime_bundle()[MIME_TYPE]["trees"]))
    monkeypatch.setattr(trees, "_entries", whole)
    assert [paths(tree) for tree in built.mime_bundle()[MIME_TYPE]["trees"]] == [["a", "a/d"]]


def test_the_heaviest_directories_are_opened_first_and_nothing_is_lost_from_the_count() -> None:
    def entries(folder: str, count: int, size: int) -> list[tuple[str, Entry]]:
        files = [("", Entry(f"{folder}/{number}", size=size)) for number in range(count)]
        return [("", Entry(folder, DIR)), *files]

    whole = [*entries("light", 50, 1), *entries("heavy", 20, 100)]
    shown = [entry for _, entry in heaviest(whole, 30)]
    assert {f"heavy/{number}" for number in range(20)} <= {entry.path for entry in shown}
    rest = [entry for entry in shown if entry.type == REST]
    assert len(rest) == 1
    assert len(shown) - 1 + int(rest[0].name.split()[0]) == len(whole)
    assert sum(entry.size for entry in shown) == 20 * 100 + 50
    assert heaviest(whole, 1000) == sorted(whole, key=lambda marked: marked[1].path.split("/"))


def ask(method: str, params: object, token: str = "") -> Any:
    return service().answer(token, method, params)[0]


def test_a_kernel_whose_store_has_the_layers_shows_a_result_of_another_one(built: BuildResult) -> None:
    assert built.image is not None
    (manifest,) = built.image.summary.manifests
    diff_ids = [layer.diff_id for layer in manifest.layers]
    asked = {"platform": manifest.platform, "digest": manifest.digest, "diff_ids": diff_ids}
    for digest in (built.image.digest, "sha256:" + "0" * 64):  # the documents may be gone, the layers tell the files
        token = ask("reopen", {"digest": digest, "manifests": [asked]})["token"]
        assert ask("known", {}, token)
        listed = ask("files", {"of": f"layer:{diff_ids[-1]}", "platform": manifest.platform}, token)
        assert "table.csv" in listed["columns"]["names"]
    for unknown in ("sha256:" + "1" * 64, "../../etc/passwd"):
        other = asked | {"diff_ids": [*diff_ids, unknown]}
        assert ask("reopen", {"digest": built.image.digest, "manifests": [other]}) == {"token": ""}
