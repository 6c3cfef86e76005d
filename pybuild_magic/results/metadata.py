"""The metadata of a finished build, as `docker buildx build --metadata-file` writes it.

Source: buildx's `decodeExporterResponse`, `setRecordProvenance` and `confutil.MetadataProvenance`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from ..builders.builder import BuildRecord
from ..errors import BuildError
from ..golang.parsebool import parse_bool
from ..request.parts import DOCKERFILE
from ..session import LocalDir
from ..status.messages import VertexWarning
from ..untrusted.redaction import redact

REF = "buildx.build.ref"
WARNINGS = "buildx.build.warnings"
_PROVENANCE = "buildx.build.provenance"
_MAX_DEFINITION = 16 << 20


def provenance_mode(environ: Mapping[str, str] = os.environ) -> Literal["min", "max", "disabled"]:
    """Return how much of a build's record is part of its metadata: BUILDX_METADATA_PROVENANCE."""
    value = environ.get("BUILDX_METADATA_PROVENANCE", "")
    if value == "max":
        return "max"
    return "disabled" if value == "disabled" or parse_bool(value) is False else "min"


def has_warnings(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a build's warnings are part of its metadata: BUILDX_METADATA_WARNINGS."""
    return parse_bool(environ.get("BUILDX_METADATA_WARNINGS", "")) is True


def build_metadata(answer: Mapping[str, str], ref: str, record: BuildRecord | None) -> dict[str, Any]:
    """Return a build's metadata: the exporters' `answer`, the build's ref, and how its results were made.

    `ref` is `BUILDER/NODE/REF`; "" stands for the answer to a question, which has no record either.
    """
    metadata = {key: _decoded(value) for key, value in answer.items()}
    if ref:
        metadata[REF] = ref
    mode = provenance_mode()
    if record is not None and mode != "disabled":
        for platform, predicate in record(steps=mode == "max").items():
            metadata[f"{_PROVENANCE}/{platform}" if platform else _PROVENANCE] = predicate
    return dict(sorted(metadata.items()))


def warning_documents(
    warnings: Sequence[VertexWarning], definition: LocalDir | None, filename: str
) -> list[dict[str, Any]]:
    """Return warnings as buildx writes them. `definition` is the directory of the Dockerfile, which is `filename`."""
    return [_warning(warning, definition, filename or DOCKERFILE) for warning in warnings]


def metadata_file(metadata: Mapping[str, Any]) -> bytes:
    """Return the content of a `--metadata-file`; an answer in JSON is a part of the document."""
    document = dict(metadata)
    if answer := document.pop("result.json", ""):
        document["result.json"] = msgspec.Raw(answer.encode())
    return msgspec.json.format(msgspec.json.encode(dict(sorted(document.items()))), indent=2)


def _decoded(value: str) -> Any:
    """Return a member of an exporter's answer, decoded if it is a document that is not empty."""
    try:
        document = msgspec.json.decode(
            base64.b64decode(value, validate=True), type=dict[str, Any] | list[dict[str, Any]]
        )
    except (ValueError, RecursionError):
        return value
    return document or value


def _warning(warning: VertexWarning, definition: LocalDir | None, filename: str) -> dict[str, Any]:
    document: dict[str, Any] = {"vertex": warning.vertex, "level": warning.level, "short": _encoded(warning.short)}
    if warning.detail:
        document["detail"] = list(map(_encoded, warning.detail))
    if warning.url:
        document["url"] = warning.url
    if warning.filename:
        source: dict[str, Any] = {"filename": warning.filename}
        text = _text(definition, filename) if warning.filename == filename else ""
        document["sourceInfo"] = source | ({"data": _encoded(text.encode()), "language": "Dockerfile"} if text else {})
    if warning.start:
        place = {"start": {"line": warning.start}, "end": {"line": warning.end or warning.start}}
        document["range"] = [place]
    return document


def _text(definition: LocalDir | None, filename: str) -> str:
    """Return the Dockerfile without credentials; "" if it cannot be read any more."""
    if definition is None:
        return ""
    try:
        with definition.open(filename) as file:
            return redact(file.read(_MAX_DEFINITION).decode())
    except (BuildError, OSError, UnicodeDecodeError):
        return ""


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
