"""`%bake` and `%%bake`: the builds that Bake files, or the cell, describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..api.bake import Plan, bake, plan
from ..display import open_progress
from ..display.table import Document, Table
from ..request.flags import Flag, Kind, ParsedFlags
from ..request.table import OPTIONS
from ..result import BuildResult
from .command import command

_PASSED = frozenset({"builder", "progress", "push", "load", "no-cache", "pull", "provenance", "sbom", "allow", "quiet"})
"""Flags of a build that go to each build."""
FLAGS: tuple[Flag, ...] = (
    Flag("file", Kind.MANY, "PATH", "Bake or Compose file; by default the usual names", short="f"),
    Flag("set", Kind.MANY, "TARGET.KEY=VALUE", "Override a field of targets; TARGET may be a pattern"),
    Flag("print", Kind.BOOL, "", "Show what would be built, without building"),
    Flag("list", Kind.BOOL, "", "List the targets and groups"),
    *(option for option in OPTIONS if option.name in _PASSED),
)
"""The flags of `docker buildx bake`."""


class BakeResult(Mapping[str, BuildResult]):
    """The results of the targets that were built, by name."""

    def __init__(self, results: Mapping[str, BuildResult]) -> None:
        self._results = dict(results)

    def __getitem__(self, name: str) -> BuildResult:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def _table(self) -> Table:
        rows = tuple(
            (name, result.image.digest if result.image else "", ", ".join(result.image.names) if result.image else "")
            for name, result in self._results.items()
        )
        return Table(("TARGET", "IMAGE", "NAMES"), rows)

    def __repr__(self) -> str:
        return repr(self._table())

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        table = self._table()
        return {"text/plain": repr(table), "text/html": str(table.table())}


@command(
    "bake",
    "[TARGET...]",
    names=("target",),
    flags=FLAGS,
    forms={
        "%bake [FLAGS] [TARGET...]": "build the targets of docker-bake.hcl or another Bake file",
        "%%bake [FLAGS] [TARGET...]": "build the targets of the Bake file in the cell",
    },
)
def targets(flags: ParsedFlags) -> Any:
    """Build what Bake files describe, as docker buildx bake does."""
    return build_targets(flags)


def bake_line(words: Sequence[str], text: str | None = None) -> Any:
    """Do what a line of words asks for, with the Bake file in `text` when there is one. Raises BuildError."""
    return build_targets(targets.parse(words, "%bake"), text)


def build_targets(flags: ParsedFlags, text: str | None = None, show: Callable[..., Any] = open_progress) -> Any:
    """Build what flags and targets ask for, or only show it. Raises BuildError."""
    files = flags.every("file")
    if flags.on("list"):
        return _listed(plan(["*"], files=files, text=text))
    asked = plan(flags.arguments, files=files, text=text, overrides=flags.every("set"))
    if flags.on("print"):
        return Document((("", asked.to_json()),))
    return BakeResult(bake(asked, _passed(flags), show))


def _passed(flags: ParsedFlags) -> list[str]:
    return [f"--{name}={value}" for name in sorted(_PASSED) for value in flags.every(name)]


def _listed(asked: Plan) -> Table:
    rows = [(name, target.get("description", "")) for name, target in asked.targets.items()]
    rows += [(name, ", ".join(names)) for name, names in asked.groups.items() if name != "default"]
    return Table(("TARGET", "DESCRIPTION"), tuple(rows))
