"""Writing of caches: the layers of the records, their config and manifest, to a directory or a registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..errors import unwritable
from ..exporters import ExportContext
from ..exporters.assemble import pack
from ..exporters.attributes import Values
from ..exporters.compression import packing
from ..exporters.output import OutputWriter
from ..exporters.push import open_blob, push_blobs, registry_for
from ..golang.json import dumps
from ..oci import mediatype, reference
from ..oci.descriptor import Descriptor, describe
from ..oci.layout import LayoutWriter, name_entries
from ..oci.manifest import Index, Manifest, index_type
from ..oci.timestamp import format_time
from ..portable import user_path
from ..store import Compressed
from .imported import CREATED_AT, UNCOMPRESSED
from .records import MEDIA_TYPE, Record

RESPONSE = "cache.manifest"
"""The member of an exporter's response with the descriptor of the cache's manifest."""


class _Cache(msgspec.Struct, frozen=True):
    """A cache that is about to be written."""

    root: Descriptor
    """Its manifest, or index."""
    manifest: bytes
    config: Descriptor
    config_data: bytes
    layers: tuple[Descriptor, ...]
    """The layers, each once."""


def write_cache(
    kind: str, values: Values, records: Sequence[Record], created: dict[str, int], context: ExportContext
) -> dict[str, str]:
    """Write a cache of `type=kind`; return the members of the response. Raises ExportError, SourceError and
    Interrupted.

    `created` has the creation times of layers by diffID, in nanoseconds since 1970.
    """
    with context.progress.step("preparing build cache for export"):
        diff_ids = list(
            dict.fromkeys(layer for record in records for result in record.results for layer in result.layers)
        )
        if not diff_ids:
            context.progress.log(b"skipping cache export for empty result\n")
            return {}
        forms = pack(diff_ids, packing(values), "packing layers", context)
        cache = _assemble(records, forms, created, values)
    if kind == "local":
        _write_layout(cache, values, context)
    else:
        _push(cache, values, context)
    return {RESPONSE: cache.root.encode().decode()}


def _assemble(
    records: Sequence[Record], forms: dict[str, Compressed], created: dict[str, int], values: Values
) -> _Cache:
    oci: bool = values["oci-mediatypes"]
    numbered = _Layers(forms)
    config_data = _config(records, numbered)
    descriptors = {
        form.digest: _describe(diff_id, form, created.get(diff_id, 0), oci=oci) for diff_id, form in forms.items()
    }
    layers = tuple(descriptors[blob] for blob, _ in numbered.sorted)
    config = describe(config_data, MEDIA_TYPE)
    single = oci if values["image-manifest"] is None else values["image-manifest"]
    document: Manifest | Index = (
        Manifest(config, layers) if single else Index((*layers, config), media_type=index_type(oci=oci))
    )
    manifest = document.encode(indent=False) if isinstance(document, Index) else document.encode()
    unique = tuple({layer.digest: layer for layer in layers}.values())
    return _Cache(describe(manifest, document.media_type), manifest, config, config_data, unique)


def _describe(diff_id: str, form: Compressed, created: int, *, oci: bool) -> Descriptor:
    kind = mediatype.distributable(form.media_type)
    annotations = {CREATED_AT: format_time(created)} if created else {}
    return Descriptor(
        mediatype.as_oci(kind) if oci else mediatype.as_docker(kind),
        form.digest,
        form.size,
        annotations={**annotations, UNCOMPRESSED: diff_id},
    )


class _Layers:
    """The layers of a config: each blob once for each stack that it tops."""

    def __init__(self, forms: dict[str, Compressed]) -> None:
        self._forms = forms
        self._stacks: set[tuple[str, ...]] = set()
        self.sorted: list[tuple[str, tuple[str, ...]]] = []
        """Pairs of a blob and the stack that it tops."""
        self.numbers: dict[tuple[str, ...], int] = {}

    def add(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """Add these layers; return their stack of blobs."""
        stack = tuple(self._forms[diff_id].digest for diff_id in diff_ids)
        self._stacks.update(stack[:height] for height in range(1, len(stack) + 1))
        return stack

    def number(self) -> None:
        """Assign the positions in the list."""
        self.sorted = sorted((stack[-1], stack) for stack in self._stacks)
        self.numbers = {stack: place for place, (_, stack) in enumerate(self.sorted)}

    def document(self) -> list[dict[str, Any]]:
        """Return the layers in the config's form."""
        return [
            {"blob": blob} | _nonzero("parent", self.numbers[stack[:-1]] if stack[:-1] else -1)
            for blob, stack in self.sorted
        ]


