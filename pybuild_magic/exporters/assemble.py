"""From layers and the front end's config to an image: history, config, manifest and index, as BuildKit makes them.

The rules are those of BuildKit's exporter/containerimage/writer.go.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from ..errors import UsageError
from ..oci import mediatype
from ..oci.blobs import is_attestation
from ..oci.config import History, ImageConfig, RootFS
from ..oci.descriptor import Descriptor, describe
from ..oci.manifest import Index, Manifest, decode_index, index_type
from ..oci.platform import Platform, normalise
from ..oci.timestamp import format_time, parse_time
from ..store import Compressed, rewrite_timestamps
from . import ExportContext, SolveResult, TargetResult
from .attached import attach
from .attributes import Annotation, Values
from .compression import MADE, Packing, existing, pack_layers, packing

_SECOND = 1_000_000_000
_REWRITTEN = "buildkit/rewritten-timestamp"
"""BuildKit's annotation of a layer whose times it rewrote, the only one of its own that stays in a manifest."""
_INTERNAL = ("containerd.io/uncompressed", "containerd.io/distribution.source.", "buildkit/", MADE)
"""Prefixes of a layer's annotations that are internal to a store, not for an image's readers."""


class AssembledImage(msgspec.Struct, frozen=True):
    """An image all of whose blobs are in the store."""

    root: Descriptor
    """The manifest, with its platform; or the index."""
    manifests: tuple[tuple[Platform, Manifest, Descriptor], ...]
    """The manifest of each platform, with its descriptor."""
    documents: dict[str, bytes]
    """Manifests, configs, statements of attestations and the index, by digest."""

    @property
    def blobs(self) -> dict[str, int]:
        """Return digest and size in bytes of every blob of the image."""
        sizes = {digest: len(data) for digest, data in self.documents.items()}
        for _, manifest, _ in self.manifests:
            sizes.update((layer.digest, layer.size) for layer in manifest.layers)
        return sizes

    @property
    def attestations(self) -> list[Descriptor]:
        """Return the index entries that attest others, as far as their documents exist."""
        if self.root.media_type not in mediatype.INDEXES:
            return []
        entries = decode_index(self.documents[self.root.digest]).manifests
        return [entry for entry in entries if is_attestation(entry) and entry.digest in self.documents]

    @property
    def response(self) -> dict[str, str]:
        """Return the digests for BuildKit's exporter response."""
        response = {"containerimage.digest": self.root.digest}
        if self.root.media_type not in mediatype.INDEXES:
            response["containerimage.config.digest"] = self.manifests[0][1].config.digest
        return response


def check(values: Values) -> None:
    """Raise UsageError for incompatible attributes of an image."""
    packing(values)
    scopes = {annotation.scope for annotation in values.annotations}
    if not values["oci-mediatypes"]:
        if scopes - {"manifest"}:
            raise UsageError('Annotations of an index or a descriptor cannot be exported with "oci-mediatypes=false".')
        if "oci-artifact" in values.explicit and values["oci-artifact"]:
            raise UsageError('"oci-artifact=true" conflicts with "oci-mediatypes=false".')


def assemble(result: SolveResult, values: Values, context: ExportContext, *, packed: bool = True) -> AssembledImage:
    """Compress the layers, write manifests and configs to the store, and report progress as BuildKit does.

    Large layers made on this machine stay tars, unless `packed` is set or attributes ask for a compression.

    The steps are `exporting layers`, `rewriting layers with source-date-epoch …` if needed, for each platform
    `exporting manifest sha256:…` and `exporting config sha256:…`, and for several `exporting manifest list sha256:…`.
    """
    if not result.multi_platform and len(result.targets) != 1:
        raise UsageError("Several platforms can only be exported as an index.")
    indexed = result.multi_platform or is_attested(result, values)
    if indexed and not values["oci-mediatypes"] and any(target.attestations for target in result.targets):
        raise UsageError('Attestations cannot be exported with "oci-mediatypes=false".')
    _check_annotations(result, values, indexed=indexed)
    epoch = values.epoch(result.epoch)
    documents: dict[str, bytes] = {}
    manifests: list[tuple[Platform, Manifest, Descriptor]] = []
    entries: list[Descriptor] = []
    oci: bool = values["oci-mediatypes"]
    for target, stack in zip(result.targets, _layers(result, values, context, epoch, stays=not packed), strict=True):
        config = _config(target, tuple(layer.diff_id for layer in stack), epoch).encode(target.inline_cache)
        platform = normalise(target.platform)
        manifest = Manifest(
            config=describe(config, mediatype.OCI_CONFIG if oci else mediatype.DOCKER_CONFIG),
            layers=tuple(_descriptor(layer, values) for layer in stack),
            media_type=mediatype.OCI_MANIFEST if oci else mediatype.DOCKER_MANIFEST,
            annotations=_annotations(values.annotations, "manifest", platform),
        )
        data = manifest.encode()
        descriptor = msgspec.structs.replace(
            describe(data, manifest.media_type),
            platform=platform,
            annotations=_annotations(values.annotations, "manifest-descriptor", platform),
        )
        _write(context, f"exporting manifest {descriptor.digest}", data, documents)
        _write(context, f"exporting config {manifest.config.digest}", config, documents)
        manifests.append((platform, manifest, descriptor))
        if indexed and target.attestations:
            blobs = {layer.diff_id: _descriptor(layer, values) for layer in stack}
            artifact: bool = values["oci-artifact"]
            entries.append(
                attach(
                    target.attestations, descriptor, values["name"], blobs.get, documents, context, artifact=artifact
                )
            )
    root = manifests[0][2]
    if indexed:
        index = Index(
            manifests=(*(descriptor for _, _, descriptor in manifests), *entries),
            media_type=index_type(oci=oci),
            annotations=_annotations(values.annotations, "index"),
        )
        data = index.encode()
        root = describe(data, index.media_type).annotated(_annotations(values.annotations, "index-descriptor"))
        _write(context, f"exporting manifest list {root.digest}", data, documents)
    return AssembledImage(root, tuple(manifests), documents)


