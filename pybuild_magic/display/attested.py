"""The attestations of an image as Python objects that display themselves: provenance and packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from ..attest.statement import SLSA, SPDX
from ..results.attested import Statement
from ..results.frames import dataframe
from .table import Table

_COMPLETE = {"request": "parameters", "resolvedDependencies": "materials"}
"""Plain words for the names of completeness in SLSA 1 and 0.2."""


class Provenance:
    """How an image was made: SLSA's predicate of any version, as `document`."""

    def __init__(self, statement: Statement) -> None:
        self.document = statement.predicate
        self.platform = statement.platform
        self.version = next((name for name, uri in SLSA.items() if uri == statement.type), "")
        """The predicate's version: `v1`, `v0.2`."""

    @property
    def facts(self) -> dict[str, str]:
        """The facts about the build, by title: the builder, the time, the source of its files."""
        definition = _members(self.document.get("buildDefinition"))
        details = _members(self.document.get("runDetails"))
        run = _members(details.get("metadata")) or _members(self.document.get("metadata"))
        outer = _members(definition.get("externalParameters")) or _members(self.document.get("invocation"))
        source = _members(outer.get("configSource"))
        complete = _members(run.get("buildkit_completeness")) or _members(run.get("completeness"))
        facts = {
            "Builder": _text(_members(details.get("builder") or self.document.get("builder")), "id"),
            "Build": _text(run, "invocationId") or _text(run, "buildInvocationID"),
            "Started": _text(run, "startedOn") or _text(run, "buildStartedOn"),
            "Finished": _text(run, "finishedOn") or _text(run, "buildFinishedOn"),
            "Source": _text(source, "uri"),
            "Dockerfile": _text(source, "path") or _text(source, "entryPoint"),
            "Repository": _text(self.vcs, "source"),
            "Commit": _text(self.vcs, "revision"),
            "Complete": ", ".join(_COMPLETE.get(name, name) for name, value in complete.items() if value is True),
        }
        return {title: value for title, value in facts.items() if value}

    @property
    def llb(self) -> dict[str, Any]:
        """The definition of the build, which only a provenance of `mode=max` has; else {}."""
        definition = _members(self.document.get("buildDefinition"))
        inner = _members(definition.get("internalParameters")) or self.document
        return _members(inner.get("buildConfig"))

    @property
    def materials(self) -> tuple[tuple[str, str], ...]:
        """The sources of the build: the name of each, and its digest or commit."""
        definition = _members(self.document.get("buildDefinition"))
        listed = definition.get("resolvedDependencies") or self.document.get("materials")
        return tuple((_text(material, "uri"), _digest(material.get("digest"))) for material in _objects(listed))

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the build: the front end, its arguments, names of secrets and of local directories."""
        definition = _members(_members(self.document.get("buildDefinition")).get("externalParameters"))
        return _members(definition.get("request") or _members(self.document.get("invocation")).get("parameters"))

    @property
    def vcs(self) -> dict[str, Any]:
        """The commit and the repository of the context, where known."""
        run = _members(_members(self.document.get("runDetails")).get("metadata"))
        own = run.get("buildkit_metadata") or _members(self.document.get("metadata")).get(
            "https://mobyproject.org/buildkit@v1#metadata"
        )
        return _members(_members(own).get("vcs"))

    def to_dataframe(self) -> Any:
        """Return the materials as a pandas DataFrame, one per row. Raises UnsupportedError without pandas."""
        return dataframe(("uri", "digest"), self.materials)

    def __repr__(self) -> str:
        return repr(Table(("MATERIAL", "DIGEST"), self.materials, self._note))

    def _repr_html_(self) -> str:
        return Table(("MATERIAL", "DIGEST"), self.materials, self._note).html()

    @property
    def _note(self) -> str:
        commit = f"; of commit {self.vcs['revision']}" if self.vcs.get("revision") else ""
        return f"Provenance for {self.platform}, SLSA {self.version}{commit}."


class SoftwarePackage(msgspec.Struct, frozen=True):
    """A package in an image."""

    name: str
    version: str
    type: str
    """The type of its package URL: `deb`, `pypi`, `npm`, …"""
    licence: str
    purl: str
    proof: str
    """The place where a scanner found it, in the scanner's words."""


class SBOM:
    """The contents of an image: the packages in an SPDX document, which is `document`."""

    def __init__(self, document: dict[str, Any], platform: str = "") -> None:
        self.document = document
        self.platform = platform

    @property
    def packages(self) -> tuple[SoftwarePackage, ...]:
        """The packages that have a package URL, in the document's order."""
        return tuple(self._packages())

    def _packages(self) -> Iterator[SoftwarePackage]:
        for package in _objects(self.document.get("packages")):
            refs = _objects(package.get("externalRefs"))
            purls = [_text(ref, "referenceLocator") for ref in refs if ref.get("referenceType") == "purl"]
            if purls:
                yield SoftwarePackage(
                    _text(package, "name"),
                    _text(package, "versionInfo"),
                    purls[0].removeprefix("pkg:").partition("/")[0],
                    _text(package, "licenseDeclared").replace("NOASSERTION", ""),
                    purls[0],
                    _text(package, "sourceInfo").removeprefix("told by "),
                )

    @property
    def scanner(self) -> str:
        """The tool that made the document, as the document names it."""
        return _text(_members(self.document.get("creationInfo")), "comment")

    def find(self, word: str) -> tuple[SoftwarePackage, ...]:
        """Return the packages whose name, package URL or licence contains `word`, ignoring case."""
        needle = word.lower()
        return tuple(
            package
            for package in self.packages
            if needle in f"{package.name}\n{package.purl}\n{package.licence}".lower()
        )

    def to_dataframe(self) -> Any:
        """Return the packages as a pandas DataFrame, one per row. Raises UnsupportedError without pandas."""
        fields = SoftwarePackage.__struct_fields__
        return dataframe(fields, map(msgspec.structs.astuple, self.packages))

    def __len__(self) -> int:
        return len(self.packages)

    def __repr__(self) -> str:
        return repr(self._shown)

    def _repr_html_(self) -> str:
        return self._shown.html()

    @property
    def _shown(self) -> Table:
        rows = [
            (package.name, package.version, package.type, package.licence, package.proof) for package in self.packages
        ]
        note = f"{len(rows)} packages. {self.scanner}".strip()
        return Table(("PACKAGE", "VERSION", "TYPE", "LICENCE", "TOLD BY"), tuple(rows), note)


def provenances(statements: Iterable[Statement]) -> Iterator[Provenance]:
    """Return those of the statements that are provenance."""
    return (Provenance(statement) for statement in statements if statement.type in SLSA.values())


def sboms(statements: Iterable[Statement]) -> Iterator[SBOM]:
    """Return those of the statements that are SBOMs, the result's own first."""
    return (SBOM(statement.predicate, statement.platform) for statement in statements if statement.type == SPDX)


def _members(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [_members(member) for member in cast("list[Any]", value)] if isinstance(value, list) else []


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else ""


def _digest(digests: Any) -> str:
    return next((f"{name}:{value}" for name, value in _members(digests).items()), "")
