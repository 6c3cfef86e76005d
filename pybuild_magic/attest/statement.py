"""in-toto statements: a predicate about subjects, in the envelope that registries and verifiers understand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..golang.json import dumps
from ..oci.descriptor import Descriptor
from ..oci.mediatype import IN_TOTO
from ..oci.platform import Platform
from .purl import image_purl

PREDICATE_ANNOTATION = "in-toto.io/predicate-type"
"""The annotation of each layer in an attestation manifest that names the type of its statement."""
SPDX = "https://spdx.dev/Document"
SLSA = {"v0.2": "https://slsa.dev/provenance/v0.2", "v1": "https://slsa.dev/provenance/v1"}

_STATEMENT = "https://in-toto.io/Statement/v1"
_STATEMENTS = {SLSA["v0.2"]: "https://in-toto.io/Statement/v0.1"}
"""The statement versions of predicates that need an older one."""

LayerForm = Callable[[str], Descriptor | None]
"""From the diffID of a layer to its blob in the image; None for a layer that is not in the image."""


class Subject(msgspec.Struct, frozen=True):
    """The subject of a statement: an image by its package URL, or a file by its path."""

    name: str
    digests: tuple[str, ...]
    """`sha256:…`."""


class Itself(msgspec.Struct, frozen=True):
    """The result that an attestation belongs to, as a subject; with a `name`, under that name too."""

    name: str = ""


class Attestation(msgspec.Struct, frozen=True):
    """A predicate about the result for one platform."""

    path: str
    """The name of its file in exports to a directory or a tar."""
    predicate_type: str
    predicate: Callable[[LayerForm], Any]
    """Makes the predicate, once the form of the image's layers is known."""
    inline_only: bool = False
    """Whether it is only for images, and not by itself a reason to make an index."""
    subjects: tuple[Subject | Itself, ...] = ()
    """The subjects of the statement; empty stands for the result itself."""
    core: bool = False
    """Whether it is the SBOM of the result itself."""

    def statement(self, subjects: Sequence[Subject], form: LayerForm, *, indent: bool = False) -> bytes:
        """Return the statement, as JSON in Go's layout."""
        about: list[Subject] = []
        for subject in self.subjects or (Itself(),):
            if isinstance(subject, Subject):
                about.append(subject)
                continue
            for own in subjects:
                about += [own, *([Subject(subject.name, own.digests)] if subject.name else [])]
        return dumps(
            {
                "_type": _STATEMENTS.get(self.predicate_type, _STATEMENT),
                "predicateType": self.predicate_type,
                "subject": [{"name": subject.name, "digest": digest_set(*subject.digests)} for subject in about],
                "predicate": self.predicate(form),
            },
            indent=indent,
        )


def digest_set(*digests: str) -> dict[str, str]:
    """Return digests in in-toto's form."""
    return dict(digest.split(":", 1) for digest in digests)


def image_subjects(names: Sequence[str], platform: Platform, digest: str) -> list[Subject]:
    """Return an image's manifest under each of the image's names; an unnamed image is not a subject."""
    return [Subject(image_purl(name, platform), (digest,)) for name in names]


def described(data: bytes, digest: str, predicate_type: str) -> Descriptor:
    """Return the descriptor of a statement as a layer of an attestation manifest."""
    return Descriptor(IN_TOTO, digest, len(data), annotations={PREDICATE_ANNOTATION: predicate_type})