def is_attested(result: SolveResult, values: Values) -> bool:
    """Return whether there are attestations that justify an index."""
    inline: bool = values["attestation-inline"]
    return any(
        inline or not attestation.inline_only for target in result.targets for attestation in target.attestations
    )


def _write(context: ExportContext, step: str, data: bytes, documents: dict[str, bytes]) -> None:
    with context.progress.step(step):
        documents[context.store.blobs.put(data)] = data


class _Layer(msgspec.Struct, frozen=True):
    """A layer of the image."""

    diff_id: str
    form: Compressed
    rewritten: int | None = None
    """The epoch, in seconds, to which its times were rewritten."""


def _layers(
    result: SolveResult, values: Values, context: ExportContext, epoch: int | None, *, stays: bool
) -> list[list[_Layer]]:
    """Return each platform's compressed layers; with `rewrite-timestamp` those above the base image are rewritten
    first.
    """
    how = packing(values, stays=stays)
    rewrite: bool = values["rewrite-timestamp"] and epoch is not None
    if values["rewrite-timestamp"] and not rewrite:
        context.progress.warn("rewrite-timestamp is set, but there is no SOURCE_DATE_EPOCH to rewrite to.")
    counts = [_from_base(target) if rewrite else len(target.snapshot) for target in result.targets]
    stacks = [target.snapshot[:count] for target, count in zip(result.targets, counts, strict=True)]
    forms = pack([diff_id for stack in stacks for diff_id in stack], how, "exporting layers", context)
    layers = [[_Layer(diff_id, forms[diff_id]) for diff_id in stack] for stack in stacks]
    if epoch is None or not rewrite:
        return layers
    time = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S")
    # A layer that BuildKit rewrites is new to it: pulled forms of it do not count.
    how = msgspec.structs.replace(how, force=True)
    for target, count, stack in zip(result.targets, counts, layers, strict=True):
        diff_ids = [_rewrite(context, diff_id, epoch) for diff_id in target.snapshot[count:]]
        step = f"rewriting layers with source-date-epoch {epoch} ({time} +0000 UTC)"
        forms = pack(diff_ids, how, step, context)
        stack += [_Layer(diff_id, forms[diff_id], epoch) for diff_id in diff_ids]
    return layers


def _rewrite(context: ExportContext, diff_id: str, epoch: int) -> str:
    context.cancel.check()
    layer = context.store.layer(diff_id)
    if all(entry.mtime <= epoch * _SECOND for entry in layer.index):
        return diff_id
    return rewrite_timestamps(context.store, layer, epoch, context.cancel).diff_id


def _from_base(target: TargetResult) -> int:
    """Return how many layers belong to the base image."""
    base = target.base.rootfs.diff_ids if target.base else ()
    same = 0
    while same < min(len(target.snapshot), len(base)) and target.snapshot[same] == base[same]:
        same += 1
    return same


def pack(diff_ids: Sequence[str], how: Packing, name: str, context: ExportContext) -> dict[str, Compressed]:
    """Return the form of each layer that `how` asks for, made if necessary, in a step of the given name."""
    remote = _left(diff_ids, how, context)
    unique = [diff_id for diff_id in dict.fromkeys(diff_ids) if diff_id not in remote]
    total = sum(context.store.layer(diff_id).size for diff_id in unique)
    done = 0
    with context.progress.step(name) as step:

        def packed(count: int) -> None:
            nonlocal done
            done += count
            step.update(done, total)

        forms = pack_layers(context.store, unique, how, context.cancel, packed)
        return remote | dict(zip(unique, forms, strict=True))


