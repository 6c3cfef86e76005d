"""The report of `%build doctor`: how well builds work here, why not better, and the lines that change it."""

from __future__ import annotations

import msgspec

from ..display.markup import join, tag
from ..display.parts import ICONS, ROOT, style
from ..display.table import Document, Table
from .facts import Facts
from .finding import Finding, State
from .findings import findings
from .remedies import Remedy, remedies

_SIGNS = {State.GOOD: ICONS["done"], State.FAIR: "!", State.BAD: ICONS["error"]}


class Report(msgspec.Struct, frozen=True):
    """The facts, their meaning, and the lines to paste. It displays itself in a notebook and in a terminal."""

    facts: Facts
    findings: tuple[Finding, ...]
    remedies: tuple[Remedy, ...]

    @classmethod
    def of(cls, facts: Facts) -> Report:
        """Return the findings from the facts."""
        problems = findings(facts)
        return cls(facts, problems, remedies(facts, problems))

    @property
    def good(self) -> bool:
        """Whether nothing needs improvement."""
        return all(finding.state == State.GOOD for finding in self.findings)

    @property
    def table(self) -> Table:
        """A line for each finding."""
        rows = tuple((_SIGNS[finding.state], finding.subject, finding.text) for finding in self.findings)
        note = "" if self.remedies else "Nothing needs to change."
        return Table(("", "WHAT", "FOUND"), rows, note)

    @property
    def document(self) -> Document:
        """The lines to paste."""
        return Document(tuple((remedy.title, remedy.lines) for remedy in self.remedies))

    def __repr__(self) -> str:
        parts = [repr(self.table)]
        if self.remedies:
            parts.append(f"To improve it:\n\n{self.document!r}")
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        blocks = (
            join(tag.p(tag.strong(remedy.title)), tag.pre(remedy.lines, cls="pb-whole")) for remedy in self.remedies
        )
        head = tag.p("To improve it:", cls="pb-note") if self.remedies else None
        note = tag.p(self.table.note, cls="pb-note") if self.table.note else None
        return str(join(style(), tag.div(self.table.table(), note, head, *blocks, cls=ROOT)))


def doctor() -> Report:
    """Examine this machine. It takes about a second, asks only configured registries, and leaves nothing behind."""
    from ..builders import embedded_builder
    from ..builders.settings import kept_storage
    from ..store.limit import DEFAULT
    from .look import look

    limit = kept_storage()
    return Report.of(look(lambda: embedded_builder().store, DEFAULT if limit is None else limit))
