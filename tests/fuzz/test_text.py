"""What people and repositories write: Dockerfiles, ignore files, names, flags. Nothing but BuildError comes out."""
# ruff: noqa: E501 - the pieces are read better in rows

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pybuild_magic.dockerfile.directives import read_directives
from pybuild_magic.dockerfile.git_ref import parse_git_ref
from pybuild_magic.dockerfile.shell import Lexer
from pybuild_magic.errors import BuildError
from pybuild_magic.exporters import check
from pybuild_magic.golang.duration import parse_duration
from pybuild_magic.golang.patternmatcher import PatternMatcher, read_ignore
from pybuild_magic.oci import platform, reference
from pybuild_magic.request.command import equivalent_command
from pybuild_magic.request.flags import parse_flags
from pybuild_magic.request.parse import options_from
from pybuild_magic.request.solve_request import compile_request
from pybuild_magic.request.table import OPTIONS
from pybuild_magic.request.values import parse_size, parse_ulimit
from tests.dockerfile.lowered import lower

SLOW = 5.0
"""Seconds that one input may take on the busiest machine; nearly all take less than a millisecond."""
bounded = settings(
    max_examples=60, deadline=SLOW * 1000, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

LONG = "9" * 5000
ODD = ["²", "٣", "\x00", "\udcff", "\ufeff", "é", "\r", "1_0", "+1", "-1", LONG, "0" * 5000 + "1", "1e400", "[::"]
PIECES = st.sampled_from(
    [
        *("FROM ", "scratch", "busybox", " AS ", "a", "RUN ", "COPY ", "ADD ", "ARG ", "ENV ", "LABEL ", "USER ", "WORKDIR "),
        *("EXPOSE ", "VOLUME ", "CMD ", "ENTRYPOINT ", "HEALTHCHECK ", "ONBUILD ", "SHELL ", "STOPSIGNAL ", "MAINTAINER "),
        *("--from=", "--chmod=", "--chown=", "--mount=type=", "--platform=", "--checksum=", "--interval=", "--retries="),
        *("bind,", "cache,", "tmpfs,size=", "secret,id=", "target=/x,", "uid=", "mode=", "sharing="),
        *("[", "]", '"', "'", "\\", "\n", "\n", "\n", " ", "\t", "#", "=", ",", ":", "/", "..", "*", "?", "$", "${", "}"),
        *("<<E", "<<-'E'", "\nE\n", "%", "##", "//", ":-", ":+", ":?", "# syntax=", "# escape=`", "# check=", "@", "{", "|"),
        *("http://", "https://u:p@", "h/x.git", "?ref=", "&tag=", "sha256:", "linux/", "amd64", "arm/v", "1h", ".5s", "80-90/udp"),
        *ODD,
    ]
)  # fmt: skip
TEXTS = st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(max_size=200))
DOCKERFILES = TEXTS.map(lambda text: f"FROM scratch\n{text}")


@given(st.one_of(TEXTS, DOCKERFILES))
@bounded
@example(f"FROM scratch AS a\nCOPY --from={LONG} a b")
@example(f"FROM scratch\nHEALTHCHECK --retries={LONG} CMD x")
@example(f"FROM scratch\nHEALTHCHECK --interval={LONG}h CMD x")
@example(f"FROM scratch\nHEALTHCHECK --interval=1.{LONG}h CMD x")
@example(f"FROM scratch\nEXPOSE {LONG}")
@example(f"FROM scratch\nSTOPSIGNAL {LONG}")
@example(f"FROM scratch\nCOPY --chown={LONG}:² a b")
@example(f"FROM scratch\nCOPY --chmod={LONG} a b")
@example(f"FROM scratch\nRUN --mount=type=tmpfs,target=/x,size={LONG} true")
@example(f"FROM scratch\nRUN --mount=type=tmpfs,target=/x,size=1{'0' * 400} true")
@example(f"FROM scratch\nRUN --mount=type=cache,target=/x,uid={LONG} true")
@example(f"FROM scratch\nARG SOURCE_DATE_EPOCH={'0' * 5000}1")
@example(f"FROM scratch\nCOPY {LONG}<<E /x\na\nE")
@example("FROM scratch\nADD http://[::/x /y")
@example("FROM scratch\nADD https://a\uff0fb/x /y")
@example("FROM scratch\nARG a=${b#" + "*" * 300 + "}")
@example("FROM scratch\nENV a=b\nENV c=${a/" + "*a" * 100 + "/x}")
@example("FROM scratch\n" + "ONBUILD " * 3000 + "RUN x")
@example("FROM scratch\nRUN " + "<<A " * 2000)
@example("FROM scratch\nCMD " + "[" * 30_000)
@example("FROM scratch\nENV a=" + "${a:-" * 5000)
def test_a_dockerfile(text: str) -> None:
    with contextlib.suppress(BuildError):
        lower(text)


