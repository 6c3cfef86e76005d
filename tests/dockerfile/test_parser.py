"""From text to instructions: lines, continuations, comments, exec forms, here-documents, stages."""

from __future__ import annotations

import pytest

from pybuild_magic.dockerfile.checks import Checks, Finding
from pybuild_magic.dockerfile.directives import read_directives
from pybuild_magic.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    KeyValue,
    Label,
    Onbuild,
    Run,
    Shell,
    Volume,
)
from pybuild_magic.dockerfile.parser import parse, parse_trigger
from pybuild_magic.errors import DockerfileError, SourceRange


def only(text: str) -> Instruction:
    """The one instruction after a FROM."""
    return parse(f"FROM scratch\n{text}").instructions[1]


def lines(text: str) -> list[tuple[int, int]]:
    return [(i.location.start, i.location.end) for i in parse(text).instructions]


def test_stages_and_the_args_before_them() -> None:
    dockerfile = parse(
        "ARG V=1\nFROM --platform=$BUILDPLATFORM a:$V as Build\nRUN x\nFROM build\nFROM b AS build\nCMD c\n"
    )
    assert [arg.args[0].key for arg in dockerfile.meta_args] == ["V"]
    assert [(s.name, s.base.base, len(s.instructions)) for s in dockerfile.stages] == [
        ("build", "a:$V", 1),
        ("", "build", 0),
        ("build", "b", 1),
    ]
    base = dockerfile.stages[0].base
    assert (base.platform, base.alias, base.as_keyword, base.keyword) == ("$BUILDPLATFORM", "Build", "as", "FROM")


def test_lines_are_counted_over_continuations_comments_and_heredocs() -> None:
    text = "# c\n\nFROM a\nRUN one \\\n  # between\n\n  two\n\nCOPY <<A <<-B /d/\n1\nA\n\t2\n\tB\nUSER u"
    assert lines(text) == [(3, 3), (4, 7), (9, 13), (14, 14)]


@pytest.mark.parametrize(
    ("text", "original"),
    [
        ("RUN a \\\n    b", "RUN a     b"),
        ("RUN a \\  \n# c\n  # d\nb", "RUN a b"),
        ("  RUN a  ", "RUN a"),
        ("run\ta", "run\ta"),
        ("RUN a \\\r\n b\r\n", "RUN a  b"),
        ("RUN a \\\n\n\nb", "RUN a b"),
        ("RUN a\\\\\n", "RUN a\\\\"),
        ("RUN <<EOF cat\nx\nEOF", "RUN <<EOF cat"),
        ("RUN a \\", "RUN a"),
        ("\\\nRUN a", "RUN a"),
    ],
)
def test_the_original_is_one_line_as_progress_shows_it(text: str, original: str) -> None:
    assert only(text).original == original


def test_the_escape_directive_changes_continuations_and_words() -> None:
    dockerfile = parse("# escape=`\nFROM a\nCOPY a `\n  C:\\b\\\nENV x=a` b\n")
    copy, env = dockerfile.instructions[1:]
    assert isinstance(copy, Copy)
    assert copy.destination == "C:\\b\\"
    assert isinstance(env, Env)
    assert env.env == (KeyValue("x", "a` b"),)
    assert dockerfile.directives.escape == "`"


def test_an_empty_continuation_line_is_warned_of() -> None:
    found: list[Finding] = []
    parse("FROM a\nRUN a \\\n\n b\n", checks=Checks(report=found.append))
    (finding,) = found
    assert finding.rule.name == "NoEmptyContinuation"
    assert finding.location.start == 4


@pytest.mark.parametrize(
    ("text", "args", "shell"),
    [
        ('RUN ["a", "b c"]', ("a", "b c"), False),
        ("RUN []", (), False),
        ("RUN", (), True),
        ("RUN a  b", ("a  b",), True),
        ("RUN ['a']", ("['a']",), True),
        ('RUN ["a"', ('["a"',), True),
        ('RUN ["a"] b', ('["a"] b',), True),
        ('RUN ["a", NaN]', ('["a", NaN]',), True),
        (r'RUN ["é\n\u00e9\ud800"]', ("é\né\ufffd",), False),
    ],
)
def test_exec_and_shell_form(text: str, args: tuple[str, ...], shell: bool) -> None:
    run = only(text)
    assert isinstance(run, Run)
    assert (run.args, run.shell) == (args, shell)


@pytest.mark.parametrize("item", ["1", "1.5", "null", "true", "[]", '["b"]', "{}"])
def test_an_exec_form_holds_strings_only(item: str) -> None:
    with pytest.raises(DockerfileError, match="arrays must be comprised of strings only") as refused:
        parse(f'FROM a\nCMD ["a", {item}]\n')
    assert refused.value.location == SourceRange("Dockerfile", 2, 2, refused.value.location.text)


