"""Completion and help for `%%build` cells through IPython, which JupyterLab, terminals and VS Code all ask."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,  # pyright: ignore[reportUnknownVariableType] - a partial without types
)

if TYPE_CHECKING:
    from ..editor.offer import Offer

_BAKE = re.compile(r"\s*%%?bake(?=\s)")
_BUILD = re.compile(r"\s*%%?build(?=\s|\Z)")
_QUESTION = re.compile(r"\s*%build\s+([a-z-]+)\s*\?{1,2}\s*")


class _Silence(list[SimpleCompletion]):
    """No completions, but in a list that seems filled, to silence other matchers: a Dockerfile is not Python."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[SimpleCompletion]:
        return iter(())


def register(shell: Any) -> None:
    """Teach the shell's completer, and a kernel's help, about `%%build`. A second call does nothing."""
    if any(getattr(matcher, "matcher_identifier", "") == _NAME for matcher in shell.Completer.custom_matchers):
        return

    @context_matcher(identifier=_NAME, priority=200)  # pyright: ignore[reportUntypedFunctionDecorator]
    def match(context: CompletionContext) -> SimpleMatcherResult:
        lines = context.full_text.split("\n")
        offset = sum(len(line) + 1 for line in lines[: context.cursor_line]) + context.cursor_position
        return complete(context.full_text, offset, shell)

    shell.Completer.custom_matchers.append(match)
    shell.input_transformers_cleanup.append(asked)
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        _teach_help(kernel)


_NAME = "pybuild_magic"


def asked(lines: list[str]) -> list[str]:
    """Make `%build COMMAND?` the help of the command: IPython looks up the last word alone, such as its own %env."""
    match = _QUESTION.fullmatch("".join(lines))
    if match is None:
        return lines
    from .commands import COMMANDS

    return [f"%build {match[1]} --help\n"] if match[1] in COMMANDS else lines


def complete(text: str, offset: int, shell: Any) -> SimpleMatcherResult:
    """Return completions at `offset` of a cell; those of a cell that is not a build are left to IPython."""
    if bake := _BAKE.match(text):
        offer = _complete_bake(text, offset, bake.end())
    elif _BUILD.match(text):
        offer = _complete_build(text, offset, shell)
    else:
        return {"completions": [], "suppress": False}
    if offer is None or not offer.items:
        return {"completions": _Silence(), "suppress": True, "matched_fragment": ""}
    return {
        "completions": [SimpleCompletion(item.text, type=item.kind) for item in offer.items],
        "matched_fragment": offer.fragment,
        "suppress": True,
        "ordered": True,
    }


def _complete_build(text: str, offset: int, shell: Any) -> Offer | None:
    from ..editor.completion import complete as complete_cell
    from .commands import COMMANDS
    from .operands import complete_command

    commands = {name: command.about for name, command in COMMANDS.items()}
    return complete_cell(text, offset, shell.user_ns, commands, complete_command)


def _complete_bake(text: str, offset: int, start: int) -> Offer | None:
    from .bake_command import targets
    from .operands import complete_words

    line, newline, body = text[start:].partition("\n")
    typed = line[: max(0, offset - start)]
    if offset > start + len(line):
        return None  # in the Bake file
    words = typed.split()
    word = words.pop() if words and not typed[-1:].isspace() else ""
    return complete_words(["bake", *words], word, targets, body if newline else None)


def _teach_help(kernel: Any) -> None:
    """Make a kernel answer questions about words of `%%build` cells; other cells are left to IPython."""
    ask_ipython = kernel.do_inspect

    def do_inspect(code: str, cursor_pos: int, *arguments: Any, **options: Any) -> Any:
        if not _BUILD.match(code):
            return ask_ipython(code, cursor_pos, *arguments, **options)
        from ..editor.help import help_at
        from .operands import flags_after

        topic = help_at(code, cursor_pos, flags_after)
        if topic is None:
            return {"status": "ok", "found": False, "data": {}, "metadata": {}}
        page = f"<code>{html.escape(topic.usage)}</code><p>{html.escape(topic.text)}</p>"
        if topic.url:
            page += f'<p><a href="{html.escape(topic.url)}" target="_blank" rel="noopener noreferrer">Reference</a></p>'
        data = {"text/plain": "\n\n".join(filter(None, (topic.usage, topic.text, topic.url))), "text/html": page}
        return {"status": "ok", "found": True, "data": data, "metadata": {}}

    kernel.do_inspect = do_inspect
