"""What `--call` answers, as it displays itself: checks with their marked source, outlines and targets as tables."""

from __future__ import annotations

from typing import Any

import msgspec

from ..calls import Failure, Lint, Outline, Targets, Violation
from ..errors import UnsupportedError
from .fold import excerpt
from .markup import Markup, join, tag
from .parts import ROOT, style
from .table import Table
from .terminal import visible


class CheckResult(Lint, frozen=True, kw_only=True):
    """The build checks of a Dockerfile: `warnings`, and the `error` that ended them, if any."""

    def __bool__(self) -> bool:
        """Whether there is nothing to mend."""
        return not self.warnings and self.error is None

    def __repr__(self) -> str:
        return _lines(self.text())

    def _repr_html_(self) -> str:
        warnings = sorted(self.warnings or (), key=lambda warning: warning.location.line)
        parts = [tag.p(self.headline, cls="pb-head"), *(self._warning(warning) for warning in warnings)]
        if self.error:
            parts.append(self._error(self.error))
        return str(join(style(), tag.div(*parts, cls=ROOT)))

    def _warning(self, warning: Violation) -> Markup:
        name = tag.strong(warning.rule_name)
        if warning.url.startswith("https://"):
            name = tag.a(name, href=warning.url, target="_blank", rel="noopener noreferrer", title=warning.description)
        head = tag.p("⚠ ", name, " ", warning.detail, cls="pb-warn")
        return join(head, excerpt(self.place(warning.location)))

    def _error(self, error: Failure) -> Markup:
        return join(tag.p("✗ ", tag.strong(error.message), cls="pb-bad"), excerpt(self.place(error.location)))


class OutlineResult(Outline, frozen=True, kw_only=True):
    """What a target can be given: `args`, `secrets`, `ssh`."""

    def __repr__(self) -> str:
        return _lines(self.text()) or "Nothing can be given to this target."

    def _repr_html_(self) -> str:
        name = self.name or "(default)"
        head = tag.p(tag.strong(name), f" {self.description}" if self.description else None, cls="pb-head")
        tables = [Table(title, tuple(rows)).table() for title, rows in self.tables()]
        return str(join(style(), tag.div(head, *(tables or [tag.p("Nothing can be given to it.")]), cls=ROOT)))


class TargetsResult(Targets, frozen=True, kw_only=True):
    """The stages that can be built: `targets`."""

    def __repr__(self) -> str:
        return _lines(self.text())

    def _repr_html_(self) -> str:
        rows = tuple((one.shown, one.base, one.platform, one.description) for one in self.targets or ())
        table = Table(("TARGET", "BASE", "PLATFORM", "DESCRIPTION"), rows).table()
        return str(join(style(), tag.div(table, cls=ROOT)))


class JsonResult(msgspec.Struct, frozen=True):
    """An answer as the JSON document that BuildKit makes of it: what `--call=…,format=json` asks for."""

    text: str

    @property
    def data(self) -> Any:
        """The document as Python's values."""
        return msgspec.json.decode(self.text)

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        return {"text/plain": self.text, "application/json": self.data}


CallResult = CheckResult | OutlineResult | TargetsResult | JsonResult

_KINDS: dict[str, type[CheckResult | OutlineResult | TargetsResult]] = {
    "check": CheckResult,
    "outline": OutlineResult,
    "targets": TargetsResult,
}


def call_result(method: str, form: str, document: str) -> CallResult:
    """What a builder's `result.json` says about a `--call`; `form` is `json` or "".

    Raises UnsupportedError for a document that a front end made which is too new to be understood.
    """
    if form == "json":
        return JsonResult(document)
    try:
        return msgspec.json.decode(document, type=_KINDS[method])
    except msgspec.DecodeError as error:
        raise UnsupportedError(
            f"The builder's answer to --call={method} cannot be read: {error}.",
            hint=f"--call={method},format=json shows it as it is.",
        ) from None


def _lines(text: str) -> str:
    return "\n".join(visible(line) for line in text.split("\n"))