def test_copy_takes_every_flag_unexpanded() -> None:
    copy = only('COPY --from=$S --chown="a b:c" --chmod=u=rwX --link --parents --exclude=*.x --exclude=$y $a b/ /c/')
    assert isinstance(copy, Copy)
    assert (copy.from_, copy.chown, copy.chmod, copy.link, copy.parents) == ("$S", "a b:c", "u=rwX", True, True)
    assert copy.exclude == ("*.x", "$y")
    assert (copy.sources, copy.destination) == (("$a", "b/"), "/c/")


def test_add_tells_a_flag_that_is_off_from_one_that_is_not_given() -> None:
    add = only("ADD --keep-git-dir=false --checksum=sha256:0 a b")
    assert isinstance(add, Add)
    assert (add.keep_git_dir, add.unpack, add.checksum, add.link) == (False, None, "sha256:0", False)


def test_two_dashes_end_the_flags() -> None:
    copy = only("COPY --link -- --from /d")
    assert isinstance(copy, Copy)
    assert (copy.link, copy.sources) == (True, ("--from",))


def test_expansion_touches_exactly_what_buildkit_expands() -> None:
    copy = only("COPY --from=$S --chown=$S --exclude=$S $S $S")
    assert isinstance(copy, Copy)
    copy = copy.expand(str.lower)
    assert (copy.from_, copy.chown, copy.exclude, copy.sources, copy.destination) == (
        ("$S", "$s", ("$S",), ("$s",), "$s")
    )


@pytest.mark.parametrize(
    ("opening", "body", "expected"),
    [
        ("<<EOF", "a\nEOF", Heredoc("EOF", "a\n")),
        ("<<EOF", "EOF", Heredoc("EOF")),
        ("<<'EOF'", "$a\nEOF", Heredoc("EOF", "$a\n", expand=False)),
        ('<<E"O"F', "$a\nEOF", Heredoc("EOF", "$a\n", expand=False)),
        ("<<-EOF", "\ta\n\t EOF\n\tEOF", Heredoc("EOF", "\ta\n\t EOF\n", chomp=True)),
        ("3<<EOF", "a\nEOF", Heredoc("EOF", "a\n", fd=3)),
        ("<< EOF", "a\nEOF", Heredoc("EOF", "a\n")),
        ("<<EOF", "# a\n\nb \\\r\nEOF\r", Heredoc("EOF", "# a\n\nb \\\r\n")),
        ("<<$EOF", "a\n$EOF", Heredoc("$EOF", "a\n")),
        ("<<'two words'", "a\ntwo words", Heredoc("two words", "a\n", expand=False)),
    ],
)
def test_a_heredoc(opening: str, body: str, expected: Heredoc) -> None:
    run = only(f"RUN {opening} sh\n{body}\n")
    assert isinstance(run, Run)
    assert run.heredocs == (expected,)


@pytest.mark.parametrize("text", ['RUN "<<EOF"', 'RUN ["<<EOF"]', "RUN a <<<b", "CMD <<EOF", "RUN << ", "RUN '<<EOF"])
def test_what_is_no_heredoc(text: str) -> None:
    instruction = only(text)
    assert isinstance(instruction, Run | Cmd)
    assert instruction.heredocs == ()


def test_heredocs_among_the_sources_of_a_copy() -> None:
    copy = only("COPY <<A x <<-'B' /d/\n\t$a\nA\n\t$b\nB\n")
    assert isinstance(copy, Copy)
    assert copy.sources == ("x",)
    assert [(h.name, h.text, h.expand) for h in copy.heredocs] == [("A", "\t$a\n", True), ("B", "$b\n", False)]
    assert [h.text for h in copy.expand_heredocs(str.upper).heredocs] == ["\t$A\n", "$b\n"]


def test_onbuild_keeps_its_trigger_as_text_with_the_heredoc() -> None:
    onbuild = only("onbuild  RUN <<EOF cat\nhi\nEOF\n")
    assert isinstance(onbuild, Onbuild)
    assert onbuild.expression == "RUN <<EOF cat\nhi\nEOF"
    place = SourceRange("Dockerfile", 1, 1)
    trigger = parse_trigger(onbuild.expression, place)
    assert isinstance(trigger, Run)
    assert (trigger.heredocs, trigger.location) == ((Heredoc("EOF", "hi\n"),), place)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("RUN a\nRUN b", "onbuild trigger should be a single expression"),
        ("FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("RNU a", "unknown instruction: RNU (did you mean RUN?)"),
    ],
)
def test_a_bad_trigger_is_refused_at_the_from(expression: str, reason: str) -> None:
    with pytest.raises(DockerfileError) as refused:
        parse_trigger(expression, SourceRange("Dockerfile", 7, 7))
    assert (refused.value.message, str(refused.value.location)) == (reason, "Dockerfile:7")


