"""What a build's result knows, and how it shows itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import pybuild_magic
from pybuild_magic.errors import UnsupportedError, UsageError
from pybuild_magic.notebook import commands
from pybuild_magic.result import BuildResult

from .conftest import FILES, PNG


def test_each_step_knows_its_stage_line_and_kind(built: BuildResult) -> None:
    steps = {step.name: (step.kind, step.stage, step.line) for step in built.vertexes}
    assert sorted(place for place in steps.values() if place[1]) == sorted(
        [
            ("source", "build", 1),
            ("file", "build", 2),
            ("file", "build", 3),
            ("exec", "build", 4),
            ("exec", "build", 5),
            ("file", "last", 9),
            ("merge", "last", 9),
        ]
    )
    assert steps["[internal] load build context"] == ("internal", "", 0)
    assert steps["exporting to image"][0] == "export"


def test_each_layer_knows_its_step_and_what_it_changes(built: BuildResult) -> None:
    assert built.image is not None
    names = {step.digest: step.name for step in built.vertexes}
    base, workdir, copy, run, rerun, link = built.image.layers
    assert base.vertex == ""
    assert [names[layer.vertex].split("] ")[1].split()[0] for layer in (workdir, copy, run, rerun, link)] == [
        *("WORKDIR", "COPY", "RUN", "RUN", "LINK"),
    ]
    assert [layer.line for layer in built.image.layers] == [0, 2, 3, 4, 5, 9]
    changes = [(layer.files_added, layer.files_changed, layer.files_removed) for layer in (workdir, copy, run, rerun)]
    assert changes == [(0, 0, 0), (4, 0, 0), (2, 0, 0), (0, 1, 1)]
    assert base.uncompressed_size > base.size > 0


SHARED = """FROM scratch AS build
WORKDIR /app
COPY <<EOF /app/x
x
EOF
FROM scratch AS test
WORKDIR /app
COPY --from=build /app /app
COPY <<EOF /ok
EOF
FROM scratch
WORKDIR /app
COPY --from=build /app /app
COPY --from=test /ok /
"""


def test_a_layer_of_a_step_that_stages_share_knows_its_own_line(home: Path) -> None:
    built = pybuild_magic.build(SHARED, tags="shared", progress="none")
    assert built.image is not None
    names = {step.digest: step.name.partition("] ")[2] for step in built.vertexes}
    assert [(names[layer.vertex], layer.line) for layer in built.image.layers] == [
        ("WORKDIR /app", 12),
        ("COPY --from=build /app /app", 13),
        ("COPY --from=test /ok /", 14),
    ]


def test_a_base_that_stages_share_is_named_in_each(home: Path) -> None:
    pybuild_magic.build("FROM scratch\nCOPY <<EOF /one\nEOF\nCOPY <<EOF /two\nEOF\n", tags="base", progress="none")
    text = "FROM base AS first\nCOPY <<EOF /made\nEOF\nFROM base\nCOPY --from=first /made /\n"
    built = pybuild_magic.build(text, tags="top", progress="none")
    assert built.summary.image is not None
    (manifest,) = built.summary.image.manifests
    assert (manifest.base, manifest.base_layers) == ("base:latest", 2)


def test_waste_is_what_dive_calls_so(built: BuildResult) -> None:
    """A file that is changed or removed later wastes all its bytes; of the score, the smallest version is needed."""
    manifest = built.summary.image.manifests[0]
    assert [(one.path, one.count, one.size) for one in manifest.wasted] == [("src/a.txt", 2, 14), ("junk/file", 2, 6)]
    assert manifest.wasted_bytes == 20
    assert 0.99999 < manifest.efficiency <= 1.0


def test_waste_is_known_of_an_image_of_any_size(built: BuildResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is not looked at to display a result; who asks in Python gets it, however long it takes."""
    monkeypatch.setattr("pybuild_magic.results.contents._QUICK", 1)
    large = pybuild_magic.build("FROM looked-at\nRUN echo again > /src/a.txt\n", "-", tags="large", progress="none")
    assert large.summary.image.manifests[0].efficiency == -1
    image = large.image
    assert image is not None and image.summary.manifests[0].wasted_bytes == 26
    assert 0.99999 < image.efficiency <= 1.0
    assert [layer.files_changed for layer in image.layers][-1] == 1
    assert commands.inspect(["large"]).efficiency == image.efficiency


