"""Which stages are built, what they stand on, and what their vertices are called."""

from __future__ import annotations

import pytest

from pybuild_magic.errors import DockerfileError, SourceError
from pybuild_magic.llb.ops import FileOp, MergeOp, SourceOp, walk

from .lowered import Images, image, lower, names, one, ops

BASE = "docker.io/library/busybox:latest"
PINNED = f"{BASE}@sha256:{'a' * 64}"


def test_one_stage_has_no_name_and_an_external_image_has_no_number():
    target = one("FROM busybox\nCOPY --from=alpine /x /y\nRUN true\n")
    # The image that COPY names counts as a stage, so the first one is called by its number.
    assert names(target) == [
        f"[stage-0 1/3] FROM {PINNED}",
        f"FROM docker.io/library/alpine:latest@sha256:{'a' * 64}",
        "[stage-0 2/3] COPY --from=alpine /x /y",
        "[stage-0 3/3] RUN true",
    ]
    assert names(one("FROM busybox\nRUN true\n"))[-1] == "[2/2] RUN true"


def test_steps_are_aligned_and_only_those_that_make_vertices_count():
    target = one("FROM busybox\nENV A=1\nLABEL b=c\n" + "RUN true\n" * 9)
    assert [name[:8] for name in names(target)] == ["[ 1/10] ", *(f"[{n:2}/10] " for n in range(2, 11))]


def test_a_stage_that_is_not_needed_is_neither_lowered_nor_asked_about():
    images = Images()
    lower("FROM never AS a\nRUN x\nFROM busybox AS b\nFROM scratch AS c\nCOPY --from=b / /\n", images)
    assert images.asked == [BASE]


def test_one_image_is_asked_about_once_for_all_stages_and_platforms():
    images = Images()
    lower("FROM busybox AS a\nRUN x\nFROM busybox\nCOPY --from=a / /\nCOPY --from=busybox / /\n", images)
    assert images.asked == [BASE]


def test_equal_vertices_are_one_node():
    target = one("FROM busybox AS a\nRUN x\nFROM busybox AS b\nCOPY --from=a /x /\n")
    sources = [node for node in walk(target.edge) if isinstance(node.op, SourceOp)]
    assert [node.name for node in sources] == [f"[a 1/2] FROM {PINNED}"]


@pytest.mark.parametrize(
    ("dockerfile", "message", "line"),
    [
        (
            "FROM busybox AS base\nFROM bsae\n",
            "The Dockerfile has no such stage (did you mean base?), and as an image: bsae: not found",
            2,
        ),
        ("FROM bsybox\n", "bsybox: not found (did you mean busybox?)", 1),
        ("FROM busybox\nCOPY --from=missing / /\n", "missing: not found", 2),
    ],
)
def test_a_missing_image_is_told_at_its_line_with_what_may_have_been_meant(dockerfile, message, line):
    with pytest.raises(SourceError) as caught:
        lower(dockerfile, Images(missing={"bsae", "bsybox", "missing"}))
    assert (caught.value.message, caught.value.location.start) == (message, line)


def test_a_dockerfile_without_stages_is_refused():
    with pytest.raises(DockerfileError, match="dockerfile contains no stages to build"):
        lower("ARG A\n")


def test_a_long_dockerfile_does_not_exhaust_the_stack():
    assert one("FROM busybox\n" + "RUN true\n" * 3000).edge.node.digest.startswith("sha256:")


def test_parents_keep_what_follows_the_pivot_and_require_what_is_no_pattern():
    target = one("FROM scratch\nCOPY --parents a/./b/c.txt x/*.txt d /to/\n")
    (op,) = ops(target, FileOp)
    found = [(a.action.src, a.action.include_patterns, a.action.required_paths) for a in op.actions]
    assert found == [
        ("/a", ("b/c.txt",), ("/a/b/c.txt",)),
        ("/", ("x/*.txt",), ()),
        ("/", ("d",), ("/d",)),
    ]


def test_a_link_onto_nothing_is_no_merge():
    target = one("FROM scratch\nENV A=1\nCOPY --link a /\nCOPY --link b$A /\n")
    assert [type(node.op) for node in walk(target.edge) if not isinstance(node.op, SourceOp)] == [
        FileOp,
        FileOp,
        MergeOp,
    ]
    assert target.edge.node.name == "[2/2] LINK COPY --link b1 /"


def test_no_cache_of_one_stage_leaves_the_others_cached():
    dockerfile = "FROM busybox AS a\nRUN one\nFROM a\nRUN two\nFROM a AS c\nRUN three\nCOPY --from=1 / /\n"
    fresh = {node.name for node in walk(one(dockerfile, **{"no-cache": "A,c"}).edge) if node.ignore_cache}
    assert {name.partition("] ")[2] for name in fresh} == {"RUN one", "RUN three", "COPY --from=1 / /"}


def test_a_scratch_image_has_no_source_but_its_config():
    images = Images({"empty": image(layers=0, env=["A=b"])})
    (target,) = lower("FROM empty\nCOPY a /\n", images)
    assert target.config.config.env[0] == "A=b"
    assert [type(node.op) for node in walk(target.edge)] == [SourceOp, FileOp]


def test_a_trigger_reads_variables_where_it_runs_and_is_gone_in_the_result():
    images = Images({"on": image(onbuild=["ARG V=1", "RUN echo $V", "COPY --from=busybox /x /"])})
    (target,) = lower("FROM on\nRUN own\n", images)
    assert target.config.config.on_build == ()
    assert [name.partition("] ")[2] for name in names(target) if "FROM" not in name] == [
        "ONBUILD RUN echo 1",
        "ONBUILD COPY --from=busybox /x /",
        "RUN own",
    ]
    assert images.asked == ["docker.io/library/on:latest", BASE]


def test_a_trigger_that_is_no_instruction_is_refused_at_the_from():
    images = Images({"on": image(onbuild=["NOPE x"])})
    with pytest.raises(DockerfileError) as caught:
        lower("# comment\nFROM on\n", images)
    assert caught.value.location.start == 2


def test_the_builders_platform_is_taken_of_an_image_that_is_for_another():
    images = Images({"arm": image(architecture="arm64")})
    (target,) = lower("FROM arm\nRUN x\n", images)
    assert target.config.architecture == "arm64"
    (target,) = lower("FROM arm\nRUN x\n", images, platform="linux/amd64")
    assert target.config.architecture == "amd64"
