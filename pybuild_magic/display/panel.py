"""The kernel's answers to the side panel and the file browser: images, builds, disk usage, and opened archives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..builders import choose, embedded_builder
from ..errors import BuildError, StoreError, UsageError
from ..images.describe import inspect_image
from ..oci import platform as platforms
from ..oci import reference
from ..oci.digest import is_digest
from ..portable import user_path
from ..results.contents import Contents
from ..results.difference import compare
from ..results.opening import (
    archived_image,
    bare_manifest,
    opened_image,
    opened_layers,
    stored_image,
    stored_name,
)
from ..results.summarise import with_analysis
from ..summary import OutputSummary, Summary
from .words import USAGES, short_digest

if TYPE_CHECKING:
    from .service import Service

Params = dict[str, Any]
_FILES = 5000
"""The most files of a comparison that are sent."""
_LONGEST = 8192
_LOG = 4 << 20
"""The most characters of a build's log that are sent."""
_LONGEST_CELL = 1 << 20


def images(_service: Service, _params: Params) -> Any:
    """Return the images of the store: `{images: [{name, digest, platforms, size, created}]}`."""
    store = embedded_builder().store
    images: list[dict[str, Any]] = []
    for record in store.images.list():
        image = inspect_image(store.blobs.read, record.descriptor.digest)
        images.append(
            {
                "name": reference.parse(record.name).familiar,
                "digest": record.descriptor.digest,
                "platforms": [manifest.platform for manifest in image.manifests],
                "size": image.total_size,
                "created": record.created,
            }
        )
    return {"images": images}


def history(_service: Service, _params: Params) -> Any:
    """Return the last builds, newest first: `{builds: [{ref, name, status, created, duration, error}]}`."""
    builds = [
        {
            "ref": record.ref,
            "name": record.name,
            "status": record.status,
            "created": record.created,
            "duration": record.duration,
            "error": record.error[:500],
        }
        for record in choose().history()
    ]
    return {"builds": builds}


def build_log(_service: Service, params: Params) -> Any:
    """Answer `{ref}` with a build of the history as `{name, text, cut}`: its log, without its first `cut`
    characters.
    """
    from .replay import replayed

    name, text = replayed(choose(), _name(params, "ref"))
    return {"name": name, "text": text[-_LOG:], "cut": max(0, len(text) - _LOG)}


def disk_usage(_service: Service, _params: Params) -> Any:
    """Answer with the disk usage: `{rows: [{id, type, kind, size, in_use, shared, last_used, description}], total,
    …}`.
    """
    usage = choose().disk_usage()
    rows = [
        {
            "id": row.id,
            "type": row.type,
            "kind": USAGES.get(row.type, row.type),
            "size": row.size,
            "in_use": row.in_use,
            "shared": row.shared,
            "last_used": row.last_used,
            "description": row.description[:300],
        }
        for row in usage.rows
    ]
    return {"rows": rows, "total": usage.total, "reclaimable": usage.reclaimable}


def prune(_service: Service, params: Params) -> Any:
    """Remove build cache for `{all?, until?, keep_storage?}` (seconds, bytes); answer `{reclaimed, records}`."""
    until, keep = _count(params, "until"), _count(params, "keep_storage")
    pruned = choose().prune(
        all=params.get("all") is True, until=until, keep_storage=None if keep is None else int(keep)
    )
    return {"reclaimed": pruned.reclaimed, "records": len(pruned.records)}


def remove(_service: Service, params: Params) -> Any:
    """Remove a name of an image for `{ref}`, and delete what nothing else needs; answer `{freed}`."""
    from ..store.collect import remove_images

    store = embedded_builder().store
    return {"freed": remove_images(store, [stored_name(store, _name(params, "ref"))])}


def available(_service: Service, params: Params) -> Any:
    """Answer `{ref}`, the name of what a card offers to run, with `{why}`: why it cannot be run, or "".

    It is the name of an image, or that of a failed step's state.
    """
    name = _name(params, "ref")
    try:
        if name.startswith("@"):
            embedded_builder().failed.find(name.removeprefix("@"))
        else:
            stored_name(embedded_builder().store, name)
    except BuildError as error:
        if name.startswith("@"):
            return {"why": f"{error.message} To look into it, run the cell again."}
        return {"why": f"{name} is not in the store any more. To use it, run the cell again."}
    return {"why": ""}


def open_image(service: Service, params: Params) -> Any:
    """Answer `{ref}` with an image of the store as a Summary."""
    return _stored_document(service, stored_image(embedded_builder().store, _name(params, "ref")))


def open_layer(service: Service, params: Params) -> Any:
    """Answer `{ref}`, the diffID of a layer of the store, with the layer as a Summary."""
    store, digest = embedded_builder().store, _name(params, "ref")
    if not is_digest(digest) or not store.has_layer(digest):
        raise StoreError(
            f"The layer {short_digest(digest)[:12]} is not in the store any more.",
            hint="%build du lists those that are.",
        )
    manifest = bare_manifest((digest,), platforms.host().full)
    made = (record.description for _, record in store.cache.items() if record.diff_ids[-1:] == (digest,))
    layers = tuple(msgspec.structs.replace(layer, created_by=next(made, "")) for layer in manifest.layers)
    manifest = msgspec.structs.replace(manifest, layers=layers)
    contents = opened_layers(store, (manifest,), f"Layer {short_digest(digest)}")
    return service.document(Summary(ref="", builder="", image=contents.image, view="files"), contents)


