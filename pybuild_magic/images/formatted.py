"""An image as `docker buildx imagetools inspect --format` sees it: its name, manifest, config and attestations.

Source: buildx's util/imagetools (printers.go, loader.go). Documents are read when the template asks for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

from ..attest.statement import PREDICATE_ANNOTATION, SPDX
from ..cancel import Cancel
from ..golang.json import as_map, check_nesting
from ..oci.blobs import is_attestation, read, read_manifest
from ..oci.descriptor import REFERENCE_DIGEST, Descriptor
from ..oci.manifest import decode_index, media_type_of
from ..oci.mediatype import IN_TOTO, INDEXES
from ..oci.platform import Platform, normalise
from ..store import Store
from .places import Place, read_document

_SLSA = "https://slsa.dev/provenance/"
_IMAGE = (
    "created",
    "author",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "config",
    "rootfs",
    "history",
)
_CONFIG = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped",
)  # fmt: skip
_HISTORY = ("created", "created_by", "author", "comment", "empty_layer")

_NO_TEXTS: dict[str, Any] = dict.fromkeys(
    ("variant", "osversion", "artifacttype", "author", "user", "workingdir", "stopsignal", "comment", "createdby"), ""
)
_NO_LISTS: dict[str, Any] = dict.fromkeys(("osfeatures", "urls", "env", "entrypoint", "cmd", "history"), ())
_NO_MAPS: dict[str, Any] = dict.fromkeys(("annotations", "exposedports", "volumes", "labels"), as_map({}))
LEFT_OUT: dict[str, Any] = {**_NO_TEXTS, **_NO_LISTS, **_NO_MAPS, "platform": None, "emptylayer": False}
"""The values of the members that documents leave out, by their Go names in lower case."""


def template_data(store: Store, place: Place, root: Descriptor, name: str, cancel: Cancel) -> dict[str, Any]:
    """Return what a template can name: Name, Manifest, Image, Provenance and SBOM.

    The last two are functions. For an image of several platforms, the last three are mappings by platform. The caller
    must hold a lease of the store.
    """
    return _Image(store, place, root, cancel).data(name)


class _Image:
    def __init__(self, store: Store, place: Place, root: Descriptor, cancel: Cancel) -> None:
        self._store, self._place, self._root, self._cancel = store, place, root, cancel
        raw = read(place.manifests, root)
        self._document: dict[str, Any] = json.loads(raw)
        self._is_index = media_type_of(raw) in INDEXES
        self._entries = decode_index(raw).manifests if self._is_index else (root,)

    def data(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "manifest": self._manifest(),
            "image": self._each(self._config),
            "Provenance": partial(self._each, self._provenance),
            "SBOM": partial(self._each, self._sbom),
        }

    def _manifest(self) -> dict[str, Any]:
        if not self._is_index:
            return self._root.document()
        members: dict[str, Any] = {"schemaVersion": 2}
        if media_type := self._document.get("mediaType"):
            members["mediaType"] = media_type
        members |= {"digest": self._root.digest, "size": self._root.size}
        members["manifests"] = [entry.document() for entry in self._entries] or None
        if annotations := self._document.get("annotations"):
            members["annotations"] = as_map(annotations)
        return members

    def _each(self, of: Callable[[Descriptor], dict[str, Any]]) -> dict[str, Any]:
        """Return what `of` finds for the only platform, or by platform."""
        images = {str(normalise(self._platform(entry))): entry for entry in self._entries if not is_attestation(entry)}
        found = {platform: of(entry) for platform, entry in sorted(images.items())}
        if len(found) == 1:
            return next(iter(found.values()))
        return {platform: value for platform, value in found.items() if value}

    def _platform(self, entry: Descriptor) -> Platform:
        if entry.platform:
            return entry.platform
        config = self._config(entry)
        return Platform(config.get("architecture", ""), config.get("os", ""), variant=config.get("variant", ""))

    def _config(self, entry: Descriptor) -> dict[str, Any]:
        """Return the config with the members of OCI's Go type, in its order."""
        manifest = read_manifest(self._place.manifests, entry)
        raw = read_document(self._store, self._place, manifest.config, self._cancel)
        check_nesting(raw, "The config")
        document: dict[str, Any] = json.loads(raw)
        image = {key: document[key] for key in _IMAGE if document.get(key)}
        image["config"] = _members(document.get("config") or {}, _CONFIG)
        rootfs: dict[str, Any] = document.get("rootfs") or {}
        image["rootfs"] = {"type": rootfs.get("type", ""), "diff_ids": rootfs.get("diff_ids")}
        if history := document.get("history"):
            image["history"] = [_members(step, _HISTORY) for step in history]
        return {key: image[key] for key in _IMAGE if key in image}

    def _provenance(self, entry: Descriptor) -> dict[str, Any]:
        found = [predicate for kind, predicate in self._predicates(entry) if kind.startswith(_SLSA)]
        return {"SLSA": found[-1]} if found else {}

    def _sbom(self, entry: Descriptor) -> dict[str, Any]:
        found = [predicate for kind, predicate in self._predicates(entry) if kind == SPDX]
        return ({"SPDX": found[0]} | ({"AdditionalSPDXs": found[1:]} if found[1:] else {})) if found else {}

    def _predicates(self, entry: Descriptor) -> Iterator[tuple[str, Any]]:
        """Yield the type and the predicate of each statement about an entry."""
        for attested in self._entries:
            if attested.annotations.get(REFERENCE_DIGEST) != entry.digest:
                continue
            for layer in read_manifest(self._place.manifests, attested).layers:
                kind = layer.annotations.get(PREDICATE_ANNOTATION, "")
                if layer.media_type == IN_TOTO and (kind == SPDX or kind.startswith(_SLSA)):
                    raw = read_document(self._store, self._place, layer, self._cancel)
                    check_nesting(raw, "The attestation")
                    yield kind, _sorted(json.loads(raw).get("predicate"))


def _members(document: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _sorted(document[name]) for name in names if document.get(name)}


def _sorted(value: Any) -> Any:
    """Return a value in the order in which Go writes maps."""
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in sorted(cast("dict[str, Any]", value).items())}
    if isinstance(value, list):
        return [_sorted(item) for item in cast("list[Any]", value)]
    return value