def test_files_of_image_and_output_are_all_there_and_readable(built: BuildResult) -> None:
    assert built.image is not None
    files = built.image.files
    assert files["/src/a.txt"].size == 8
    assert files.read("src/a.txt") == b"changed\n"
    assert files.read("data/picture.png") == PNG
    assert "junk" not in files
    assert "bin/busybox" in files
    assert "bin/[ -> busybox" in repr(files)
    assert built.files is not None
    assert {file.path for file in built.files} == {file.path for file in files}
    assert built.files.read("src/sub/b.bin") == FILES["sub/b.bin"]
    assert "Left out" not in built.image.layers._repr_html_()


def test_two_builds_are_compared(built: BuildResult) -> None:
    other = pybuild_magic.build(
        "FROM looked-at\nRUN rm /numbers && echo more >> /src/a.txt && touch /src/table.csv\n"
        "COPY new.txt /\nENV GREETING=hello\n",
        {"new.txt": "new"},
        tags="other",
        progress="none",
    )
    found = other.diff(built)
    assert [(one.kind, one.file.path) for one in found if one.file.type == "0"] == [
        *(("A", "new.txt"), ("D", "numbers"), ("M", "src/a.txt")),
    ]
    assert found.shared_layers == 6
    assert [(one.key, one.before, one.after) for one in found.config] == [("Env GREETING", "hi there", "hello")]
    assert "1 added, 1 changed, 1 removed; 6 of 8 layers shared" in repr(found).replace("2 changed", "1 changed")
    assert "new.txt" in found._repr_html_()
    assert not built.diff(built)
    with pytest.raises(UsageError, match="no image"):
        pybuild_magic.build("FROM busybox\nRUN true\n", "-", progress="none").diff(built)


def test_everything_displays_itself(built: BuildResult) -> None:
    assert built.image is not None
    assert "application/vnd.pybuild.result.v1+json" in built.image._repr_mimebundle_()
    for shown in (built.image.layers, built.image.config, built.image.files, built.files):
        assert shown._repr_html_().startswith("<style>")
        assert repr(shown)
    assert built.image.config["config"]["Cmd"] == ["cat", "/src/a.txt"]
    assert "hi there" in built.image.config._repr_html_()


def test_without_pandas_a_data_frame_is_a_clear_error(built: BuildResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UnsupportedError, match="needs pandas"):
        built.to_dataframe()


def test_data_frames_have_a_row_for_each_thing(built: BuildResult) -> None:
    assert built.image is not None
    assert list(built.image.layers.to_dataframe()["files_added"])[1:3] == [0, 4]
    assert built.image.files.to_dataframe().set_index("path").loc["src/a.txt", "size"] == 8
    assert "exec" in set(built.to_dataframe()["kind"])


def test_layers_that_are_in_an_archive_alone_are_looked_at_there(built: BuildResult, home: Path) -> None:
    """As a daemon's are: what the store has lost is read from the file that the build wrote."""
    from pybuild_magic.results.contents import Contents
    from pybuild_magic.store import Store

    assert built._contents is not None
    with Store(home / "elsewhere") as store:
        contents = Contents(store, built.summary.image, built._contents.outputs, built._contents._read_blob)
        view = contents.view("image")
        assert view.read("src/a.txt", 3, 100)[1] == b"nged\n"
        manifest = contents.manifest()
        assert contents.analysis(manifest).layers[2].added == 4
        assert contents.analysis(manifest, quick=True) is not None
