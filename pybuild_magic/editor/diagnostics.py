"""Diagnostics of a `%%build` cell while it is edited: errors, and the findings of the build checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from ..dockerfile.checks import Checks, Finding, parse_check_options
from ..dockerfile.directives import read_directives
from ..dockerfile.document import Dockerfile
from ..dockerfile.lower import compile  # noqa: A004 - the front end's verb
from ..dockerfile.lower_options import LowerOptions, parse_options
from ..dockerfile.parser import parse
from ..dockerfile.rules import UNDEFINED_VAR
from ..errors import BuildError, UsageError
from ..golang.patternmatcher import read_ignore
from ..portable import split_words
from ..request.options import BuildOptions
from ..request.parse import parse_options as parse_words
from ..request.solve_request import compile_request
from .cell import BuildCell, context_of, read_cell
from .draft import read_draft
from .images import KnownImages, image_config

Severity = Literal["error", "warning"]

_BUILT_IN = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?:[:@].*)?")
_QUOTED = re.compile(r"""unknown (?:instruction|flag): (\S+)|"((?:[^"\\]|\\.)+)"|'([^']+)'|FROM argument '(\S+)'""")


class Diagnostic(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An error or a warning, on `line` of the cell (from 1), between `column` (from 0) and `end`.

    Columns count UTF-16 units, as editors do.
    """

    line: int
    column: int
    end: int
    severity: Severity
    message: str
    rule: str = ""
    url: str = ""


def diagnostics(cell: str, names: Mapping[str, object] | None = None) -> list[Diagnostic]:
    """Return the faults of a cell, by line; [] for a cell that is not a build, or is a script.

    Base images are those of the store: no registry is asked, and nothing is assumed about an image that is missing.
    `names` are the variables from which the line may take its context.
    """
    build_cell = read_cell(cell)
    if build_cell is None or build_cell.magic != "%%build" or build_cell.is_script or not read_draft(build_cell.body):
        return []
    return _Diagnosis(cell, build_cell, names or {}).run()


class _Diagnosis:
    def __init__(self, text: str, cell: BuildCell, names: Mapping[str, object]) -> None:
        self._lines = [line.removesuffix("\r") for line in text.split("\n")]
        self._cell = cell
        self._names = names
        self._found: list[Diagnostic] = []

    def run(self) -> list[Diagnostic]:
        options = self._options()
        if options is not None and not self._is_foreign(options):
            try:
                self._check(options)
            except BuildError as error:
                self._add_error(error)
        return sorted(self._found, key=lambda diagnostic: (diagnostic.line, diagnostic.column))

    def _options(self) -> BuildOptions | None:
        """Return the options of the line; if it has variables that are still unknown, the options that can be read."""
        try:
            words = split_words(self._cell.line)
        except ValueError:
            return BuildOptions()  # an unclosed quote
        if words[:1] == ["lock"]:
            words = words[1:]
        try:
            return parse_words(words, dockerfile=self._cell.body, environ={})
        except BuildError as error:
            if not re.search(r"[${]", self._cell.line):
                self._add(1, 1, "error", f"{error.message} {error.hint}".strip())
                return None
            return BuildOptions()

    def _is_foreign(self, options: BuildOptions) -> bool:
        """Return whether the text is for another front end, whose language is unknown."""
        syntax = options.build_args.get("BUILDKIT_SYNTAX") or read_directives(self._cell.body, "Dockerfile").syntax
        return bool(syntax) and not _BUILT_IN.fullmatch(syntax)

    def _check(self, options: BuildOptions) -> None:
        body = self._cell.body
        override = options.build_args.get("BUILDKIT_DOCKERFILE_CHECK")
        directive = read_directives(body, "Dockerfile").check.partition(" ")[0] if override is None else override
        findings: list[Finding] = []
        try:
            checks = Checks(parse_check_options(directive), findings.append)
            dockerfile = parse(body, checks=checks)
            lower = self._lower_options(options)
            compile(dockerfile, lower, KnownImages(), checks, every_stage=not lower.target)
            open_lines = _lines_over_unknown_images(dockerfile)
            findings = [f for f in findings if f.rule is not UNDEFINED_VAR or f.location.start not in open_lines]
        finally:
            for finding in findings:
                self._add_finding(finding)

    def _lower_options(self, options: BuildOptions) -> LowerOptions:
        try:
            attrs = compile_request(options).frontend_attrs
        except UsageError:
            attrs = {}
        parsed = parse_options({key: value for key, value in attrs.items() if not key.startswith("context:")})
        return msgspec.structs.replace(parsed, platforms=(), read_ignore=self._read_ignore)

    def _read_ignore(self, directory: str, vertex: str) -> Sequence[str]:  # noqa: ARG002 - an IgnoreReader
        source = context_of(self._cell, self._names)
        try:
            if source is None or source.stat(".dockerignore") is None:
                return ()
            with source.open(".dockerignore") as file:
                return read_ignore(file.read().decode("utf-8", "surrogateescape"))
        except (BuildError, OSError):
            return ()

    def _add_finding(self, finding: Finding) -> None:
        start, end = (self._cell.head + line for line in (finding.location.start, finding.location.end))
        self._add(start, end, "warning", finding.message, finding.rule.name, finding.rule.url)

    def _add_error(self, error: BuildError) -> None:
        where = error.location
        start, end = (self._cell.head + where.start, self._cell.head + where.end) if where else (1, 1)
        message = re.sub(r"^dockerfile parse error on line \d+: ", "", error.message)
        self._add(start, end, "error", f"{message} {error.hint}".strip())

    def _add(self, start: int, end: int, severity: Severity, message: str, rule: str = "", url: str = "") -> None:
        line, column, stop = self._place(start, end, message)
        self._found.append(
            Diagnostic(line=line, column=column, end=stop, severity=severity, message=message, rule=rule, url=url)
        )

    def _place(self, start: int, end: int, message: str) -> tuple[int, int, int]:
        """Return the position that a message is about: a word that it quotes, or else its whole first line."""
        lines = range(start, min(end, len(self._lines)) + 1)
        for quoted in _QUOTED.finditer(message):
            word = str(quoted[quoted.lastindex or 0]).replace('\\"', '"')
            escaped = re.escape(word) if word[0] != "$" else rf"\$\{{?{re.escape(word[1:])}"
            for number in lines:
                text = self._lines[number - 1]
                if match := re.search(rf"(?<![\w-]){escaped}(?![\w-])", text):
                    return number, _units(text[: match.start()]), _units(text[: match.end()])
        start = min(start, len(self._lines))
        text = self._lines[start - 1]
        return start, _units(text) - _units(text.lstrip()), _units(text)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _lines_over_unknown_images(dockerfile: Dockerfile) -> set[int]:
    """Return the lines of stages based on images that the store lacks: variables may come from those images."""
    unknown: set[str] = set()
    lines: set[int] = set()
    stages = {stage.name for stage in dockerfile.stages if stage.name}
    for stage in dockerfile.stages:
        base = stage.base.base
        if base.lower() in stages:
            is_unknown = base.lower() in unknown
        else:
            is_unknown = base != "scratch" and image_config(base) is None
        if is_unknown:
            unknown.add(stage.name)
            lines |= {instruction.location.start for instruction in stage.instructions}
    return lines
