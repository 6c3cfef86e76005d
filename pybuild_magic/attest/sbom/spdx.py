"""A scan as an SPDX 2.3 document, and the layer information that is added to any such document."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec

from ...oci.timestamp import format_time
from .licence import expression
from .package import Package
from .scan import Unread, proofs

_NOT_ID = re.compile(r"[^A-Za-z0-9.-]+")
_NO = "NOASSERTION"
_SECOND = 1_000_000_000


class ProvingFile(msgspec.Struct, frozen=True):
    """A file that proves that packages are installed, with its digests in hexadecimal."""

    path: str
    sha1: str
    sha256: str


def document(
    name: str,
    packages: Sequence[Package],
    files: Mapping[str, ProvingFile],
    unread: Sequence[Unread],
    *,
    created: int,
    tool: str,
) -> dict[str, Any]:
    """Return the document; `created` is in nanoseconds since 1970. The same packages give the same document."""
    references: dict[str, str] = {}
    ids = {path: f"SPDXRef-File-{_id(path)}-{_short(path)}" for path in proofs(packages)}
    listed: list[dict[str, Any]] = []
    relations: list[dict[str, str]] = []
    for package in packages:
        own = f"SPDXRef-Package-{package.kind}-{_id(package.name)}-{_short(package.purl + package.proof)}"
        listed.append(_package(own, package, references))
        relations.append(_relation("SPDXRef-DOCUMENT", "DESCRIBES", own))
        if package.proof in files:
            relations.append(_relation(own, "OTHER", ids[package.proof], "evident-by: the file tells of the package"))
    comment = "; ".join(f"{file.path} {file.reason}" for file in unread)
    spdx: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": "",
        "creationInfo": {
            "created": format_time(created // _SECOND * _SECOND),
            "creators": [f"Tool: {tool}"],
            **({"comment": f"Not read: {comment}"} if comment else {}),
        },
        "packages": listed,
        "files": [_file(ids[path], files[path]) for path in ids if path in files],
        "relationships": relations or [_relation("SPDXRef-DOCUMENT", "DESCRIBES", _NO)],
    }
    if references:
        spdx["hasExtractedLicensingInfos"] = [
            {"licenseId": key, "extractedText": text, "name": text} for key, text in sorted(references.items())
        ]
    content = msgspec.json.encode([name, listed, spdx["files"]])
    spdx["documentNamespace"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(content).hexdigest())}"
    return spdx


def supplemented(document: Any, layer_of: Callable[[str], str], tool: str) -> Any:
    """Return a document with each file's layer digest added, as BuildKit adds it; what is no SPDX document of a known
    version stays as it is.
    """
    members = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if members.get("spdxVersion") not in _VERSIONS:
        return cast("Any", document)
    packages: list[Any] = [
        {**package, "files": _with_layers(package["files"], layer_of)}
        if isinstance(package, dict) and "files" in package
        else package
        for package in _list(members.get("packages"))
    ]
    spdx = {**members, "files": _with_layers(members.get("files"), layer_of)}
    if "files" not in members:
        del spdx["files"]
    if packages:
        spdx["packages"] = packages
    info = members.get("creationInfo")
    known = cast("dict[str, Any]", info) if isinstance(info, dict) else {}
    creators = [creator for creator in _list(known.get("creators")) if creator != f"Tool: {tool}"]
    return {**spdx, "creationInfo": {**known, "creators": [*creators, f"Tool: {tool}"]}}


_VERSIONS = ("SPDX-2.1", "SPDX-2.2", "SPDX-2.3")
"""Those that BuildKit reads."""


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _with_layers(files: Any, layer_of: Callable[[str], str]) -> list[Any]:
    marked: list[Any] = []
    for file in _list(files):
        if isinstance(file, dict):
            members = cast("dict[str, Any]", file)
            name = members.get("fileName")
            digest = layer_of(name) if isinstance(name, str) and not members.get("comment") else ""
            marked.append({**members, "comment": f"layerID: {digest}"} if digest else members)
        else:
            marked.append(file)
    return marked


def _package(own: str, package: Package, references: dict[str, str]) -> dict[str, Any]:
    return {
        "SPDXID": own,
        "name": package.name,
        "versionInfo": package.version,
        "supplier": _NO,
        "downloadLocation": _NO,
        "filesAnalyzed": False,
        "sourceInfo": f"told by /{package.proof}",
        "licenseConcluded": _NO,
        "licenseDeclared": expression(package.licence, references) if package.licence.strip() else _NO,
        "copyrightText": _NO,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl,
            }
        ],
    }


def _file(own: str, file: ProvingFile) -> dict[str, Any]:
    return {
        "SPDXID": own,
        "fileName": file.path,
        "checksums": [
            {"algorithm": "SHA1", "checksumValue": file.sha1},
            {"algorithm": "SHA256", "checksumValue": file.sha256},
        ],
        "licenseConcluded": _NO,
        "copyrightText": _NO,
    }


def _relation(element: str, kind: str, related: str, comment: str = "") -> dict[str, str]:
    relation = {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}
    return relation | ({"comment": comment} if comment else {})


def _id(text: str) -> str:
    return _NOT_ID.sub("-", text).strip("-")[:80]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
