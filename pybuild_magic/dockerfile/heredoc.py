r"""Here-documents: the words of an instruction that begin one.

Their escape character is always `\`, even if the Dockerfile has another.
"""

from __future__ import annotations

import re

from ..errors import DockerfileError
from ..untrusted.foreign import number
from .instructions import Heredoc
from .shell import Lexer

_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)")
_LARGEST_FD = 2**64 - 1
_WORDS = Lexer(raw_quotes=True, raw_escapes=True, keep_unset=True)
_NAME = Lexer(keep_unset=True)
_RAW_NAME = Lexer(keep_unset=True, raw_quotes=True)


def parse_heredoc(word: str) -> Heredoc | None:
    """Return the here-document that a word begins, without its data; None when it begins none.

    Raises DockerfileError for `<<"EOF` and other names with unclosed quotes.
    """
    match = _HEREDOC.fullmatch(word)
    if match is None or not match[3]:
        return None
    names = _NAME.process_words(match[3], {})
    if len(names) != 1:
        return None
    raw = "".join(_RAW_NAME.process_words(match[3], {}))
    return Heredoc(
        name=names[0],
        expand=_quotes(raw) == _quotes(names[0]),
        chomp=match[2] == "-",
        fd=_LARGEST_FD if (fd := number(match[1] or "0", _LARGEST_FD)) is None else fd,
    )


def is_heredoc(word: str) -> Heredoc | None:
    """Return whether a word begins a here-document; a malformed name does not."""
    try:
        return parse_heredoc(word)
    except DockerfileError:
        return None


def heredocs_of(line: str) -> list[Heredoc]:
    """Return the here-documents that an instruction's line begins, in order; none when its quotes are unbalanced."""
    try:
        words = _WORDS.process_words(line, {})
    except DockerfileError:
        return []
    return [heredoc for word in words if (heredoc := parse_heredoc(word))]


def _quotes(text: str) -> int:
    return text.count("'") + text.count('"')