def _left(diff_ids: Sequence[str], how: Packing, context: ExportContext) -> dict[str, Compressed]:
    """Return the layers that stay in a registry, because their form there is the requested one; others are fetched."""
    remote = context.remote
    if remote is None:
        return {}
    forms = {diff_id: form for diff_id in diff_ids if (form := remote.form(diff_id)) is not None}
    right = {diff_id: form for diff_id, form in forms.items() if existing([form], how) is not None}
    remote.bring([diff_id for diff_id in forms if diff_id not in right])
    return right


def _descriptor(layer: _Layer, values: Values) -> Descriptor:
    oci: bool = values["oci-mediatypes"]
    form = layer.form
    kind = form.media_type if values["prefer-nondist-layers"] else mediatype.distributable(form.media_type)
    annotations: dict[str, str] = {}
    if oci and layer.rewritten is None:
        annotations = {key: text for key, text in form.annotations.items() if not key.startswith(_INTERNAL)}
    elif oci:
        annotations = {_REWRITTEN: str(layer.rewritten)}
    return Descriptor(
        mediatype.as_oci(kind) if oci else mediatype.as_docker(kind), form.digest, form.size, annotations=annotations
    )


def _annotations(annotations: Sequence[Annotation], scope: str, platform: Platform | None = None) -> dict[str, str]:
    """Return the annotations of a document: those for all platforms, then those for its own."""
    own = platform.full if platform else None
    selected = [
        annotation
        for annotation in annotations
        if annotation.scope == scope and (platform is None or annotation.platform in ("", own))
    ]
    return {
        annotation.key: annotation.value
        for annotation in sorted(selected, key=lambda annotation: bool(annotation.platform))
    }


def _check_annotations(result: SolveResult, values: Values, *, indexed: bool) -> None:
    platforms = {normalise(target.platform).full for target in result.targets}
    for annotation in values.annotations:
        if annotation.platform and annotation.platform not in platforms:
            raise UsageError(
                f'The annotation "{annotation.key}" is for {annotation.platform}, which is not built.',
                hint=f"The build is for {', '.join(sorted(platforms))}.",
            )
        if annotation.scope.startswith("index") and not indexed:
            raise UsageError(
                f'The annotation "{annotation.key}" is for an index, but a build for one platform makes none.'
            )


def _config(target: TargetResult, stack: tuple[str, ...], epoch: int | None) -> ImageConfig:
    history = _clamped(_history(target), target.base.history if target.base else (), epoch)
    created = target.config.created
    if created and epoch is not None and parse_time(created) > epoch * _SECOND:
        created = format_time(epoch * _SECOND)
    if not created:
        created = next((entry.created for entry in reversed(history) if entry.created), "")
    return msgspec.structs.replace(
        target.config, created=created, history=tuple(history), rootfs=RootFS(diff_ids=stack)
    )


def _history(target: TargetResult) -> list[History]:
    """Return history with exactly one layer entry for each layer, and a time for each entry
    (normalizeLayersAndHistory).
    """
    layers = len(target.snapshot)
    times = [format_time(moment) for moment in target.created] or [format_time(time.time_ns())]
    times += times[-1:] * (layers - len(times))
    history: list[History] = []
    used = 0
    for entry in target.config.history:
        # A config with more history than layers is wrong, but such base images exist.
        whole = entry if entry.empty_layer or used < layers else msgspec.structs.replace(entry, empty_layer=True)
        if not whole.empty_layer:
            whole = whole if whole.created else msgspec.structs.replace(whole, created=times[used])
            used += 1
        history.append(whole)
    history += [
        History(
            created=times[position],
            created_by=dict(enumerate(target.descriptions)).get(position) or "created by buildkit",
            comment="buildkit.exporter.image.v0",
        )
        for position in range(used, layers)
    ]
    return _filled(history)


def _filled(history: list[History]) -> list[History]:
    """Fill in missing times: before the first new layer with its time, after a layer with that layer's."""
    created, gap = "", False
    for entry in history:
        if entry.created:
            created = entry.created
            if gap:
                break
        else:
            gap = True
    filled: list[History] = []
    gap = False
    for entry in history:
        if entry.created:
            created = entry.created if gap else created
        else:
            gap = True
        filled.append(entry if entry.created else msgspec.structs.replace(entry, created=created))
    return filled


def _clamped(history: list[History], base: Sequence[History], epoch: int | None) -> list[History]:
    """Limit all times to `epoch`, except those of the base image's entries."""
    if epoch is None:
        return history
    common = 0
    while common < min(len(history), len(base)) and history[common] == base[common]:
        common += 1
    at = format_time(epoch * _SECOND)
    return history[:common] + [
        msgspec.structs.replace(entry, created=at)
        if not entry.created or parse_time(entry.created) > epoch * _SECOND
        else entry
        for entry in history[common:]
    ]
