"""Checks of the text alone: casing, stage names, comments, and the meaning of FROM without build args."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import DockerfileError, UsageError
from ..golang.text import quote
from ..oci import reference
from . import rules
from .checks import Checks
from .instructions import Arg, From, Instruction, Stage
from .node import SyntaxNode
from .shell import Lexer

_RESERVED = frozenset({"context", "scratch"})


def check_node(node: SyntaxNode, checks: Checks) -> None:
    """Run the checks of a single instruction's text."""
    match node.keyword.lower():
        case "maintainer":
            checks.report(rules.MAINTAINER_DEPRECATED, node.location)
        case "from" if len(node.words) > 2:
            _check_from(node, checks)
        case _:
            pass


def _check_from(node: SyntaxNode, checks: Checks) -> None:
    word, name = node.words[1:3]
    if len(node.words) == 3 and name != name.lower():
        checks.report(rules.STAGE_NAME_CASING, node.location, name)
    casing = _casing(node.keyword)
    if casing and word != casing(word):
        checks.report(rules.FROM_AS_CASING, node.location, word, node.keyword)


def check_description(instruction: Instruction, checks: Checks) -> None:
    """Check that a comment above a named stage or an ARG is a description that begins with its name."""
    if isinstance(instruction, From):
        names = [instruction.name] if instruction.name else []
    elif isinstance(instruction, Arg):
        names = [arg.key for arg in instruction.args]
    else:
        return
    if not names or not instruction.comments or instruction.comments[-1].split(" ")[0] in names:
        return
    example = names[0] if len(names) == 1 else "<arg_key>"
    keyword = type(instruction).__name__.upper()
    checks.report(rules.INVALID_DEFINITION_DESCRIPTION, instruction.location, keyword, example)


def check_stages(stages: Sequence[Stage], checks: Checks) -> None:
    """Check the names of the stages, and that all keywords have the case of the majority."""
    seen: set[str] = set()
    for stage in stages:
        if stage.name in _RESERVED:
            checks.report(rules.RESERVED_STAGE_NAME, stage.base.location, quote(stage.name))
        if stage.name and stage.name in seen:
            checks.report(rules.DUPLICATE_STAGE_NAME, stage.base.location, quote(stage.name))
        seen.add(stage.name)
    written = [instruction for stage in stages for instruction in (stage.base, *stage.instructions)]
    lower = sum(instruction.keyword == instruction.keyword.lower() for instruction in written)
    upper = sum(instruction.keyword == instruction.keyword.upper() for instruction in written)
    casing, style = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
    for instruction in written:
        if instruction.keyword != casing(instruction.keyword):
            checks.report(rules.CONSISTENT_INSTRUCTION_CASING, instruction.location, instruction.keyword, style)


def check_default_bases(
    meta_args: Sequence[Arg], stages: Sequence[Stage], variables: Mapping[str, str], lexer: Lexer, checks: Checks
) -> None:
    """Check that every FROM names an image when no build arg is given; `variables` are those of the platforms."""
    env = dict(variables)
    try:
        for arg in (arg for instruction in meta_args for arg in instruction.args):
            if arg.value is not None:
                env[arg.key] = lexer.process_word(arg.value, env)
        for stage in stages:
            if not _is_image(lexer.process_word(stage.base.base, env)):
                checks.report(rules.INVALID_DEFAULT_ARG_IN_FROM, stage.base.location, stage.base.base)
    except DockerfileError:
        return  # lowering fails with the same error, and has more details


def _is_image(name: str) -> bool:
    try:
        reference.parse(name)
    except UsageError:
        return False
    return True


def _casing(keyword: str) -> Callable[[str], str] | None:
    """Return the case of a keyword; None when it is mixed."""
    if keyword == keyword.lower():
        return str.lower
    return str.upper if keyword == keyword.upper() else None
