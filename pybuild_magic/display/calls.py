"""Answers to `--call` that display themselves: checks with their marked source, outlines and targets as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from ..errors import UnsupportedError
from ..request.calls import Failure, Lint, Outline, Targets, Violation
from .fold import excerpt
from .markup import Markup, join, tag
from .parts import ROOT, style
from .table import Table
from .terminal import printable_json, visible_lines

Text = TypeVar("Text", str, Markup)

_LIMIT = 80_000
"""The most characters of a check in a notebook, as text and again as HTML."""


class CheckResult(Lint, frozen=True, kw_only=True):
    """The build checks of a Dockerfile: `warnings`, and the `error` that ended them, if any."""

    def __bool__(self) -> bool:
        """Return whether there are no findings."""
        return not self.warnings and self.error is None

    def __repr__(self) -> str:
        parts, omitted = _fitting(self.paragraphs())
        return visible_lines("\n\n".join([*parts, *([f"… {omitted} more"] if omitted else [])]))

    def markup(self) -> Markup:
        """Return it as a page has it."""
        parts, omitted = _fitting(self._sections())
        more = tag.p(f"… {omitted} more", cls="pb-note") if omitted else None
        return join(style(), tag.div(tag.p(self.headline, cls="pb-head"), *parts, more, cls=ROOT))

    def _repr_html_(self) -> str:
        return str(self.markup())

    def _sections(self) -> Iterator[Markup]:
        yield from map(self._warning, self.sorted_warnings)
        if self.error:
            yield self._error(self.error)

    def _warning(self, warning: Violation) -> Markup:
        name = tag.strong(warning.rule_name)
        if warning.url.startswith("https://"):
            name = tag.a(name, href=warning.url, target="_blank", rel="noopener noreferrer", title=warning.description)
        head = tag.p("⚠ ", name, " ", warning.detail, cls="pb-warn")
        return join(head, excerpt(self.place(warning.location)))

    def _error(self, error: Failure) -> Markup:
        return tag.div(tag.p(tag.strong(error.message)), excerpt(self.place(error.location)), cls="pb-report")


class OutlineResult(Outline, frozen=True, kw_only=True):
    """The parameters of a target: `args`, `secrets`, `ssh`."""

    def __repr__(self) -> str:
        return visible_lines(self.text()) or "This target takes no arguments."

    def markup(self) -> Markup:
        """Return it as a page has it."""
        name = self.name or "(default)"
        head = tag.p(tag.strong(name), f" {self.description}" if self.description else None, cls="pb-head")
        tables = [Table(title, tuple(rows)).table() for title, rows in self.tables()]
        return join(style(), tag.div(head, *(tables or [tag.p("It takes no arguments.")]), cls=ROOT))

    def _repr_html_(self) -> str:
        return str(self.markup())


class TargetsResult(Targets, frozen=True, kw_only=True):
    """The stages that can be built: `targets`."""

    def __repr__(self) -> str:
        return visible_lines(self.text())

    def markup(self) -> Markup:
        """Return it as a page has it."""
        rows = tuple((target.shown, target.base, target.platform, target.description) for target in self.targets or ())
        table = Table(("TARGET", "BASE", "PLATFORM", "DESCRIPTION"), rows).table()
        return join(style(), tag.div(table, cls=ROOT))

    def _repr_html_(self) -> str:
        return str(self.markup())


class JsonResult(msgspec.Struct, frozen=True):
    """An answer as BuildKit's JSON document, as requested by `--call=…,format=json`."""

    text: str

    @property
    def data(self) -> Any:
        """The document as Python values."""
        return msgspec.json.decode(self.text)

    def __repr__(self) -> str:
        return printable_json(self.text)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        return {"text/plain": repr(self), "application/json": self.data}


CallResult = CheckResult | OutlineResult | TargetsResult | JsonResult

_KINDS: dict[str, type[CheckResult | OutlineResult | TargetsResult]] = {
    "check": CheckResult,
    "outline": OutlineResult,
    "targets": TargetsResult,
}


def call_result(method: str, form: str, document: str) -> CallResult:
    """Read a builder's `result.json` about a `--call`; `form` is `json` or "".

    Raises UnsupportedError for a document of a newer front end that cannot be understood.
    """
    if form == "json":
        return JsonResult(document)
    try:
        return msgspec.json.decode(document, type=_KINDS[method])
    except msgspec.DecodeError as error:
        raise UnsupportedError(
            f"The builder's answer to --call={method} cannot be read: {error}.",
            hint=f"Use --call={method},format=json to see it as it is.",
        ) from None


def _fitting(parts: Iterable[Text]) -> tuple[list[Text], int]:
    """Return the parts that fit into a notebook, and the number of the others."""
    fitting, size, omitted = list[Text](), 0, 0
    for part in parts:
        size += len(part)
        if size > _LIMIT:
            omitted += 1
        else:
            fitting.append(part)
    return fitting, omitted
