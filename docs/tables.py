"""Directives that fill the reference pages from the tables in the code, when the site is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import support
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pybuild_magic import exporters
from pybuild_magic.dockerfile.rules import RULES
from pybuild_magic.environments.repository.opening import FLAGS as REPOSITORY_FLAGS
from pybuild_magic.notebook.command import Command, Syntax
from pybuild_magic.notebook.commands import COMMANDS
from pybuild_magic.notebook.magics import BuildMagics
from pybuild_magic.request.flags import Flag, Kind, taken
from pybuild_magic.request.outputs import EXPORTERS
from pybuild_magic.request.table import OPTIONS


def table(*head: str, rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown; cells with code have their backticks already."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(text: str) -> str:
    """Return `text` as code; an empty text stays empty."""
    return f"`{text}`" if text else ""


def flags(known: Iterable[Flag]) -> str:
    """Return a table of flags with their meanings."""

    def about(flag: Flag) -> str:
        choices = f": {', '.join(map(code, flag.choices))}" if flag.choices else ""
        return flag.doc + choices + ("; may be given several times" if flag.kind is Kind.MANY else "")

    def name(flag: Flag) -> str:
        return (f"`-{flag.short}` " if flag.short else "") + code(f"--{flag.name} {flag.metavar}".strip())

    return table("flag", "meaning", rows=((name(flag), about(flag)) for flag in taken(known)))


def exporter_sections() -> str:
    """Return a section for each exporter, with its attributes, their defaults and their meanings."""
    parts: list[str] = []
    for kind in EXPORTERS:
        rows = [
            (code(each.name), ", ".join(map(code, each.choices)) or each.kind, code(_default(each.default)), each.doc)
            for each in exporters.get(kind).attributes
        ]
        shown = table("attribute", "value", "default", "meaning", rows=rows) if rows else "It has no attributes."
        parts.append(f"## `type={kind}`\n\nShown in the progress as *{exporters.get(kind).name}*.\n\n{shown}")
    return "\n\n".join(parts)


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) if value not in (None, "", ()) else ""


def commands() -> str:
    """Return the commands of `%build` with their meanings and, below, a section for each that has flags."""
    names = ((code(f"%build {name} {command.line}".strip()), command.about) for name, command in COMMANDS.items())
    sections = (section for command in COMMANDS.values() for section in _sections(command))
    return "\n\n".join((table("command", "what it does", rows=names), *sections))


def _sections(command: Syntax) -> Iterable[str]:
    """Yield a section with the flags of a command, and one for each of its subcommands."""
    if isinstance(command, Command) and command.flags == OPTIONS:
        yield f"## `%build {command.name}`\n\nIt takes the [flags of a build](flags.md)."
    elif isinstance(command, Command) and command.flags:
        yield f"## `%build {command.name}`\n\n{flags(command.flags)}"
    for own in command.words.values():
        yield from _sections(own)


def settings() -> str:
    """Return a table of the traitlets that `%config BuildMagics` sets."""
    traits = BuildMagics.class_own_traits(config=True)
    rows = ((code(name), code(repr(trait.default())), trait.help) for name, trait in sorted(traits.items()))
    return table("setting", "default", "meaning", rows=rows)


def checks() -> str:
    """Return a table of the build checks with their messages."""
    rows = (
        (
            f"[{rule.name}]({rule.url})" if rule.url else rule.name,
            rule.description.replace("<", "\\<") + (" (experimental)" if rule.experimental else ""),
        )
        for rule in RULES.values()
    )
    return table("rule", "what it says", rows=rows)


def supported_flags() -> str:
    """Return a table of what each flag of `docker buildx build` does on the two builders."""
    rows = ((code(f"--{name}"), *claims) for name, claims in support.flag_rows())
    return table("flag", "embedded", "BuildKit", "what differs", rows=rows)


def supported_attributes() -> str:
    """Return a table of what each attribute of each exporter does on the two builders."""
    rows = ((code(f"type={kind}"), code(name), *claims) for kind, name, claims in support.attribute_rows())
    return table("exporter", "attribute", "embedded", "BuildKit", "what differs", rows=rows)


def refused_flags() -> str:
    """Return a table of the flags of `docker run` and `docker exec` that are refused, and what to do instead."""
    rows = (
        (code(f"{command} --{flag.name}"), f"{flag.doc}.", flag.instead)
        for command in ("run", "exec")
        for flag in COMMANDS[command].flags
        if flag.refused
    )
    return table("flag", "why", "instead", rows=rows)


TABLES: dict[str, Callable[[], str]] = {
    "build-flags": lambda: flags(flag for flag in OPTIONS if not flag.notebook),
    "notebook-flags": lambda: flags(flag for flag in OPTIONS if flag.notebook),
    "exporters": exporter_sections,
    "commands": commands,
    "refused-flags": refused_flags,
    "supported-flags": supported_flags,
    "supported-attributes": supported_attributes,
    "repository-flags": lambda: flags(REPOSITORY_FLAGS),
    "magic-settings": settings,
    "build-checks": checks,
}
"""The directives, with functions that return the Markdown in their place."""


class Table(SphinxDirective):
    """Puts the table with the directive's name into the page."""

    def run(self) -> list[nodes.Node]:
        """Return the table, parsed from its Markdown."""
        return self.parse_text_to_nodes(TABLES[self.name](), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives with Sphinx."""
    for name in TABLES:
        app.add_directive(name, Table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