def test_the_pairs_of_env_label_and_arg() -> None:
    env = only("ENV a=1 b='x y' c=\\\n  d=e\\ f \"g h\"=i")
    assert isinstance(env, Env)
    assert [(p.key, p.value) for p in env.env] == [
        ("a", "1"),
        ("b", "'x y'"),
        ("c", ""),
        ("d", "e\\ f"),
        ('"g h"', "i"),
    ]
    label = only("LABEL a  some words")
    assert isinstance(label, Label)
    assert label.labels == (KeyValue("a", "some words", delimited=False),)
    arg = only("# A is first\n# B is second\nARG A B='1 2' C=")
    assert isinstance(arg, Arg)
    assert [(a.key, a.value, a.doc) for a in arg.args] == [
        ("A", None, "is first"),
        ("B", "'1 2'", "is second"),
        ("C", "", ""),
    ]


def test_a_healthcheck_is_what_the_config_holds() -> None:
    flags = "--interval=1m30s --timeout=1.5s --start-period=0 --start-interval=20ms --retries=3"
    check = only(f"HEALTHCHECK {flags} CMD a  b")
    assert isinstance(check, Healthcheck)
    assert check.test == ("CMD-SHELL", "a  b")
    assert (check.interval, check.timeout, check.start_period) == (90 * 10**9, 15 * 10**8, 0)
    assert (check.start_interval, check.retries) == (2 * 10**7, 3)
    exec_form = only('HEALTHCHECK cmd ["a"]')
    assert isinstance(exec_form, Healthcheck)
    assert exec_form.test == ("CMD", "a")


def test_the_other_instructions() -> None:
    volume, shell, entrypoint = parse('FROM a\nVOLUME /a  /b\nSHELL ["x", "-c"]\nENTRYPOINT []').instructions[1:]
    assert isinstance(volume, Volume)
    assert volume.volumes == ("/a", "/b")
    assert isinstance(shell, Shell)
    assert shell.shell == ("x", "-c")
    assert isinstance(entrypoint, Entrypoint)
    assert (entrypoint.args, entrypoint.shell) == ((), False)


