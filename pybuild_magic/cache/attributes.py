"""The attributes of `--cache-from` and `--cache-to` on the embedded builder: one typed table for each type."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UnsupportedError, UsageError, nearest
from ..exporters.attributes import Attribute, Values, parse
from ..exporters.compression import packing
from ..oci import reference
from ..oci.digest import is_digest

_ELSEWHERE = ("gha", "s3", "azblob")
"""Types that only BuildKit supports."""
_INSECURE = Attribute("registry.insecure", "bool", False, "Use plain HTTP, or TLS without verification.")
_MODE = Attribute(
    "mode",
    "choice",
    "min",
    "Which layers are exported: those of the result or, with max, those of every step.",
    ("min", "max"),
)
_FORM: tuple[Attribute, ...] = (
    Attribute(
        "compression",
        "choice",
        "gzip",
        "How layers are compressed. Pulled layers keep their form, unless forced.",
        ("uncompressed", "gzip", "zstd"),
        elsewhere=("estargz",),
    ),
    Attribute("compression-level", "int", None, "0 to 9 for gzip, 0 to 22 for zstd.", minimum=-2, maximum=22),
    Attribute("force-compression", "bool", False, "Compress all layers again, including those of a base image."),
    Attribute("oci-mediatypes", "bool", True, "Use OCI's media types; false for Docker's."),
    Attribute(
        "image-manifest", "bool", None, "Write an image manifest, which every registry accepts; with false, an index."
    ),
    Attribute("ignore-error", "bool", False, "Turn a cache that cannot be written into a warning instead of an error."),
)
EXPORTS: dict[str, tuple[Attribute, ...]] = {
    "registry": (
        Attribute("ref", "string", "", "The reference under which the cache is pushed."),
        _MODE,
        *_FORM,
        _INSECURE,
    ),
    "local": (
        Attribute("dest", "path", "", "The directory to write to, an OCI image layout."),
        Attribute("tag", "string", "latest", "The cache's name in the layout."),
        _MODE,
        *_FORM,
    ),
    "inline": (_MODE,),
}
"""By type, the attributes of `--cache-to`."""
IMPORTS: dict[str, tuple[Attribute, ...]] = {
    "registry": (Attribute("ref", "string", "", "The reference of the cache, or of an image with one."), _INSECURE),
    "local": (
        Attribute("src", "path", "", "The directory to read from, an OCI image layout."),
        Attribute("tag", "string", "latest", "The cache's name in the layout."),
        Attribute("digest", "string", "", "The digest of the cache's manifest, instead of a name."),
    ),
}
"""By type, the attributes of `--cache-from`."""


def check_export(kind: str, attrs: Mapping[str, str]) -> Values:
    """Return the typed attributes of a `--cache-to`. Raises UsageError and UnsupportedError."""
    values = _parse(kind, attrs, EXPORTS, "--cache-to")
    if kind == "inline":
        return values
    packing(values)
    _required(values, kind, {"registry": "ref", "local": "dest"}[kind], "--cache-to")
    if values["image-manifest"] and not values["oci-mediatypes"]:
        raise UsageError('"image-manifest=true" of a cache conflicts with "oci-mediatypes=false".')
    return values


def check_import(kind: str, attrs: Mapping[str, str]) -> Values:
    """Return the typed attributes of a `--cache-from`. Raises UsageError and UnsupportedError."""
    values = _parse(kind, attrs, IMPORTS, "--cache-from")
    _required(values, kind, {"registry": "ref", "local": "src"}[kind], "--cache-from")
    if kind == "local" and values["digest"] and not is_digest(values["digest"]):
        raise UsageError(f'"{values["digest"]}" of --cache-from is not a digest.')
    return values


def _parse(kind: str, attrs: Mapping[str, str], tables: Mapping[str, tuple[Attribute, ...]], flag: str) -> Values:
    if kind in _ELSEWHERE:
        raise UnsupportedError(
            f"The embedded builder does not support caches of type={kind}: {flag} takes {', '.join(tables)}.",
            hint="Use --builder to build with a real BuildKit, which supports it.",
        )
    if kind not in tables:
        suggestion = nearest(kind, tuple(tables))
        raise UsageError(
            f'{flag} does not know type "{kind}".',
            hint=f'Did you mean "{suggestion}"?' if suggestion else f"Use one of {', '.join(tables)}.",
        )
    return parse(f"{kind} cache of {flag}", tables[kind], attrs)


def _required(values: Values, kind: str, name: str, flag: str) -> None:
    if not values[name]:
        raise UsageError(f"{flag} type={kind} needs {name}=…")
    if kind == "registry":
        reference.parse(values[name])
