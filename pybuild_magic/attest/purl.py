"""Package URLs (`pkg:deb/debian/bash@5.2?arch=amd64`), the names by which packages of all kinds are known."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from ..oci import reference
from ..oci.platform import Platform, normalise


def purl(
    kind: str, name: str, version: str = "", *, namespace: str = "", qualifiers: Mapping[str, str] | None = None
) -> str:
    """Return the URL of a package; `namespace` may have several parts. Empty parts are left out."""
    path = "/".join(quote(part, safe="") for part in (*namespace.split("/"), name) if part)
    known = sorted((key, value) for key, value in (qualifiers or {}).items() if value)
    query = "&".join(f"{key}={quote(value, safe=':')}" for key, value in known)
    revision = f"@{quote(version, safe=':')}" if version else ""
    return f"pkg:{kind}/{path}{revision}" + (f"?{query}" if query else "")


def image_purl(ref: str, platform: Platform | None, *, kind: str = "docker") -> str:
    """Return the URL of an image, as BuildKit's `util/purl` writes it. Raises UsageError for an invalid reference."""
    named = reference.parse(ref).tagged()
    namespace, _, name = (reference.Reference(named.domain, named.path).familiar).rpartition("/")
    where = str(normalise(platform)) if platform else ""
    return purl(kind, name, named.tag, namespace=namespace, qualifiers={"digest": named.digest, "platform": where})
