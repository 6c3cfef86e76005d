"""`--check` and `--call` in a notebook: as text, as escaped HTML, as data; and the warnings of a build."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any

import pytest

from tests.services.buildkit import Engine

from .conftest import Shell

MISTAKES = "from scratch AS Web\nworkdir a\nENV TOKEN <b>$x</b>\nCMD echo hi\n"


def test_a_check_lists_its_warnings_by_line_with_the_marked_source(shell: Shell) -> None:
    result = shell.run(f"%%build --check --into found\n{MISTAKES}")
    text = repr(result)
    assert text.startswith("Check complete, 9 warnings have been found!\n\nWARNING: StageNameCasing - https://")
    assert "Dockerfile:2\n--------------------\n   1 |     from scratch AS Web\n   2 | >>> workdir a\n" in text
    assert not result
    assert shell.names["found"] is result
    assert [(one.rule_name, one.location.line) for one in result.warnings[:2]] == [
        ("StageNameCasing", 1),
        ("FromAsCasing", 1),
    ]
    assert result.warnings[0].url == "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/"


def test_the_page_of_a_check_is_escaped(shell: Shell) -> None:
    result = shell.run(
        "%%build --check\nFROM scratch\nENV A=$x\nLABEL <img/src=x> b\nENV <i>TOKEN</i>_TOKEN=<b>x</b>\n"
    )
    page = result._repr_html_()
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert not re.search(r"<(b|i|img)\b", page)
    assert "<mark>" in page


def test_a_check_of_a_broken_dockerfile_shows_the_error_and_what_came_before(shell: Shell) -> None:
    result = shell.run("%%build --check\nFROM scratch as x\nCOPPY a b\n")
    assert [one.rule_name for one in result.warnings] == ["FromAsCasing"]
    assert result.error.message.endswith("unknown instruction: COPPY (did you mean COPY?)")
    assert "   2 | >>> COPPY a b" in repr(result)
    assert "unknown instruction: COPPY" in result._repr_html_()


def test_a_page_of_many_warnings_is_limited_and_says_so(shell: Shell) -> None:
    result = shell.run("%%build --check\nFROM scratch\n" + f"ENV {'A' * 1000} $x\n" * 500)
    assert len(result.warnings) == 1000
    assert len(result._repr_html_()) < 110_000
    assert len(repr(result)) < 90_000
    assert re.search("… 9[0-9][0-9] more", repr(result))


def test_a_check_that_finds_nothing_says_so_and_is_true(shell: Shell) -> None:
    result = shell.run("%%build --check\nFROM scratch\nLABEL a=b\n")
    assert repr(result) == "Check complete, no warnings found."
    assert result


def test_outlines_and_targets_are_tables_and_data(shell: Shell) -> None:
    dockerfile = "# V is the version\nARG V=1\n# one is it\nFROM scratch AS one\nARG V\nFROM one\n"
    outline = shell.run(f"%%build --call=outline --target one\n{dockerfile}")
    assert repr(outline) == (
        "TARGET:      one\nDESCRIPTION: is it\n\nBUILD ARG   VALUE   DESCRIPTION\nV           1       is the version"
    )
    assert [(arg.name, arg.value, arg.location.line) for arg in outline.args] == [("V", "1", 2)]
    assert "<td>is the version</td>" in outline._repr_html_()
    targets = shell.run(f"%%build --call=targets\n{dockerfile}")
    assert repr(targets) == "TARGET    DESCRIPTION\none       is it\n(default)"
    assert [one.default for one in targets.targets] == [False, True]


def test_the_json_of_a_call_is_the_document_of_buildkit(shell: Shell) -> None:
    result = shell.run("%%build --call=check,format=json\nFROM scratch as x\n")
    bundle = result._repr_mimebundle_()
    assert bundle["application/json"]["warnings"][0]["ruleName"] == "FromAsCasing"
    assert bundle["text/plain"].startswith('{\n  "warnings": [')


@pytest.mark.parametrize("line", ["--call=chek", "--call=check,format=yaml", "--call=check,formt=json", "--call=a,b"])
def test_an_unknown_call_is_refused(shell: Shell, line: str) -> None:
    assert "--call" in str(shell.fail(f"%%build {line}\nFROM scratch\n"))


def test_a_build_warns_as_buildkit_does(shell: Shell, engine: Engine) -> None:
    dockerfile = "# check=skip=StageNameCasing\n" + MISTAKES.replace("CMD", 'SHELL ["a"]\nCMD')
    result = shell.run(f"%%build --progress plain\n{dockerfile}")
    messages = engine.build_status(None, "--output=type=cacheonly", dockerfile=dockerfile)
    warnings: list[dict[str, Any]] = [one for message in messages for one in message.get("warnings", ())]
    assert [(one.short, one.detail, one.url, one.line) for one in result.warnings] == [
        (
            b64decode(one["short"]).decode(),
            b64decode(one["detail"][0]).decode(),
            one.get("url", ""),
            one["range"][0]["start"]["line"],
        )
        for one in warnings
    ]
    first = "FromAsCasing: 'AS' and 'from' keywords' casing do not match (line 2)"
    assert f" {len(warnings)} warnings found:\n - {first}\n" in shell.err
    assert "(line 2)" in repr(result)


def test_violations_are_errors_when_the_dockerfile_says_so(shell: Shell) -> None:
    error = shell.fail("%%build\n# check=error=true\nFROM scratch as x\n")
    assert "lint violation found for rules: FromAsCasing" in str(error)


def test_the_build_arg_overrules_the_directive(shell: Shell) -> None:
    cell = "# check=error=true\nFROM scratch as x\n"
    result = shell.run(f"%%build --build-arg BUILDKIT_DOCKERFILE_CHECK=skip=all\n{cell}")
    assert result.warnings == ()
