"""Directives of HCL's templates: `%{ if … }`, `%{ for … }`, their ends, and the `~` that strips white space.

A template is a list of parts: texts, and trees of python-hcl2's grammar for the contents of `${…}` and `%{…}`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..errors import UsageError

Part = str | Any
_SPACE = " \t\r\n"


class If(msgspec.Struct, frozen=True):
    """A condition, with the parts written when it holds and those written when it does not."""

    condition: Any
    then: list[Part]
    otherwise: list[Part]


class For(msgspec.Struct, frozen=True):
    """Names for a key and a value, or for a value alone; a collection; and the parts written for each item."""

    names: tuple[str, ...]
    collection: Any
    body: list[Part]


def nested(parts: Sequence[Part], *, flush: bool = False) -> list[Part]:
    """Return the parts with If and For in place of directives, and without the white space that `~` strips.

    With `flush`, lines lose their common indentation. Raises UsageError for a directive without an end or a beginning.
    """
    trimmed = _trimmed(parts)
    block, _ = _block(_flushed(trimmed) if flush else trimmed, 0, ())
    return block


def _flushed(parts: Sequence[Part]) -> list[Part]:
    """Return the parts without common indentation, as HCL's `flushHeredocTemplateParts` does: each text is one line,
    and empty lines do not count.
    """
    least, newline = 1 << 30, True
    indented: set[int] = set()
    for number, part in enumerate(parts):
        if newline:
            text = part if isinstance(part, str) else ""
            spaces = len(text) - len(text.lstrip())
            if text.strip() or not text.endswith("\n"):
                least = min(least, spaces)
                indented.add(number)
        newline = isinstance(part, str) and part.endswith("\n")
    return [part[least:] if number in indented and isinstance(part, str) else part for number, part in enumerate(parts)]


def _trimmed(parts: Sequence[Part]) -> list[Part]:
    trimmed = list(parts)
    for number, part in enumerate(parts):
        if isinstance(part, str):
            continue
        before, after = _strips(part)
        if before and number and isinstance(earlier := trimmed[number - 1], str):
            trimmed[number - 1] = earlier.rstrip(_SPACE)
        if after and number + 1 < len(trimmed) and isinstance(later := trimmed[number + 1], str):
            trimmed[number + 1] = later.lstrip(_SPACE)
    return trimmed


def _strips(tree: Any) -> tuple[bool, bool]:
    """Return whether a part strips the white space before it, and after it."""
    words = [str(child) for child in tree.children if not hasattr(child, "data")]
    if not words or words[0][:2] not in ("${", "%{"):
        return False, False
    return "~" in words[0] or words[1:2] == ["~"], "~" in words[-1] or (len(words) > 2 and words[-2] == "~")


def _kind(part: Part) -> str:
    return "" if isinstance(part, str) else str(part.data)


def _block(parts: Sequence[Part], at: int, ends: Sequence[str]) -> tuple[list[Part], int]:
    """Return the parts up to one of `ends`, and the position of that."""
    block: list[Part] = []
    while at < len(parts):
        part = parts[at]
        kind = _kind(part)
        if kind in ends:
            return block, at
        if kind == "template_if_start":
            then, at = _block(parts, at + 1, ("template_else", "template_endif"))
            otherwise: list[Part] = []
            if _kind(parts[at]) == "template_else":
                otherwise, at = _block(parts, at + 1, ("template_endif",))
            block.append(If(_trees(part)[-1], then, otherwise))
        elif kind == "template_for_start":
            *names, collection = _trees(part)
            body, at = _block(parts, at + 1, ("template_endfor",))
            block.append(For(tuple(str(name.children[0]) for name in names), collection, body))
        elif kind.startswith("template_"):
            raise UsageError(f"A template has %{ {kind.removeprefix('template_')} } without a matching directive.")
        else:
            block.append(part)
        at += 1
    if ends:
        raise UsageError(f"A template is missing its %{ {ends[-1].removeprefix('template_')} }.")
    return block, at


def _trees(part: Any) -> list[Any]:
    return [child for child in part.children if hasattr(child, "data")]