def _config(records: Sequence[Record], layers: _Layers) -> bytes:
    stacks = [[(layers.add(result.layers), result.created) for result in record.results] for record in records]
    layers.number()
    results = [
        [{"layer": layers.numbers[stack], "createdAt": format_time(created)} for stack, created in results]
        for results in stacks
    ]
    return dumps({"layers": layers.document(), "records": record_documents(records, results)})


def record_documents(
    records: Sequence[Record],
    results: Sequence[list[dict[str, Any]]],
    chains: Sequence[list[dict[str, Any]]] = (),
) -> list[dict[str, Any]]:
    """Return records in the config's form, sorted so that equal records give equal documents."""
    order = sorted(range(len(records)), key=lambda number: (records[number].digest, records[number].inputs))
    places = {number: place for place, number in enumerate(order)}
    documents: list[dict[str, Any]] = []
    for number in order:
        record = records[number]
        document: dict[str, Any] = {"layers": results[number]} if results[number] else {}
        if chains and chains[number]:
            document["chains"] = chains[number]
        document["digest"] = record.digest
        if record.inputs:
            document["inputs"] = [
                [
                    ({"selector": link.selector} if link.selector else {}) | {"link": place}
                    for place, link in sorted((places[link.source], link) for link in ways)
                ]
                for ways in record.inputs
            ]
        documents.append(document)
    return documents


def _nonzero(name: str, value: int) -> dict[str, int]:
    return {name: value} if value else {}


def _write_layout(cache: _Cache, values: Values, context: ExportContext) -> None:
    path = user_path(values["dest"])
    try:
        writer = LayoutWriter(path)
        for layer in cache.layers:
            with context.progress.step(f"writing layer {layer.digest}"), writer.blob(layer.digest) as file:
                if file is not None:
                    with open_blob(context, layer) as source:
                        output = OutputWriter(file, context.cancel)
                        output.copy_blob(source, layer.size)
                        output.close()
        for step, descriptor, data in _documents(cache):
            with context.progress.step(step), writer.blob(descriptor.digest) as file:
                if file is not None:
                    file.write(data)
        name_entries(path, cache.root, [("", values["tag"])])
    except OSError as error:
        raise unwritable(error.filename or path, error) from error


def _documents(cache: _Cache) -> list[tuple[str, Descriptor, bytes]]:
    manifest = "cache image manifest" if cache.root.media_type in mediatype.MANIFESTS else "cache manifest"
    return [
        (f"writing config {cache.config.digest}", cache.config, cache.config_data),
        (f"writing {manifest} {cache.root.digest}", cache.root, cache.manifest),
    ]


def _push(cache: _Cache, values: Values, context: ExportContext) -> None:
    ref = reference.parse(values["ref"]).tagged()
    (config_step, _, _), (manifest_step, _, _) = _documents(cache)
    with registry_for(context.session.auth, ref, insecure=values["registry.insecure"]) as registry:
        with context.progress.step("writing layers") as step:
            push_blobs(registry, ref, cache.layers, context, step)
        context.store.blobs.put(cache.config_data)
        with context.progress.step(config_step) as step:
            push_blobs(registry, ref, [cache.config], context, step)
        with context.progress.step(manifest_step):
            registry.push_manifest(ref, cache.root, cache.manifest, context.cancel)
