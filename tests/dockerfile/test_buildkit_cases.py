"""BuildKit's own cases for its parser and its lexer, against ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pybuild_magic.dockerfile.node import SyntaxNode
from pybuild_magic.dockerfile.parser import parse_nodes
from pybuild_magic.dockerfile.shell import Lexer
from pybuild_magic.errors import DockerfileError
from pybuild_magic.golang.text import quote

from .buildkit_source import folders, needs_source, read

pytestmark = needs_source


@pytest.mark.parametrize("folder", folders("parser/testfiles"))
def test_a_parser_file_gives_the_tree_that_stands_beside_it(folder: str) -> None:
    text = read(f"parser/testfiles/{folder}/Dockerfile").decode()
    tree = "".join(f"({_sexp(node)})\n" for node in parse_nodes(text).nodes)
    assert tree.strip() == read(f"parser/testfiles/{folder}/result").decode().strip()


@pytest.mark.parametrize("folder", folders("parser/testfiles-negative"))
def test_a_negative_parser_file_is_refused(folder: str) -> None:
    with pytest.raises(DockerfileError):
        parse_nodes(read(f"parser/testfiles-negative/{folder}/Dockerfile").decode())


def test_the_line_file_gives_its_lines() -> None:
    nodes = parse_nodes(read("parser/testfile-line/Dockerfile").decode()).nodes
    assert [(n.location.start, n.location.end) for n in nodes] == [(5, 5), (11, 12), (17, 31)]


def test_every_environment_case_expands_as_written() -> None:
    env = {"PWD": "/home", "SHELL": "bash", "KOREAN": "한국어", "NULL": ""}
    wrong: list[str] = []
    count = 0
    for line in read("shell/envVarTest").decode().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        platform, source, expected = (column.strip() for column in line.split("|"))
        if platform in ("A", "U"):
            count += 1
            if (found := _outcome(Lexer().process_word, source, env)) != expected:
                wrong.append(f"{source}: {found!r}, not {expected!r}")
    assert not wrong
    assert count > 200


def test_every_word_case_splits_as_written() -> None:
    env: dict[str, str] = {}
    wrong: list[str] = []
    count = 0
    for line in read("shell/wordsTest").decode().split("\n"):
        if line.startswith("ENV "):
            name, _, env_value = line[3:].lstrip(" ").partition("=")
            env[name] = env_value
        elif line and not line.startswith("#"):
            source, expected = line.split("|")
            count += 1
            found = _outcome(Lexer().process_words, source.strip(), env)
            if found != expected.lstrip(" "):
                wrong.append(f"{source}: {found!r}, not {expected!r}")
    assert not wrong
    assert count > 15


def _outcome(expand: Callable[[str, dict[str, str]], str | list[str]], word: str, env: dict[str, str]) -> str:
    try:
        found = expand(word, env)
    except DockerfileError:
        return "error"
    return found if isinstance(found, str) else ",".join(found)


def _sexp(node: SyntaxNode) -> str:
    """A node as BuildKit dumps one."""
    flags = ["[" + " ".join(map(quote, node.flags)) + "]"] if node.flags else []
    if node.trigger:
        return " ".join([node.keyword.lower(), *flags, f"({_sexp(node.trigger)})"])
    words = [part for p in node.pairs for part in (p.key, p.value, "=" if p.delimited else "")] or node.words
    return " ".join([node.keyword.lower(), *flags, *map(quote, words)]).strip()
