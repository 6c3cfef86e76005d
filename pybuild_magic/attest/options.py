"""The attestations that a request asks for, read from its front-end attributes as BuildKit reads them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from ..errors import UnsupportedError, UsageError, nearest
from ..golang.parsebool import parse_bool
from ..oci import reference

Version = Literal["v0.2", "v1"]

_ATTR = "attest:"
_ARG = "build-arg:BUILDKIT_ATTEST_"
_KINDS = ("provenance", "sbom")
_PROVENANCE = ("mode", "version", "builder-id", "inline-only", "reproducible", "filename")
_ELSEWHERE = ("capture-usage", "complete-materials")
"""Fields that BuildKit has and the embedded builder lacks."""
_MODES = {"min": "min", "max": "max", "full": "max"}


class ProvenanceOptions(msgspec.Struct, frozen=True):
    """How detailed a provenance is, and which version of SLSA's format it has."""

    mode: Literal["min", "max"] = "max"
    version: Version = "v1"
    builder_id: str = ""
    inline_only: bool = False
    """Whether it is only for images that are pushed or stored, not for exported files."""
    reproducible: bool = False
    filename: str = "provenance.json"


class SBOMOptions(msgspec.Struct, frozen=True):
    """Who scans a result."""

    generator: str = ""
    """The reference of a scanner's image; "" for the built-in scanner."""
    parameters: dict[str, str] = {}
    """The parameters of the scanner, passed to it as `BUILDKIT_SCAN_NAME`."""


class AttestOptions(msgspec.Struct, frozen=True):
    """The attestations that are asked for."""

    provenance: ProvenanceOptions | None = None
    sbom: SBOMOptions | None = None


def is_attestation_attr(name: str) -> bool:
    """Return whether a front-end attribute asks for an attestation."""
    return name.startswith((_ATTR, _ARG))


def parse_attests(attrs: Mapping[str, str]) -> AttestOptions:
    """Read `attest:KIND` and `build-arg:BUILDKIT_ATTEST_KIND` of front-end attributes. Raises UsageError."""
    requests: dict[str, dict[str, str]] = {}
    for name, text in attrs.items():
        for prefix in (_ATTR, _ARG):
            if name.startswith(prefix):
                kind = name.removeprefix(prefix).lower()
                if kind not in _KINDS:
                    raise UsageError(f'unknown attestation type "{kind}".', hint="Use provenance or sbom.")
                requests[kind] = _fields(kind, text)
    return AttestOptions(
        _provenance(requests["provenance"]) if "provenance" in requests else None,
        _sbom(requests["sbom"]) if "sbom" in requests else None,
    )


def _fields(kind: str, text: str) -> dict[str, str]:
    try:
        words = next(csv.reader([text], strict=True)) if text else []
    except csv.Error as error:
        raise UsageError(f"The attestation {kind} cannot be read: {error}.") from None
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _provenance(fields: Mapping[str, str]) -> ProvenanceOptions:
    for name in fields:
        if name in _ELSEWHERE:
            raise UnsupportedError(
                f"The embedded builder does not support {name} for provenance.",
                hint="Leave it out, or use --builder to build with a real BuildKit.",
            )
        if name not in _PROVENANCE:
            suggestion = nearest(name, _PROVENANCE)
            hint = f"Did you mean {suggestion}=…?" if suggestion else f"Use one of {', '.join(_PROVENANCE)}."
            raise UsageError(f"Provenance has no option {name!r}.", hint=hint)
    mode, version = fields.get("mode", "max"), fields.get("version", "v1")
    if mode not in _MODES:
        raise UsageError(f'invalid mode "{mode}" for provenance.', hint="Use min or max.")
    if version not in get_args(Version):
        raise UsageError(f"invalid provenance SLSA version: {version}.", hint="Use v0.2 or v1.")
    filename = fields.get("filename", "provenance.json")
    if not filename or "/" in filename or filename in (".", ".."):
        raise UsageError(f"The provenance option filename={filename} is not a valid file name.")
    return msgspec.convert(
        {
            "mode": _MODES[mode],
            "version": version,
            "builder_id": fields.get("builder-id", ""),
            "inline_only": _truth(fields, "inline-only"),
            "reproducible": _truth(fields, "reproducible"),
            "filename": filename,
        },
        ProvenanceOptions,
    )


def _truth(fields: Mapping[str, str], name: str) -> bool:
    value = parse_bool(fields.get(name) or "false")
    if value is None:
        raise UsageError(f"The provenance option {name}={fields[name]} must be true or false.")
    return value


def _sbom(fields: Mapping[str, str]) -> SBOMOptions:
    parameters = {name: value for name, value in fields.items() if name != "generator"}
    if "generator" not in fields:
        return SBOMOptions(parameters=parameters)
    if not fields["generator"]:
        raise UsageError("sbom generator cannot be empty.", hint="Leave generator= out to use the built-in scanner.")
    return SBOMOptions(str(reference.parse(fields["generator"]).tagged()), parameters)