def open_archive(service: Service, params: Params) -> Any:
    """Answer `{path}` with an OCI or Docker archive, or an image layout, as a Summary."""
    path = user_path(_name(params, "path"))
    return _archive_document(service, path, archived_image(embedded_builder().store, path))


def reopen(service: Service, params: Params) -> Any:
    """Answer `{digest, manifests: [{platform, digest, diff_ids}]}`, a result of another kernel, with `{token}`.

    With the token, a page may ask for the files of the image, if the store has its layers; otherwise the token is "".
    """
    try:
        request = msgspec.convert(params, _Reopened)
    except msgspec.ValidationError as error:
        raise UsageError(f"The request is malformed: {error}.") from None
    store = embedded_builder().store
    diff_ids = {diff_id for manifest in request.manifests for diff_id in manifest.diff_ids}
    if not diff_ids or not all(is_digest(digest) and store.has_layer(digest) for digest in diff_ids):
        return {"token": ""}
    try:
        contents = opened_image(store, request.digest)
    except BuildError:
        manifests = ((manifest.diff_ids, manifest.platform, manifest.digest) for manifest in request.manifests)
        contents = opened_layers(store, tuple(bare_manifest(*manifest) for manifest in manifests))
    return {"token": service.offer(contents)}


class _ReopenedManifest(msgspec.Struct, frozen=True):
    platform: str
    digest: str
    diff_ids: list[str]


class _Reopened(msgspec.Struct, frozen=True):
    digest: str
    manifests: list[_ReopenedManifest]


def compare_images(service: Service, params: Params) -> Any:
    """Compare two images, `{a, b}`, each given by the token of a result or its name in the store."""
    old, new = (_contents(service, _name(params, name)) for name in ("a", "b"))
    difference = compare(old, new)
    files = [
        [
            change.kind,
            change.file.path,
            change.file.size,
            change.before.size if change.before else None,
            change.file.type,
        ]
        for change in difference.files[:_FILES]
    ]
    answer = cast("dict[str, Any]", msgspec.to_builtins(difference))
    return {**answer, "files": files, "total": len(difference.files)}


def diagnostics(_service: Service, params: Params) -> Any:
    """Answer `{cell}` with the faults of its text: `{diagnostics: [{line, column, end, severity, message, …}]}`."""
    from ..editor.diagnostics import diagnostics as find

    cell = _name(params, "cell", _LONGEST_CELL)
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return {
        "diagnostics": [msgspec.to_builtins(diagnostic) for diagnostic in find(cell, shell.user_ns if shell else {})]
    }


def ignore(_: Service, params: Params) -> Any:
    """Write the `.dockerignore` of a context for `{context, patterns?}`, as `%build ignore` does; answer with what it
    excludes.
    """
    from ..session.clutter import leave_out

    items = params.get("patterns")
    patterns = (
        [pattern for pattern in cast("list[Any]", items) if isinstance(pattern, str)] if isinstance(items, list) else []
    )
    return msgspec.to_builtins(leave_out(user_path(_name(params, "context")), patterns))


METHODS: Mapping[str, Callable[[Service, Params], Any]] = {
    "images": images,
    "history": history,
    "build_log": build_log,
    "du": disk_usage,
    "prune": prune,
    "remove": remove,
    "available": available,
    "open": open_image,
    "open_layer": open_layer,
    "open_archive": open_archive,
    "reopen": reopen,
    "compare": compare_images,
    "diagnostics": diagnostics,
    "ignore": ignore,
}


GUARDED = frozenset({"prune", "remove", "open_archive", "ignore"})
"""Methods that need the kernel's key: they remove or write something, or open something that no build made."""


def _stored_document(service: Service, contents: Contents) -> dict[str, Any]:
    names = contents.image.names if contents.image else ()
    outputs = (OutputSummary(type="image", names=names),)
    summary = Summary(ref="", builder="embedded", image=contents.image, outputs=outputs)
    summary = with_analysis(summary, lambda manifest: contents.analysis(manifest, quick=True))
    return service.document(summary, contents)


def _archive_document(service: Service, path: Path, contents: Contents) -> dict[str, Any]:
    names = contents.image.names if contents.image else ()
    outputs = (
        (OutputSummary(type="oci", dest=str(path), size=path.stat().st_size, names=names),) if path.is_file() else ()
    )
    return service.document(Summary(ref="", builder="", image=contents.image, outputs=outputs), contents)


def _contents(service: Service, name: str) -> Contents:
    return service.contents(name) or stored_image(embedded_builder().store, name)


def _name(params: Params, name: str, limit: int = _LONGEST) -> str:
    value = params.get(name)
    if not isinstance(value, str) or "\0" in value or len(value) > limit:
        raise UsageError(f"The request needs {name} as a text of at most {limit:,} characters.")
    return value


def _count(params: Params, name: str) -> float | None:
    """Return a non-negative number if given, else None."""
    value = params.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1 << 60:
        raise UsageError(f"The request needs {name} as a number from 0.")
    return float(value)
