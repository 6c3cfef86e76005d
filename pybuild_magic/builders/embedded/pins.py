"""The pins of a Dockerfile's sources: rules that hold later builds to the present digests, and steps that cannot be
pinned.
"""

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
"""Sources that are already at hand, and stay as the user has them."""


class Unlocked(msgspec.Struct, frozen=True):
    """A step that fetches something that no lock of sources can pin."""

    location: SourceRange | None
    step: str
    """The step's name in the progress."""
    advice: str


def pin(
    targets: Iterable[LoweredTarget], context: Edge | None, sources: SourceContext, reporter: Reporter
) -> list[Rule]:
    """Look up the present digest of each source of the targets, and of a fetched `context`. Raises SourceError and
    Interrupted.
    """
    rules: dict[str, Rule] = {}
    for node in walk(context, *(target.edge for target in targets)):
        if isinstance(node.op, SourceOp) and not node.op.identifier.startswith(_OTHERS):
            with reporter.vertex(node.digest, node.name) as report:
                pinned = open_source(node.op, node.platform, sources).pin(report)
            requested = _as_asked(node.op)
            if pinned != Update(requested):
                rules[requested] = Rule(_just(requested), "CONVERT", _literal(pinned))
    return list(rules.values())


def _just(identifier: str) -> Selector:
    """Select one identifier. EXACT is not used: with it, BuildKit before 0.26 changes only the attributes."""
    if "*" not in identifier:
        return Selector(identifier)
    return Selector(f"^{re.escape(identifier)}$", "REGEX")


def _literal(update: Update) -> Update:
    """Return a selector without patterns: in a pattern, `$1` would stand for one of its parts."""
    return Update(update.identifier.replace("$", "$$"), update.attrs)


def _as_asked(op: SourceOp) -> str:
    """Return the identifier by which a policy knows a source: for an image, without the digest that was just found."""
    if not op.identifier.startswith(_IMAGE):
        return op.identifier
    ref = reference.parse(op.identifier.removeprefix(_IMAGE))
    return _IMAGE + (str(msgspec.structs.replace(ref, digest="")) if ref.tag else str(ref))


def unlocked(targets: Iterable[LoweredTarget]) -> list[Unlocked]:
    """Return the RUN instructions that install the latest versions at the time they run, with a suggestion for each."""
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
        "apt installs the latest versions: point sources.list at a snapshot of the archive.",
    ),
    _installs(r"\bapk\b[^;&|]*\badd\b", "apk installs the latest versions: name them (NAME=1.2-r3)."),
    _installs(r"\b(?:dnf|yum|microdnf)\b[^;&|]*\binstall\b", "This installs the latest versions of its repositories."),
    _installs(
        r"\bpip3?\b[^;&|]*\binstall\b(?![^;&|]*--require-hashes)",
        "pip installs the latest versions that match: use a lock with hashes (pip install --require-hashes -r FILE).",
    ),
    _installs(
        r"\b(?:conda|mamba|micromamba)\b[^;&|]*\b(?:install|create)\b",
        "conda resolves versions anew: use an explicit list of packages (conda list --explicit --md5).",
    ),
    _installs(
        r"\bnpm\b[^;&|]*\b(?:install|i)\b",
        "npm installs the latest versions that match: use npm ci, which needs a lock file.",
    ),
    _installs(
        r"\b(?:curl|wget)\b|\bgit\b[^;&|]*\bclone\b",
        "This downloads whatever is there at the time: use ADD --checksum=…, which can be locked.",
    ),
)
"""Commands that install something, each with a suggestion."""
