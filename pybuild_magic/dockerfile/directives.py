"""Parser directives: the `# name=value` comments that a Dockerfile may start with.

BuildKit reads them twice, in slightly different ways. `escape` is read by the parser, line by line and after leading
white space is stripped. `syntax` and `check` are searched beforehand: a first line `#!…` is skipped, leading white
space is not, and for `syntax` the directive may also be a `//` comment, or the whole text a JSON object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import cast

import msgspec

from ..errors import DockerfileError, SourceRange
from ..golang.text import lstrip
from .document import Directive, Directives

_DIRECTIVE = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*\Z")
_NAMES = frozenset({"syntax", "escape", "check"})
_BOM = "\ufeff"


class DirectiveReader:
    """Recognises the directives in the lines of a text, from the first line to the first that is not a directive."""

    def __init__(self, comment: str = "#") -> None:
        self.comment = comment
        self.done = False
        self.seen: set[str] = set()

    def read(self, line: str) -> tuple[str, str] | None:
        """Return the line's (name, value), or None. Raises DockerfileError when a name is repeated."""
        if self.done:
            return None
        match = None
        if line.startswith(self.comment):
            match = _DIRECTIVE.match(lstrip(line[len(self.comment) :]))
        name = match[1].lower() if match else ""
        if match is None or name not in _NAMES:
            self.done = True
            return None
        if name in self.seen:
            raise DockerfileError(f"only one {name} parser directive can be used")
        self.seen.add(name)
        return name, match[2]


def read_directives(text: str, filename: str, escape: str = "\\") -> Directives:
    """Return the directives of a whole text; `escape` is the parser's result.

    A Dockerfile with a `syntax` other than `docker/dockerfile` is for another front end, and may be in any language:
    this accepts any text, and raises nothing.
    """
    text = text.removeprefix(_BOM)
    body, first = text, 1
    if text.startswith("#!"):
        body, first = text.partition("\n")[2], 2
    directives = {d.name: d for d in _scan(body, first, "#", filename, text)}
    if "syntax" not in directives and (other := _other_syntax(body, first, filename, text)):
        directives["syntax"] = other
    return Directives(
        syntax=directives["syntax"].value.partition(" ")[0] if "syntax" in directives else "",
        escape=escape,
        check=directives["check"].value if "check" in directives else "",
        entries=tuple(directives.values()),
    )


def _scan(body: str, first: int, comment: str, filename: str, text: str) -> Iterator[Directive]:
    reader = DirectiveReader(comment)
    for number, line in enumerate(_lines(body), first):
        try:
            pair = reader.read(line)
        except DockerfileError:
            return
        if pair:
            yield Directive(*pair, location=SourceRange(filename, number, number, text))
        if reader.done:
            return


def _lines(body: str) -> Iterable[str]:
    start = 0
    while start < len(body):
        end = body.find("\n", start)
        end = len(body) if end < 0 else end
        yield body[start:end]
        start = end + 1


def _other_syntax(body: str, first: int, filename: str, text: str) -> Directive | None:
    for directive in _scan(body, first, "//", filename, text):
        if directive.name == "syntax":
            return directive
    if not body.lstrip("\t\n\r ").startswith("{"):
        return None
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    value = cast("dict[str, object]", document).get("syntax")
    if not isinstance(value, str):
        return None
    return Directive("syntax", value, SourceRange(filename, first, first, text))