REFUSED = [
    ("", "file with no instructions", 0),
    ("# only\n\n", "file with no instructions", 2),
    ("RUN a\n", "no build stage in current context", 1),
    ("FROM a\nFRMO b", "dockerfile parse error on line 2: unknown instruction: FRMO (did you mean FROM?)", 2),
    ("FROM a\ncpy a b", "dockerfile parse error on line 2: unknown instruction: cpy (did you mean copy?)", 2),
    ("FROM a\nxyzzyx", "dockerfile parse error on line 2: unknown instruction: xyzzyx", 2),
    ("FROM a b", "dockerfile parse error on line 1: FROM requires either one or three arguments", 1),
    ("FROM a AS 1b", 'invalid name for build stage: "1b", name can\'t start with a number or contain symbols', 1),
    ("FROM --platfrom=x a", "unknown flag: --platfrom (did you mean platform?)", 1),
    ("FROM a\nCOPY --form=b c d", "unknown flag: --form (did you mean from?)", 2),
    ("FROM a\nCOPY --link=x c d", "expecting boolean value for flag --link, not: x", 2),
    ("FROM a\nCOPY --link= c d", "missing a value on flag: --link", 2),
    ("FROM a\nCOPY --from c d", "missing a value on flag: --from", 2),
    ("FROM a\nCOPY --from=b --from=c d e", "duplicate flag specified: --from", 2),
    ("FROM a\nCOPY b", "Destination could not be determined", 2),
    ("FROM a\nCOPY a <<E\nE", "COPY cannot accept a heredoc as a destination", 2),
    ("FROM a\nRUN <<E\nx\n", "unterminated heredoc", 2),
    ("FROM a\nENV b", "ENV must have two arguments", 2),
    ("FROM a\nENV", "ENV requires at least one argument", 2),
    ("FROM a\nENV =b", "ENV names can not be blank", 2),
    ("FROM a\nENV b=c d", 'Syntax error - can\'t find = in "d". Must be of the form: name=value', 2),
    ("FROM a\nARG =b", "ARG names can not be blank", 2),
    ("FROM a\nUSER", "USER requires exactly one argument", 2),
    ("FROM a\nUSER --x b", "unknown flag: --x", 2),
    ("FROM a\nSHELL b", "SHELL requires the arguments to be in JSON form", 2),
    ('FROM a\nVOLUME [" "]', "VOLUME specified can not be an empty string", 2),
    ("FROM a\nONBUILD ONBUILD RUN b", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", 2),
    ("FROM a\nONBUILD from b", "FROM isn't allowed as an ONBUILD trigger", 2),
    ("FROM a\nHEALTHCHECK RUN b", 'Unknown type "RUN" in HEALTHCHECK (try CMD)', 2),
    ("FROM a\nHEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD", 2),
    ("FROM a\nHEALTHCHECK NONE b", "HEALTHCHECK NONE takes no arguments", 2),
    ("FROM a\nHEALTHCHECK --interval=1us CMD b", 'Interval "interval" cannot be less than 1ms', 2),
    ("FROM a\nHEALTHCHECK --timeout=5 CMD b", 'time: missing unit in duration "5"', 2),
    ("FROM a\nHEALTHCHECK --timeout=5x CMD b", 'time: unknown unit "x" in duration "5x"', 2),
    ("FROM a\nHEALTHCHECK --retries=-1 CMD b", "--retries cannot be negative (-1)", 2),
    ("FROM a\nRUN --network=x b", 'invalid network mode "x"', 2),
    ("FROM a\nRUN --network=x --device=b,c d", "invalid field 'c' must be a key=value pair", 2),
    ("FROM a\nRUN --security=x b", 'security "x" is not valid', 2),
    ("FROM a\nRUN --mount=from=$x b", "'from' doesn't support variable expansion, define alias stage instead", 2),
    ("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\", 1),
    ("# syntax=a\n# syntax=b\nFROM a", "only one syntax parser directive can be used", 1),
    (f"FROM a\nRUN {'x' * 65_532}", "dockerfile line greater than max allowed size of 65535", 1),
]


@pytest.mark.parametrize(("text", "reason", "line"), REFUSED)
def test_a_mistake_is_refused_in_buildkits_words_at_its_line(text: str, reason: str, line: int) -> None:
    with pytest.raises(DockerfileError) as refused:
        parse(text)
    assert refused.value.message.endswith(reason)
    assert refused.value.location is not None
    assert refused.value.location.start == line


def test_what_cannot_be_split_is_reported_before_what_is_wrong_earlier() -> None:
    with pytest.raises(DockerfileError, match="ENV must have two arguments"):
        parse("FROM a\nFOO\nENV b\n")


def test_a_mistake_marks_all_lines_of_its_instruction() -> None:
    with pytest.raises(DockerfileError) as refused:
        parse("FROM a\nCOPY \\\n  --foo \\\n  a b\nUSER c\n")
    assert refused.value.location is not None
    assert refused.value.location.excerpt() == (
        "Dockerfile:2\n--------------------\n   1 |     FROM a\n   2 | >>> COPY \\\n   3 | >>>   --foo \\\n"
        "   4 | >>>   a b\n   5 |     USER c\n--------------------"
    )


def test_a_line_of_the_greatest_length_is_read() -> None:
    run = only(f"RUN {'x' * 65_531}")
    assert isinstance(run, Run)
    assert len(run.args[0]) == 65_531


@pytest.mark.parametrize(
    ("text", "syntax", "check"),
    [
        ("# syntax=docker/dockerfile:1\nFROM a", "docker/dockerfile:1", ""),
        ("#Syntax = a:b // opts \r\n# check=skip=all;error=true\n", "a:b", "skip=all;error=true"),
        ("\ufeff# syntax=a\n", "a", ""),
        ("#!/usr/bin/env x\n# syntax=a\n", "a", ""),
        ("#!/bin/sh\n\n# syntax=a\n", "", ""),
        ("# comment\n# syntax=a\n", "", ""),
        ("# other=x\n# syntax=a\n", "", ""),
        (" # syntax=a\n", "", ""),
        ("FROM a\n# syntax=a\n", "", ""),
        ("//syntax=a\n", "a", ""),
        ("//check=skip=all\n", "", ""),
        ('{"syntax": "a b", "x": [1]}', "a", ""),
        ('{"syntax": "a"} x', "", ""),
        ('{"syntax": 1}', "", ""),
        ("", "", ""),
    ],
)
def test_directives_are_found_where_buildkit_looks(text: str, syntax: str, check: str) -> None:
    directives = read_directives(text, "Dockerfile")
    assert (directives.syntax, directives.check) == (syntax, check)


def test_a_directive_knows_its_line_and_whole_value() -> None:
    found = read_directives("#!x\n# check=a\n# syntax=b c\n", "Dockerfile").entries
    assert [(d.name, d.value, d.location.start) for d in found] == [("check", "a", 2), ("syntax", "b c", 3)]


def test_comments_belong_to_the_instruction_below() -> None:
    first, second = parse("# escape=\\\n# a\n#\n# b\n\n# base is it\nFROM x AS Base\n\nRUN y\n").instructions
    assert first.comments == ("b", "base is it")
    assert isinstance(first, From)
    assert first.doc == "is it"
    assert second.comments == ()
