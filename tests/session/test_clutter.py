"""What a large context is made of, and `.dockerignore` written for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pybuild_magic.session.clutter import look_at

MB = 1_000_000


@pytest.mark.parametrize(
    ("files", "largest", "ignorable", "data"),
    [
        ({"a.py": MB}, [], [], []),
        ({"data/train/x.csv": 95 * MB, "data/y.csv": 5 * MB}, ["data/train"], [], ["data/train"]),
        ({"src/a.py": 2 * MB, "lib/b.so": MB, "c": 9 * MB}, ["src", "lib"], [], []),
        (
            {".git/objects/1": 50 * MB, "sub/.git/2": MB, "x/.ipynb_checkpoints/n.ipynb": 2 * MB, "__pycache__/a": 3},
            [".git/objects", "x/.ipynb_checkpoints", "sub/.git"],
            [".git", "**/.ipynb_checkpoints", "**/.git", "**/__pycache__"],
            [],
        ),
        (
            {"env/pyvenv.cfg": 9, "env/lib/site/__pycache__/t.pyc": 5 * MB, "env/lib/data.csv": 30 * MB},
            ["env/lib"],
            ["env"],
            [],
        ),
        ({"tools/conda/conda-meta/history": 9, "tools/conda/bin/python": 7}, ["tools/conda"], ["tools/conda"], []),
    ],
)
def test_what_is_large_and_what_is_clutter(
    files: dict[str, int], largest: list[str], ignorable: list[str], data: list[str]
) -> None:
    found = look_at(files.items())
    assert found.total == sum(files.values())
    assert [path for path, _ in found.largest] == largest
    assert [pattern for pattern, _ in found.ignorable] == ignorable
    assert [path for path, _ in found.data] == data


def test_the_sentences_name_both() -> None:
    found = look_at({".git/a": 120 * MB, "data/x.parquet": 2_000 * MB, "app.py": 9}.items())
    assert found.sentence() == "2,120 MB, most of it in data (2,000 MB), .git (120 MB)."
    advice = found.advice(Path.cwd())
    assert "`%build ignore` leaves out .git (120 MB)." in advice and "`%build ignore data`" in advice
    assert "`%build ignore --context 'a b' data`" in found.advice(Path.cwd() / "a b")
    assert "`%build ignore --context /elsewhere data`" in found.advice(Path("/elsewhere"))
    assert look_at({"app.py": 9}.items()).advice(Path("/elsewhere")) == ""
