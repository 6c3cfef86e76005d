"""What the sources of a build are: the context's filter, named contexts, downloads and repositories."""

from __future__ import annotations

import json

import pytest

from pybuild_magic.dockerfile.contexts import git_context, http_context, subdirectory, unpacked_context
from pybuild_magic.dockerfile.git_ref import parse_git_ref
from pybuild_magic.errors import DockerfileError, UsageError
from pybuild_magic.llb.ops import FileCopy, SourceOp, walk

from .lowered import Images, lower, names, one, ops


@pytest.mark.parametrize(
    ("dockerfile", "followed"),
    [
        ("COPY a b/ ./../c*/d /x/", ["a", "b", "c*/d"]),
        ("COPY . /", None),
        ("COPY a /\nCOPY / /x", None),
        ("ADD https://example.com/x y /", ["y"]),
        ("COPY <<E a /\nE", ["a"]),
        ("RUN --mount=source=m,target=/m x", ["m"]),
        ("RUN --mount=target=/m x", None),
        ("COPY <é> &b /", ["&b", "<é>"]),
    ],
)
def test_the_context_is_asked_for_what_is_read_alone(dockerfile, followed):
    (source,) = [op for op in ops(one(f"FROM scratch\n{dockerfile}\n"), SourceOp) if op.identifier == "local://context"]
    found = source.attrs.get("local.followpaths")
    assert (json.loads(found) if found else None) == followed


def test_what_is_ignored_is_left_out_and_read_once():
    asked = []

    def ignore(directory: str, vertex: str) -> list[str]:
        asked.append((directory, vertex))
        return ["*.log", "!keep.log"]

    (target,) = lower("FROM scratch\nCOPY a /\nCOPY b /\n", ignore=ignore)
    (source,) = ops(target, SourceOp)
    assert json.loads(source.attrs["local.excludepatterns"]) == ["*.log", "!keep.log"]
    assert asked == [("context", "[internal] load .dockerignore")]


def test_a_build_that_needs_no_context_has_none():
    assert ops(one("FROM scratch\nCOPY <<E /x\nE\n"), SourceOp) == []


@pytest.mark.parametrize(
    ("value", "identifier", "name"),
    [
        ("local:more", "local://more", "[context more] load from client"),
        (
            "docker-image://alpine:3",
            "docker-image://docker.io/library/alpine:3@sha256:" + "a" * 64,
            "[context more] alpine:3",
        ),
        (
            "oci-layout:///some/dir:tag",
            "oci-layout://docker.io/library/more@sha256:" + "a" * 64,
            "[context more] OCI load from client",
        ),
        ("https://example.com/x.tar", "https://example.com/x.tar", "[context more] https://example.com/x.tar"),
        (
            "https://example.com/x.git#v1:sub",
            "git://example.com/x.git#v1:sub",
            "[internal] load git source https://example.com/x.git#v1:sub",
        ),
    ],
)
def test_a_named_context_takes_the_place_of_an_image(value, identifier, name):
    for dockerfile in ("FROM more\nCOPY a /\n", "FROM scratch\nCOPY --from=more a /\n", "FROM x AS more\nFROM more\n"):
        target = one(dockerfile, Images(missing={"more", "x"}), **{"context:more": value})
        sources = [node for node in walk(target.edge) if isinstance(node.op, SourceOp)]
        assert (sources[0].op.identifier, sources[0].name) == (identifier, name)


def test_a_context_for_the_platform_wins():
    values = {"context:more": "docker-image://all", "context:more::linux/amd64": "docker-image://amd"}
    assert names(one("FROM more\nRUN x\n", **values))[0] == "[context more::linux/amd64] amd"


@pytest.mark.parametrize("value", ["nonsense", "what:ever"])
def test_an_unknown_kind_of_context_is_refused_at_its_line(value):
    with pytest.raises(DockerfileError, match=r"context (specifier|source)") as caught:
        one("FROM scratch\nCOPY --from=more a /\n", **{"context:more": value})
    assert caught.value.location.start == 2


@pytest.mark.parametrize(
    ("text", "identifier", "attrs"),
    [
        ("https://a.b/c.git", "git://a.b/c.git", {"git.fullurl": "https://a.b/c.git"}),
        ("https://a.b/c.git#v1:/d/../e", "git://a.b/c.git#v1:e", {"git.fullurl": "https://a.b/c.git"}),
        ("https://u:p@a.b:1/c.git?tag=v1", "git://a.b:1/c.git#refs/tags/v1", {"git.fullurl": "https://u:p@a.b:1/c.git"}),
        ("git@a.b:c/d.git#main", "git://a.b/c/d.git#main",
         {"git.fullurl": "git@a.b:c/d.git", "git.mountsshsock": "default"}),
        ("git://a.b/c?keep-git-dir=1&submodules=0", "git://a.b/c",
         {"git.keepgitdir": "true", "git.skipsubmodules": "true"}),
        ("ssh://a.b/c?commit=abc&mtime=commit&fetch-by-commit=1", "git://a.b/c",
         {"git.checksum": "abc", "git.mtime": "commit", "git.fetchbycommit": "true"}),
        ("github.com/a/b", "git://github.com/a/b", {"git.fullurl": "https://github.com/a/b"}),
    ],
)  # fmt: skip
def test_a_git_url_is_a_source(text, identifier, attrs):
    op = parse_git_ref(text).source()
    assert op.identifier == identifier
    assert attrs.items() <= op.attrs.items()


@pytest.mark.parametrize("text", ["./a.git", "../a", "https://a.b/c", "ftp://a.b/c.git", "a/b.git", "C:\\x"])
def test_other_texts_are_no_git_url(text):
    assert parse_git_ref(text) is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("x=1", 'unexpected query "x"'),
        ("ref=", 'query "ref" has no value'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("ref=a&tag=b", 'ref conflicts: "a" vs "refs/tags/b"'),
        ("submodules=maybe", 'invalid submodules value: "maybe"'),
        ("mtime=now", 'invalid mtime value: "now" (must be "checkout" or "commit")'),
    ],
)
def test_a_git_url_that_contradicts_itself_is_refused(query, message):
    with pytest.raises(DockerfileError) as caught:
        parse_git_ref(f"https://a.b/c.git?{query}")
    assert caught.value.message == message


def test_a_build_arg_of_builders_before_file_operations_is_refused_as_there():
    with pytest.raises(UsageError, match="BUILDKIT_DISABLE_FILEOP"):
        lower("FROM scratch", **{"build-arg:BUILDKIT_DISABLE_FILEOP": "1"})
    lower("FROM scratch", **{"build-arg:BUILDKIT_DISABLE_FILEOP": "0"})


def test_contexts_from_elsewhere_are_sources_and_copies():
    assert git_context("not/git") is None
    edge = git_context("https://a.b/c.git#v:sub", keep_git_dir=True, commit_times=True)
    assert {"git.keepgitdir": "true", "git.mtime": "commit"}.items() <= edge.node.op.attrs.items()
    download = http_context("https://a.b/c.tar")
    (action,) = unpacked_context(download).node.op.actions
    assert action.action == FileCopy("/context", "/", attempt_unpack=True)
    (action,) = subdirectory(download, "x/../y").node.op.actions
    assert (action.action.src, action.action.dir_copy_contents) == ("/y", True)
