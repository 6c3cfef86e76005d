"""What the sources of a Dockerfile are now: rules that hold a later build to them, and what cannot be held."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from ...dockerfile.lower import LoweredTarget
from ...errors import SourceRange
from ...llb.ops import Edge, ExecOp, SourceOp, walk
from ...llb.sourcepolicy import Rule, Selector, Update
from ...oci import reference
from ...status.report import Reporter
from .sources import SourceContext, open_source

_IMAGE = "docker-image://"
_OTHERS = ("local://", "oci-layout://")
"""Sources that are at hand: they are as the user has them."""


class Unlocked(msgspec.Struct, frozen=True):
    """A step that brings in what no lock of sources can hold still."""

    location: SourceRange | None
    step: str
    """As progress shows it."""
    advice: str


def pin(
    targets: Iterable[LoweredTarget], context: Edge | None, sources: SourceContext, reporter: Reporter
) -> list[Rule]:
    """Ask what each source of the targets, and a fetched `context`, is now. Raises SourceError and Interrupted."""
    rules: dict[str, Rule] = {}
    for node in walk(context, *(target.edge for target in targets)):
        if isinstance(node.op, SourceOp) and not node.op.identifier.startswith(_OTHERS):
            with reporter.vertex(node.digest, node.name) as report:
                pinned = open_source(node.op, node.platform, sources).pin(report)
            asked = _as_asked(node.op)
            if pinned != Update(asked):
                rules[asked] = Rule(_just(asked), "CONVERT", _literal(pinned))
    return list(rules.values())


def _just(identifier: str) -> Selector:
    """Select one identifier: not by EXACT, of which BuildKit before 0.26 converts nothing but the attributes."""
    if "*" not in identifier:
        return Selector(identifier)
    return Selector(f"^{re.escape(identifier)}$", "REGEX")


def _literal(update: Update) -> Update:
    """Return the same for a selector that is a pattern, whose parts `$1` would stand for."""
    return Update(update.identifier.replace("$", "$$"), update.attrs)


def _as_asked(op: SourceOp) -> str:
    """The identifier by which a policy knows a source: an image's without the digest that it has been found to have."""
    if not op.identifier.startswith(_IMAGE):
        return op.identifier
    ref = reference.parse(op.identifier.removeprefix(_IMAGE))
    return _IMAGE + (str(msgspec.structs.replace(ref, digest="")) if ref.tag else str(ref))


def unlocked(targets: Iterable[LoweredTarget]) -> list[Unlocked]:
    """Return the RUN instructions that install what is newest when they run, with what to write instead."""
    steps: dict[str, Unlocked] = {}
    for node in walk(*(target.edge for target in targets)):
        if isinstance(node.op, ExecOp):
            command = " ".join(node.op.meta.args)
            for pattern, advice in _NEWEST:
                if pattern.search(command):
                    steps.setdefault(node.digest, Unlocked(node.location, node.name, advice))
    return list(steps.values())


def _installs(expression: str, advice: str) -> tuple[re.Pattern[str], str]:
    return re.compile(expression, re.ASCII | re.DOTALL), advice


_NEWEST = (
    _installs(
        r"\bapt(?:-get)?\b[^;&|]*\binstall\b",
        "apt installs what its archive has on the day: take it from a snapshot of the archive, in sources.list.",
    ),
    _installs(
        r"\bapk\b[^;&|]*\badd\b", "apk installs what its repository has on the day: name versions (NAME=1.2-r3)."
    ),
    _installs(r"\b(?:dnf|yum|microdnf)\b[^;&|]*\binstall\b", "It installs what its repositories have on the day."),
    _installs(
        r"\bpip3?\b[^;&|]*\binstall\b(?![^;&|]*--require-hashes)",
        "pip installs the newest versions that fit: use a lock with hashes (pip install --require-hashes -r FILE).",
    ),
    _installs(
        r"\b(?:conda|mamba|micromamba)\b[^;&|]*\b(?:install|create)\b",
        "conda solves anew: use an explicit list of packages (conda list --explicit --md5).",
    ),
    _installs(
        r"\bnpm\b[^;&|]*\b(?:install|i)\b", "npm installs the newest versions that fit: npm ci takes a lock file."
    ),
    _installs(
        r"\b(?:curl|wget)\b|\bgit\b[^;&|]*\bclone\b",
        "It downloads what is there on the day: ADD --checksum=… does the same, and is locked.",
    ),
)
"""How commands are known that install something, each with what to do about it."""
