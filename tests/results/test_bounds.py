"""What a notebook keeps of a build has a limit, however large and however hostile the build."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pybuild_magic.display import mime_bundle
from pybuild_magic.display.words import left_out
from pybuild_magic.results.bounds import LIMIT, bound
from pybuild_magic.summary import (
    FileSummary,
    HistorySummary,
    ImageSummary,
    LayerSummary,
    ManifestSummary,
    OutputSummary,
    Summary,
    VertexSummary,
    WarningSummary,
)

WHOLE = 200_000
"""Bytes of all that a notebook keeps of a build."""
AT = datetime(2026, 1, 1, tzinfo=UTC)


def image(**changes: Any) -> ImageSummary:
    manifest = ManifestSummary(
        digest="sha256:" + "a" * 64,
        media_type="application/vnd.oci.image.manifest.v1+json",
        size=1,
        platform="linux/amd64",
        config_digest="sha256:" + "b" * 64,
        config_media_type="",
        config_size=1,
        config={"config": {"Labels": {"a": "b"}}},
        layers=(),
    )
    return ImageSummary(
        names=("x",), digest="", media_type="", size=1, manifests=(msgspec.structs.replace(manifest, **changes),)
    )


def layer(text: str) -> LayerSummary:
    return LayerSummary(digest="sha256:" + "c" * 64, media_type="", size=1, diff_id="", created_by=text)


def step(number: int, name: str = "RUN true", **more: Any) -> VertexSummary:
    digest = f"sha256:{number:064d}"
    return VertexSummary(digest=digest, name=name, inputs=(digest,), started=AT, completed=AT, stage="s", **more)


BIG = "\x00\u202e<&\udcff😀" * 1_000_000
SUMMARIES = {
    "files": {
        "outputs": (
            OutputSummary(
                type="local",
                dest="out",
                files=tuple(FileSummary(f"some/long/directory/{n}", "0", 0o644, n) for n in range(100_000)),
            ),
        )
    },
    "logs": {"vertexes": (step(1, log_tail="\n".join("line" * 50 for _ in range(10_000)), log_lines=10_000),)},
    "vertexes": {"vertexes": tuple(step(n, log_tail="some\nlines", log_lines=50) for n in range(500))},
    "many vertexes": {"vertexes": tuple(step(n, "RUN " + "x" * 5000) for n in range(20_000))},
    "label": {"image": image(config={"config": {"Labels": {"large": "x" * 5_000_000}}})},
    "labels": {"image": image(config={"config": {"Labels": {f"l{n}": BIG[:100] for n in range(50_000)}}})},
    "deep": {"image": image(config={"config": json.loads("[" * 400 + "]" * 400)})},
    "layers": {"image": image(layers=tuple(layer("RUN " + "é" * 3000) for _ in range(1000)))},
    "history": {"image": image(history=tuple(HistorySummary(created_by="x" * 9000) for _ in range(2000)))},
    "texts": {"dockerfile": BIG, "command": BIG, "request": BIG, "target": BIG, "error": BIG},
    "warnings": {"warnings": tuple(WarningSummary(short=BIG[:9999], detail=BIG[:9999]) for _ in range(1000))},
    "raw": {"image": image(raw=BIG)},
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_build_of_any_size_takes_little_of_a_notebook(name: str) -> None:
    summary = Summary(ref="r", builder="embedded", **SUMMARIES[name])
    small = bound(summary)
    assert len(msgspec.json.encode(small)) <= LIMIT
    assert small.omitted, "and it says that something is missing"
    bundle = mime_bundle(summary)
    assert sum(len(json.dumps(value, default=str, ensure_ascii=False).encode()) for value in bundle.values()) <= WHOLE
    json.dumps(bundle, default=str).encode()


def test_what_was_left_out_is_counted() -> None:
    small = bound(Summary(ref="r", builder="embedded", **SUMMARIES["files"]))
    (output,) = small.outputs
    assert len(output.files) + output.more_files == 100_000
    assert small.omitted["files"] == output.more_files
    logs = bound(Summary(ref="r", builder="embedded", **SUMMARIES["logs"]))
    (one,) = logs.vertexes
    assert len(one.log_seconds) in (0, len(f"{one.log_head}\n{one.log_tail}".split("\n")))
    assert logs.omitted["log lines"] == 10_000 - len(f"{one.log_head}\n{one.log_tail}".strip("\n").split("\n"))
    steps = bound(Summary(ref="r", builder="embedded", **SUMMARIES["many vertexes"]))
    assert len(steps.vertexes) + steps.omitted["vertexes"] == 20_000


def test_an_ordinary_build_is_kept_whole() -> None:
    summary = Summary(
        ref="r",
        builder="embedded",
        vertexes=tuple(step(n, log_tail="line", log_lines=1) for n in range(20)),
        image=image(layers=(layer("COPY . /"),)),
        dockerfile="FROM scratch\n" * 100,
    )
    assert bound(summary) == summary


def test_of_too_many_steps_those_that_failed_are_kept() -> None:
    steps = [step(n, "RUN " + "x" * 900) for n in range(3000)]
    steps[2500] = step(2500, "RUN false", error="exit code: 1")
    kept = bound(Summary(ref="r", builder="embedded", vertexes=tuple(steps))).vertexes
    assert "exit code: 1" in [one.error for one in kept]
    assert [one.digest for one in kept] == sorted(one.digest for one in kept), "in their order"


def test_a_note_tells_what_is_missing_unless_its_place_does() -> None:
    long = step(1, "RUN " + "x" * 3000, log_head="", log_tail="y" * 900, log_lines=40)
    for more, note in (
        ({"vertexes": (long,)}, ""),
        ({"command": "z" * 50_000, "vertexes": (long,)}, "the end of the docker command."),
        ({"image": image(layers=tuple(layer("RUN x") for _ in range(201)))}, "1 layer."),
        ({"image": image(config={"config": {"Labels": {"a": "x" * 5000}}})}, "1 value."),
    ):
        summary = Summary(ref="r", builder="embedded", **more)
        assert left_out(bound(summary).omitted).partition(" In Python")[0].endswith(note)
        page = mime_bundle(summary)["text/html"]
        assert note in page and ("Left out" in page) == bool(note)