@given(TEXTS)
@bounded
def test_directives(text: str) -> None:
    with contextlib.suppress(BuildError):
        read_directives(text, "Dockerfile")


@given(TEXTS, st.dictionaries(st.text(max_size=3), st.text(max_size=9), max_size=3))
@bounded
@example("${" * 5000, {})
@example("${a##" + "*?" * 200 + "}", {"a": "x" * 200})
def test_words_of_a_shell(text: str, env: dict[str, str]) -> None:
    for read in (Lexer().process_word, Lexer().process_words):
        with contextlib.suppress(BuildError):
            read(text, env)


@given(TEXTS, st.lists(TEXTS, max_size=5))
@bounded
@example("[" + "a-z" * 500, ["x"])
@example("*a" * 40, ["a" * 2000])
@example("**/a" * 40 + "z", ["a/" * 1000])
def test_an_ignore_file(text: str, paths: list[str]) -> None:
    with contextlib.suppress(BuildError):
        matcher = PatternMatcher(read_ignore(text))
        for path in paths:
            matcher.matches(path)


@given(TEXTS)
@bounded
@example("https://[::/x.git")
@example("https://a\uff0fb/x.git")
@example("https://a/x.git?" + "ref=a&" * 2000)
def test_a_git_reference(text: str) -> None:
    for form in (text, f"https://h/{text}.git", f"git@h:{text}", f"https://h/x.git?{text}", f"https://h/x.git#{text}"):
        with contextlib.suppress(BuildError):
            found = parse_git_ref(form)
            if found is not None:
                found.source()


@given(TEXTS)
@bounded
@example("linux/arm/v" + LONG)
@example("linux/arm64/v8.²")
@example("linux/amd64/v" + "9" * 9)
def test_names(text: str) -> None:
    for read in (reference.parse, parse_duration, parse_ulimit, lambda text: parse_size(text, "x")):
        with contextlib.suppress(BuildError):
            read(text)
    with contextlib.suppress(BuildError):
        parsed = platform.parse(text)
        platform.rank(parsed, platform.host())
        platform.rank(platform.host(), parsed)


FLAGS = ["-t", "-o", "--build-arg", "--secret", "--ssh", "--ulimit", "--shm-size", "--add-host", "--cache-from"]
FLAGS += ["--platform", "--attest", "--resource", "--annotation", "--label", "--build-context", "--network", "--target"]


@given(st.lists(st.tuples(st.sampled_from(FLAGS), TEXTS), max_size=4), TEXTS)
@bounded
@example([("--shm-size", LONG), ("--ulimit", f"nofile={LONG}")], ".")
@example([("--shm-size", "9" * 400)], ".")
@example([("--resource", f"memory={'9' * 400}")], ".")
@example([("-o", '"' * 999)], ".")
def test_flags(flags: list[tuple[str, str]], context: str) -> None:
    words = [f"{name}={value}" if name.startswith("--") else name + value for name, value in flags]
    with contextlib.suppress(BuildError):
        options = options_from(parse_flags([*words, context], OPTIONS), dockerfile="FROM scratch\n")
        equivalent_command(options)
        request = compile_request(options)
        for entry in request.exporters:
            check(entry.type, entry.attrs, None)


@given(st.sampled_from(["image", "oci", "docker", "local", "tar"]), st.dictionaries(TEXTS, TEXTS, max_size=3))
@bounded
@example("oci", {"compression-level": LONG})
@example("oci", {"source-date-epoch": "²"})
def test_attributes_of_outputs(kind: str, attributes: dict[str, str]) -> None:
    with contextlib.suppress(BuildError):
        check(kind, attributes, None)


def test_a_stage_number_of_any_length_is_a_sentence() -> None:
    with pytest.raises(BuildError, match="invalid stage index 999"):
        lower(f"FROM scratch AS a\nCOPY --from={LONG} a b")
