"""in-toto statements: a predicate about subjects, in the envelope that registries and verifiers know."""

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
"""By which an attestation manifest tells what each of its statements is."""
SPDX = "https://spdx.dev/Document"
SLSA = {"v0.2": "https://slsa.dev/provenance/v0.2", "v1": "https://slsa.dev/provenance/v1"}

_STATEMENT = "https://in-toto.io/Statement/v1"
_STATEMENTS = {SLSA["v0.2"]: "https://in-toto.io/Statement/v0.1"}
"""The envelope that the format of a predicate asks for, where it is an older one."""

LayerForm = Callable[[str], Descriptor | None]
"""From the diffID of a layer to its blob in the image; None for a layer that is in no image."""


class Subject(msgspec.Struct, frozen=True):
    """What a statement is about: an image by its package URL, or a file by its path."""

    name: str
    digest: str
    """`sha256:…`."""


class Attestation(msgspec.Struct, frozen=True):
    """A predicate about the result for one platform."""

    path: str
    """The name of its file, where files are exported."""
    predicate_type: str
    predicate: Callable[[LayerForm], Any]
    """Makes the predicate once it is known in which form an image has its layers."""
    inline_only: bool = False
    """Whether it is for images alone, and not reason enough to make an index of one."""
    subjects: tuple[Subject, ...] = ()
    """What it is about; empty is the result itself."""

    def statement(self, subjects: Sequence[Subject], form: LayerForm, *, indent: bool = False) -> bytes:
        """Return the statement, JSON as Go writes it."""
        about = self.subjects or subjects
        return dumps(
            {
                "_type": _STATEMENTS.get(self.predicate_type, _STATEMENT),
                "predicateType": self.predicate_type,
                "subject": [{"name": subject.name, "digest": digest_set(subject.digest)} for subject in about],
                "predicate": self.predicate(form),
            },
            indent=indent,
        )


def digest_set(digest: str) -> dict[str, str]:
    """Return a digest as in-toto writes it."""
    algorithm, _, value = digest.partition(":")
    return {algorithm: value}


def image_subjects(names: Sequence[str], platform: Platform, digest: str) -> list[Subject]:
    """Return an image's manifest under each of its names: one without a name is no subject."""
    return [Subject(image_purl(name, platform), digest) for name in names]


def described(data: bytes, digest: str, predicate_type: str) -> Descriptor:
    """Return the layer of an attestation manifest that a statement is."""
    return Descriptor(IN_TOTO, digest, len(data), annotations={PREDICATE_ANNOTATION: predicate_type})
