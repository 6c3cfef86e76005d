"""Attestations that are files: those that a front end returns with its result, and those that a scanner writes.

Source: BuildKit's exporter/attestation.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..errors import SourceError
from ..golang.json import as_map, check_nesting
from ..oci.digest import is_digest
from ..store import Entry, LayerTree, resolve
from ..store.entry import FILE
from .sbom.attestation import SPDX, supplemented_by_layers
from .statement import SLSA, Attestation, Itself, Subject

SBOM_CORE = "sbom-core"
"""The metadata that names the SBOM of the result itself."""
_LARGEST = 40 << 20
"""The most bytes of a statement or a predicate, as in BuildKit."""
_PROVENANCE = SLSA["v1"].rpartition("/")[0]


class GivenAttestation(msgspec.Struct, frozen=True):
    """A file of a file system that is a predicate or, as a `bundle`, a directory of statements."""

    path: str
    bundle: bool = False
    metadata: Mapping[str, bytes] = {}
    predicate_type: str = ""
    """For a bundle, the type that all of its statements must have; "" for any."""
    subjects: tuple[Subject | Itself, ...] = ()


def attestations(given: GivenAttestation, tree: LayerTree, result: LayerTree, who: str) -> list[Attestation]:
    """Return the attestations that the files in `tree` are; `who` has written them, and `result` is what they are
    about.

    Raises SourceError.
    """
    if not given.bundle:
        predicate = _predicate(_read(tree, given.path, who), given.path, who)
        found = [(given.path, given.predicate_type, predicate, given.subjects)]
    else:
        found = list(_statements(given, tree, who))
    made: list[Attestation] = []
    for path, predicate_type, predicate, subjects in found:
        if predicate_type.startswith(f"{_PROVENANCE}/"):
            raise SourceError(f"{who} may not set provenance attestations, as {path} is.")
        name = posixpath.basename(path)
        core = given.metadata.get(SBOM_CORE, b"").decode("utf-8", "replace")
        is_core = core != "" and name.partition(".")[0] == core and predicate_type == SPDX
        make = supplemented_by_layers(predicate, result if is_core else None)
        is_first = core != "" and path.partition(".")[0] == core
        made.append(Attestation(name, predicate_type, make, subjects=subjects, core=is_first))
    return made


def ordered(found: Sequence[Attestation]) -> list[Attestation]:
    """Return attestations in BuildKit's order: the SBOM of the result itself comes first."""
    return sorted(found, key=lambda attestation: not attestation.core)


class _Statement(msgspec.Struct, frozen=True):
    predicate_type: str = msgspec.field(name="predicateType", default="")
    predicate: Any = None
    subject: list[dict[str, Any]] | None = None


def _statements(
    given: GivenAttestation, tree: LayerTree, who: str
) -> Iterator[tuple[str, str, Any, tuple[Subject | Itself, ...]]]:
    folder = resolve(tree, given.path)
    if folder and ((entry := tree.get(folder)) is None or not entry.is_dir):
        raise SourceError(f"{who} has no directory {given.path}.")
    for entry in tree.children(folder):
        if entry.type != FILE or entry.size > _LARGEST:
            raise SourceError(f"{who} wrote {entry.path!r}, which is not a statement of at most {_LARGEST} bytes.")
        data = tree.read(entry)
        check_nesting(data, f"{who}'s {entry.name}")
        try:
            statement = msgspec.json.decode(data, type=_Statement)
        except msgspec.MsgspecError as error:
            raise SourceError(f"{who}'s {entry.name} is not an in-toto statement: {error}.") from error
        if given.predicate_type and statement.predicate_type != given.predicate_type:
            raise SourceError(
                f"{who}'s {entry.name} has the type {statement.predicate_type!r} instead of {given.predicate_type!r}."
            )
        if not statement.predicate_type:
            raise SourceError(f"{who}'s {entry.name} has no predicateType.")
        subjects = tuple(_subject(subject) for subject in statement.subject or ())
        yield entry.path, statement.predicate_type, _sorted(statement.predicate), subjects


def _subject(subject: Mapping[str, Any]) -> Subject:
    digests = subject.get("digest")
    sets = msgspec.convert(digests, dict[str, str], strict=False) if isinstance(digests, dict) else {}
    digests = tuple(f"{algorithm}:{value}" for algorithm, value in sorted(sets.items()))
    return Subject(str(subject.get("name", "")) or "_", digests)


def _sorted(value: Any) -> Any:
    """Return a document as Go writes it again: objects are sorted."""
    if isinstance(value, dict):
        return as_map({key: _sorted(item) for key, item in value.items()})  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_sorted(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _predicate(data: bytes, path: str, who: str) -> Any:
    if not data:
        return None
    check_nesting(data, f"{who}'s {path}")
    try:
        return msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        raise SourceError(f"{who}'s {path} is not JSON: {error}.") from error


def _read(tree: LayerTree, path: str, who: str) -> bytes:
    entry: Entry | None = tree.get(resolve(tree, path.lstrip("/")))
    if entry is None or entry.type != FILE:
        raise SourceError(f"{who}'s {path} is not a regular file.")
    if entry.size > _LARGEST:
        raise SourceError(f"{who}'s {path} has {entry.size} bytes, more than {_LARGEST}.")
    return tree.read(entry)


def checked(given: GivenAttestation, *, has_content: bool) -> GivenAttestation:
    """Return an attestation that is complete. Raises SourceError, in BuildKit's words."""
    if not given.bundle and not given.path:
        raise SourceError("attestation does not have set path")
    if not has_content:
        raise SourceError("attestation does not have available content")
    for subject in given.subjects:
        if isinstance(subject, Subject) and not all(map(is_digest, subject.digests)):
            raise SourceError(f"the subject {subject.name} of {given.path} has a digest that is none")
    return given
