"""The attestations of an image for pages: summed up for the notebook, as static HTML, and complete on demand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from ..errors import BuildError, UsageError
from ..results.attested import Statement
from ..results.contents import Contents
from ..summary import AttestedSummary, MaterialSummary, SoftwareSummary, Summary
from .attested import SBOM, Provenance, provenances, sboms
from .markup import Markup, tag
from .parts import section, short, table
from .words import plural

_SHOWN = 30
"""The number of materials and packages on a static page."""


def with_attested(summary: Summary, contents: Contents | None) -> Summary:
    """Return the summary with what is attested of its image, as far as that can be read."""
    if contents is None:
        return summary
    try:
        attested = Attestations(contents.statements()).summaries()
    except (BuildError, OSError):
        # Attestations of a foreign image may be anything; the rest of the image is shown nevertheless.
        return summary
    return msgspec.structs.replace(summary, attested=attested)


class Attestations:
    """The statements about an image, by platform."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self._provenances: dict[str, Provenance] = {}
        self._sboms: dict[str, list[SBOM]] = {}
        for provenance in provenances(statements):
            self._provenances.setdefault(provenance.platform, provenance)
        for sbom in sboms(statements):
            self._sboms.setdefault(sbom.platform, []).append(sbom)

    def summaries(self) -> tuple[AttestedSummary, ...]:
        """Return a summary for each platform."""
        return tuple(self._summary(platform) for platform in {**self._provenances, **self._sboms})

    def _summary(self, platform: str) -> AttestedSummary:
        summary = AttestedSummary(platform=platform)
        if provenance := self._provenances.get(platform):
            materials = provenance.materials
            steps: object = provenance.llb.get("llbDefinition")
            summary = msgspec.structs.replace(
                summary,
                provenance=provenance.version,
                facts=provenance.facts,
                materials=tuple(MaterialSummary(*material) for material in materials),
                material_count=len(materials),
                parameters=_flat(provenance.parameters),
                llb_steps=len(cast("list[object]", steps)) if isinstance(steps, list) else 0,
            )
        if attached := self._sboms.get(platform):
            packages = self.packages(platform)
            summary = msgspec.structs.replace(
                summary,
                sboms=len(attached),
                scanner=attached[0].scanner,
                packages=packages,
                package_count=len(packages),
            )
        return summary

    def packages(self, platform: str) -> tuple[SoftwareSummary, ...]:
        """Return the packages of the image's own SBOM. Raises UsageError when there is none."""
        if platform not in self._sboms:
            raise UsageError(f"The image for {platform[:100]} has no SBOM.")
        return tuple(
            SoftwareSummary(package.name, package.version, package.type, package.licence, package.proof)
            for package in self._sboms[platform][0].packages
        )

    def document(self, platform: str, part: str) -> tuple[str, bytes]:
        """Return `provenance`, `sbom` or `llb`, as the name of a file and its JSON. Raises UsageError."""
        documents: dict[str, dict[str, Any]] = {}
        if provenance := self._provenances.get(platform):
            documents = {"provenance": provenance.document, "llb": provenance.llb}
        if attached := self._sboms.get(platform):
            documents["sbom"] = attached[0].document
        if not documents.get(part):
            raise UsageError(f"The image for {platform[:100]} has no {part[:50]!r}.")
        name = "sbom.spdx.json" if part == "sbom" else f"{part}.json"
        return name, msgspec.json.format(msgspec.json.encode(documents[part]))


def _flat(parameters: dict[str, Any]) -> dict[str, str]:
    """Return parameters by name, including the arguments of the front end."""
    arguments: object = parameters.get("args")
    inner = cast("dict[str, Any]", arguments) if isinstance(arguments, dict) else {}
    named = {**{name: value for name, value in parameters.items() if name != "args"}, **inner}
    return {name: value if isinstance(value, str) else _said(value) for name, value in named.items()}


def _said(value: Any) -> str:
    """Return the names in a list of secrets or directories; anything else as JSON."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        names = [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]
        words = [name.get("id") or name.get("name") for name in names]
        if len(words) == len(items) and all(isinstance(word, str) for word in words):
            return ", ".join(map(str, words))
    return json.dumps(value, ensure_ascii=False)


def attested_section(attested: AttestedSummary, several: bool) -> Markup:
    """Return the materials and contents of the image for a platform: counts, and the first of each."""
    title = f"Attestations of {attested.platform}" if several else "Attestations"
    counts = [plural(attested.material_count, "material")] if attested.provenance else []
    counts += [plural(attested.package_count, "package")] if attested.sboms else []
    facts = [
        tag.tr(tag.th(name, scope="row", align="left"), tag.td(tag.code(value), cls="pb-text"))
        for name, value in attested.facts.items()
    ]
    materials = [
        tag.tr(tag.td(tag.code(material.uri), cls="pb-text"), tag.td(short(material.digest) if material.digest else ""))
        for material in attested.materials[:_SHOWN]
    ]
    packages = [
        tag.tr(
            *map(tag.td, (package.name, package.version, package.type, package.licence)),
            tag.td(tag.code(package.proof)),
        )
        for package in attested.packages[:_SHOWN]
    ]
    titles = ("Package", "Version", "Type", "Licence", "Found in")
    return section(
        title,
        ", ".join(counts),
        table("Provenance", (), facts) if facts else None,
        table("Materials", ("Material", "Digest"), materials) if materials else None,
        _rest(attested.material_count - len(materials), "material"),
        table("Packages", titles, packages) if packages else None,
        _rest(attested.package_count - len(packages), "package"),
    )


def _rest(count: int, noun: str) -> Markup | None:
    return tag.p(f"{plural(count, f'more {noun}')} not shown here.", cls="pb-note") if count > 0 else None
