"""Answers to `--call`: the results of BuildKit's subrequests, in its JSON and in its text form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from ..errors import SourceRange
from ..untrusted.foreign import integer

METHODS = {"check": "frontend.lint", "outline": "frontend.outline", "targets": "frontend.targets"}
"""The request ID of each method of `--call` in BuildKit's front end."""
VERSION = "1.0.0"


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """A position in a source; lines are numbered from 1."""

    line: int = 0
    character: int = 0


class Range(msgspec.Struct, frozen=True):
    """One line or several, including the last one."""

    start: Position = Position()
    end: Position = Position()


class Location(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Lines of one of the sources."""

    source_index: int = 0
    ranges: tuple[Range, ...] = ()

    @classmethod
    def of(cls, place: SourceRange | None) -> Location:
        """Return the location of the lines of `place`, one range per line as in BuildKit; without lines for None."""
        lines = range(place.start, place.end + 1) if place else ()
        return cls(ranges=tuple(Range(Position(line), Position(line)) for line in lines))

    @property
    def line(self) -> int:
        """The first line, 0 when it has none."""
        return self.ranges[0].start.line if self.ranges else 0


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A Dockerfile to which locations refer."""

    filename: str = ""
    data: bytes = b""
    language: str = ""

    def place(self, location: Location) -> SourceRange | None:
        """Return the lines of the location, with the text of the source; None when it has no lines."""
        if not location.line:
            return None
        text = self.data.decode("utf-8", "replace")
        return SourceRange(self.filename, location.line, location.ranges[-1].end.line, text)


class Violation(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", kw_only=True):
    """A violated rule: `detail` is what is wrong, `description` what the rule asks for."""

    rule_name: str
    description: str = ""
    url: str = ""
    detail: str = ""
    location: Location = Location()


class Failure(msgspec.Struct, frozen=True):
    """The error that ended the checks."""

    message: str
    location: Location = Location()


class Lint(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The answer of `--call=check`."""

    warnings: tuple[Violation, ...] | None = ()
    sources: tuple[Source, ...] | None = ()
    error: Failure | None = msgspec.field(default=None, name="buildError")

    @property
    def headline(self) -> str:
        """A sentence on the number of warnings."""
        count = len(self.warnings or ())
        if not count:
            return "The checks could not be completed." if self.error else "Check complete, no warnings found."
        return f"Check complete, {count} warning{'s have' if count > 1 else ' has'} been found!"

    @property
    def sorted_warnings(self) -> list[Violation]:
        """The warnings by line."""
        return sorted(self.warnings or (), key=lambda warning: warning.location.line)

    def text(self) -> str:
        """Return the text that `docker buildx build --check` prints: warnings by line, each with its marked source."""
        return "\n\n".join(self.paragraphs())

    def paragraphs(self) -> Iterator[str]:
        """Yield the parts of the text: the headline, each warning, the error."""
        yield self.headline
        yield from self._warnings()
        if self.error:
            yield self._about(f"ERROR: {self.error.message}", self.error.location)

    def printed(self) -> str:
        """Return the text as the front end writes it: `result.txt`."""
        return "".join(f"\n{warning}\n" for warning in self._warnings())

    def _warnings(self) -> Iterator[str]:
        for warning in self.sorted_warnings:
            page = f" - {warning.url}" if warning.url else ""
            yield f"WARNING: {warning.rule_name}{page}\n{self._about(warning.detail, warning.location)}"

    def _about(self, message: str, location: Location) -> str:
        place = self.place(location)
        return f"{message}\n{place.excerpt()}" if place else message

    def place(self, location: Location) -> SourceRange | None:
        """Return the lines of a warning or of the error; None when it has none."""
        sources = self.sources or ()
        index = location.source_index
        return sources[index].place(location) if 0 <= index < len(sources) else None


class Arg(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A build arg of a target, with its value."""

    name: str
    description: str = ""
    value: str = ""
    location: Location = Location()


class Needed(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A secret or an SSH agent that a target uses."""

    name: str
    required: bool = False
    location: Location = Location()


class Outline(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The answer of `--call=outline`: the inputs of a target."""

    name: str = ""
    description: str = ""
    args: tuple[Arg, ...] = ()
    secrets: tuple[Needed, ...] = ()
    ssh: tuple[Needed, ...] = ()
    sources: tuple[bytes, ...] = ()

    def text(self) -> str:
        """Return the text that `docker buildx build --call=outline` prints."""
        return _stripped(self.printed())

    def printed(self) -> str:
        """Return the text as the front end writes it: `result.txt`."""
        parts: list[str] = []
        if self.name or self.description:
            rows = [("TARGET:", self.name or "(default)")]
            rows += [("DESCRIPTION:", self.description)] if self.description else []
            parts.append(_columns(rows, 1))
        for title, rows in self.tables():
            parts.append(_columns([title, *rows], 3))
        return "".join(f"{part}\n" for part in parts)

    def tables(self) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
        """Return (column titles, rows) for each kind of input that the target has."""
        words = ("", "true")
        tables: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = [
            (("BUILD ARG", "VALUE", "DESCRIPTION"), [(arg.name, arg.value, arg.description) for arg in self.args]),
            (("SECRET", "REQUIRED"), [(secret.name, words[secret.required]) for secret in self.secrets]),
            (("SSH", "REQUIRED"), [(agent.name, words[agent.required]) for agent in self.ssh]),
        ]
        return [(title, rows) for title, rows in tables if rows]


class Target(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A stage that can be built."""

    name: str = ""
    default: bool = False
    description: str = ""
    base: str = ""
    platform: str = ""
    location: Location = Location()

    @property
    def shown(self) -> str:
        """The name, marked when it is the default target."""
        return " ".join(filter(None, (self.name, "(default)" if self.default else "")))


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `--call=targets`."""

    targets: tuple[Target, ...] | None = ()
    sources: tuple[bytes, ...] | None = ()

    def text(self) -> str:
        """Return the text that `docker buildx build --call=targets` prints."""
        return _stripped(self.printed())

    def printed(self) -> str:
        """Return the text as the front end writes it: `result.txt`."""
        rows = [(target.shown, target.description) for target in self.targets or ()]
        return _columns([("TARGET", "DESCRIPTION"), *rows], 1)


Answer = Lint | Outline | Targets


def response(answer: Answer) -> dict[str, str]:
    """Return the answer as an exporter response carries it."""
    document = msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()
    answers = {"result.json": document, "result.txt": answer.printed(), "version": VERSION}
    if isinstance(answer, Lint):
        answers["result.statuscode"] = str(int(bool(answer.warnings or answer.error)))
    return answers


def exit_code(metadata: Mapping[str, str], *, ignore_status: bool) -> int:
    """Return buildx's exit code for an answer: that of the front end, and 1 for a check that an error ended."""
    code = integer(metadata.get("result.statuscode", "")) or 0
    if not code:
        return 0
    try:
        error = msgspec.json.decode(metadata.get("result.json", ""), type=Lint).error
    except msgspec.DecodeError:
        error = None
    return 1 if error else 0 if ignore_status else code


def _columns(rows: Sequence[Sequence[str]], gap: int) -> str:
    """Return rows of text in columns, `gap` spaces between them, as Go's tabwriter writes them."""
    widths = [max(map(len, column)) + gap for column in zip(*rows, strict=True)]
    return "".join(f"{_line(row[:-1], widths)}{row[-1]}\n" for row in rows)


def _line(row: Sequence[str], widths: Iterable[int]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))


def _stripped(text: str) -> str:
    """Return lines without spaces at their ends, and without the last line's end."""
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n")
