"""SBOMs as attestations: those of the built-in scanner, and the statements that another scanner wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from ...cancel import Cancel
from ...errors import SourceError
from ...golang.json import check_nesting
from ...store import Entry, LayerTree, Store, resolve
from ...store.entry import FILE
from ..statement import SPDX, Attestation, LayerForm, Subject
from .scan import proofs, scan
from .spdx import ProvingFile, document, supplemented

CORE = "sbom"
"""The name of the result's own SBOM; names of additional targets begin with it and a hyphen."""
_SUFFIX = ".spdx.json"
_LARGEST = 64 << 20
"""The most bytes of a statement written by a scanner."""
_BLOCK = 1 << 20


def tool() -> str:
    """Return the tool that writes SBOMs here, by name and version."""
    try:
        return f"pybuild_magic-{version('pybuild_magic')}"
    except PackageNotFoundError:
        return "pybuild_magic"


def scanned(
    name: str, target: str, store: Store, tree: LayerTree, cancel: Cancel, *, created: int, core: bool
) -> Attestation:
    """Scan a snapshot, called `target` in its document, and return its contents as `NAME.spdx.json`.

    `created` is in nanoseconds since 1970. Files of the result itself (`core`) name the layer that they come from.
    """
    scanned_tree = scan(store, tree, cancel)
    files = {path: _proving(path, tree, cancel) for path in proofs(scanned_tree.packages)}
    own = tool()
    predicate = document(target, scanned_tree.packages, files, scanned_tree.unread, created=created, tool=own)
    return _attestation(name + _SUFFIX, predicate, _layers(tree) if core else None)


def written(tree: LayerTree, path: str, result: LayerTree) -> list[Attestation]:
    """Return the attestations that a scanner left in the directory `path`, that of the result first.

    Raises SourceError for a file that is not an attestation.
    """
    attestations: list[Attestation] = []
    for entry in tree.children(path):
        if entry.type != FILE or entry.size > _LARGEST:
            raise SourceError(
                f"The scanner wrote {entry.path!r}, which is not a statement of at most {_LARGEST} bytes."
            )
        statement = _statement(entry, tree.read(entry))
        core = entry.name.partition(".")[0] == CORE
        attestation = _attestation(entry.name, statement.predicate, _layers(result) if core else None)
        subjects = tuple(_subjects(statement.subject))
        attestations.append(msgspec.structs.replace(attestation, subjects=subjects))
    return sorted(attestations, key=lambda attestation: attestation.path.partition(".")[0] != CORE)


class _Statement(msgspec.Struct, frozen=True):
    predicate_type: str = msgspec.field(name="predicateType", default="")
    predicate: Any = None
    subject: list[dict[str, Any]] = []


def _statement(entry: Entry, data: bytes) -> _Statement:
    check_nesting(data, f"The scanner's {entry.name}")
    try:
        statement = msgspec.json.decode(data, type=_Statement)
    except msgspec.MsgspecError as error:
        raise SourceError(f"The scanner's {entry.name} is not an in-toto statement: {error}.") from error
    if statement.predicate_type != SPDX:
        raise SourceError(f"The scanner's {entry.name} has the type {statement.predicate_type!r} instead of {SPDX!r}.")
    return statement


def _subjects(subjects: Sequence[dict[str, Any]]) -> list[Subject]:
    parsed: list[Subject] = []
    for subject in subjects:
        digests = subject.get("digest")
        sets = msgspec.convert(digests, dict[str, str], strict=False) if isinstance(digests, dict) else {}
        parsed += [Subject(str(subject.get("name", "_")), f"{algorithm}:{value}") for algorithm, value in sets.items()]
    return parsed


def _attestation(path: str, contents: Any, layers: Callable[[str], str] | None) -> Attestation:
    def predicate(form: LayerForm) -> Any:
        def layer_of(name: str) -> str:
            blob = form(layers(name)) if layers else None
            return blob.digest if blob else ""

        return supplemented(contents, layer_of, tool()) if layers else contents

    return Attestation(path, SPDX, predicate)


def _layers(tree: LayerTree) -> Callable[[str], str]:
    """Return a function that finds the diffID of a file's layer; "" for a file that is not there."""

    def layer_of(name: str) -> str:
        entry = tree.get(resolve(tree, name.lstrip("/"), follow_last=False))
        return tree.layer_of(entry) if entry else ""

    return layer_of


def _proving(path: str, tree: LayerTree, cancel: Cancel) -> ProvingFile:
    entry = tree.get(path)
    assert entry
    sha1, sha256 = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    with tree.open(entry) as file:
        while block := file.read(_BLOCK):
            cancel.check()
            sha1.update(block)
            if not entry.digest:
                sha256.update(block)
    return ProvingFile(path, sha1.hexdigest(), entry.digest.hex() or sha256.hexdigest())
