"""Nodes: the instructions of a Dockerfile, split but not yet interpreted."""

from __future__ import annotations

import msgspec

from ..errors import DockerfileError, SourceRange
from .arguments import Pair, split_arguments, split_instruction, split_pairs
from .instructions import Heredoc

_WITH_PAIRS = frozenset({"env", "label"})
_WITH_HEREDOCS = frozenset({"add", "copy", "run"})


class SyntaxNode(msgspec.Struct, frozen=True):
    """An instruction: its keyword as written, and the rest split by the keyword's rules.

    `words` are the arguments, `pairs` those of ENV and LABEL instead; of an ONBUILD, `trigger` is the
    instruction inside and `words` its keyword and arguments. `original` is the instruction on one line.
    """

    keyword: str
    flags: tuple[str, ...]
    words: tuple[str, ...]
    json: bool
    original: str
    location: SourceRange
    comments: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    trigger: SyntaxNode | None = None
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def takes_heredocs(self) -> bool:
        """Whether `<<` begins here-documents in it."""
        inner = self.trigger or self
        return inner.keyword.lower() in _WITH_HEREDOCS and not inner.json


def split_node(line: str, escape: str, location: SourceRange, comments: tuple[str, ...] = ()) -> SyntaxNode:
    """Return the node of an instruction on one line. Raises DockerfileError when it cannot be split."""
    keyword, flags, rest = split_instruction(line, escape)
    name = keyword.lower()
    words: tuple[str, ...] = ()
    json = False
    pairs: tuple[Pair, ...] = ()
    trigger: SyntaxNode | None = None
    try:
        if name in _WITH_PAIRS:
            pairs = split_pairs(name, rest, escape)
        elif name == "onbuild":
            if rest:
                trigger = split_node(rest, escape, location)
                words = (trigger.keyword, *trigger.words)
        else:
            arguments = split_arguments(name, rest, escape)
            words, json = arguments.words, arguments.json
    except DockerfileError as error:
        raise error.at(location) from None
    return SyntaxNode(keyword, flags, words, json, line, location, comments, pairs, trigger)
