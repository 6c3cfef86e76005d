"""Build checks: the rules selected by a Dockerfile or a build, and the findings of violated rules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Self

import msgspec

from ..errors import DockerfileError, SourceRange
from ..golang.parsebool import parse_bool
from ..golang.text import quote, strip
from .directives import DirectiveReader
from .rules import RULES, Rule

ALL = frozenset(RULES)


class Finding(msgspec.Struct, frozen=True):
    """A violated rule, with the fault and its lines."""

    rule: Rule
    message: str
    location: SourceRange

    @property
    def short(self) -> str:
        """The finding in one line, as in the warnings of a build."""
        return f"{self.rule.name}: {self.message} (line {self.location.start})"


class CheckOptions(msgspec.Struct, frozen=True):
    """The value of `# check=skip=A,B;experimental=C;error=true`; `all` is every rule."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False
    """Whether a violation fails the build."""

    def allows(self, rule: Rule) -> bool:
        """Return whether the rule is checked. An experimental rule that was selected cannot be skipped."""
        return rule.name in self.experimental if rule.experimental else rule.name not in self.skip


def parse_check_options(text: str) -> CheckOptions:
    """Parse the value of the directive or of the build arg. Raises DockerfileError with BuildKit's messages."""
    text = strip(text)
    if not text:
        return CheckOptions()
    skip, experimental, error = frozenset[str](), frozenset[str](), False
    for part in text.split(";", 2):
        name, equals, value = part.partition("=")
        if not equals:
            raise DockerfileError(f"invalid check option {quote(part)}")
        match strip(name):
            case "skip":
                skip = _names(value)
            case "experimental":
                experimental = _names(value)
            case "error":
                error = _boolean(strip(value), part)
            case other:
                raise DockerfileError(f"invalid check option {quote(other)}")
    return CheckOptions(skip, experimental, error)


def _names(value: str) -> frozenset[str]:
    return ALL if strip(value) == "all" else frozenset(map(strip, strip(value).split(",")))


def _boolean(value: str, part: str) -> bool:
    truth = parse_bool(value)
    if truth is None:
        raise DockerfileError(
            f"failed to parse check option {quote(part)}: strconv.ParseBool: parsing {quote(value)}: invalid syntax"
        )
    return truth


class Checks:
    """Collects violations while a Dockerfile is read and lowered, and reports those of selected rules."""

    def __init__(self, options: CheckOptions | None = None, report: Callable[[Finding], None] | None = None) -> None:
        self._options = options or CheckOptions()
        self._report = report
        self._violated: set[str] = set()

    def report(self, rule: Rule, location: SourceRange, *values: str) -> None:
        """Report a violation; `values` fill the blanks of the rule's message."""
        if self._report is None or not self._options.allows(rule):
            return
        self._violated.add(rule.name)
        self._report(Finding(rule, rule.message.format(*values), location))

    def under(self, comments: Sequence[str]) -> Self:
        """Return the checks for an instruction with `comments` above it, where `# check=skip=…` applies to it alone."""
        directive = next(_check_directives(comments), None)
        if directive is None:
            return self
        try:
            options = parse_check_options(directive.partition(" ")[0])
        except DockerfileError:
            return self  # BuildKit treats it as an ordinary comment
        merged = copy.copy(self)
        merged._options = CheckOptions(
            self._options.skip | options.skip, self._options.experimental | options.experimental, self._options.error
        )
        return merged

    def conclude(self) -> None:
        """Raise DockerfileError when violations count as errors, and there were some."""
        if self._options.error and self._violated:
            raise DockerfileError(f"lint violation found for rules: {', '.join(sorted(self._violated))}")


def _check_directives(comments: Iterable[str]) -> Iterator[str]:
    for comment in comments:
        pair = DirectiveReader(comment="").read(comment)
        if pair and pair[0] == "check":
            yield pair[1]
