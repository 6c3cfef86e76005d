"""Translation of a request for a certain kind of daemon: its names of exporters, and the services of the session.

Source: buildx's and BuildKit's clients. Docker's engine calls its own image store `moby`; an image layout, a local
cache and the blobs of an exported layout are content stores of the session; an archive used as context is an upload.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from ...errors import SourceError, UnsupportedError, UsageError
from ...golang.parsebool import parse_bool
from ...images.archive import open_images
from ...oci.blobs import Blobs
from ...oci.descriptor import Descriptor
from ...oci.layout import Layout, find, name_entries
from ...portable import kind_of, user_path
from ...request.parts import DEFAULT_PROVENANCE
from ...request.solve_request import ExporterEntry, SolveRequest
from ...request.values import CacheEntry
from ...session import DirSink, DirSource, MemorySource, Session, Sink, TarSource
from ..proto import control_pb2 as pb
from .session.content import WritableLayout

_LAYOUT_SCHEME = "oci-layout://"
_EXPORT_STORE = "export"
_SESSION_URL = "http://buildkit-session/"


class Daemon(msgspec.Struct, frozen=True):
    """The properties of a daemon that affect a request."""

    name: str
    driver: str
    version: str
    containerd_store: bool = True
    """For a Docker engine, whether it keeps images in containerd's store, without which few exporters work."""

    @property
    def is_engine(self) -> bool:
        """Whether it is the BuildKit inside a Docker engine."""
        return self.driver == "docker"


@dataclass
class SolvePlan:
    """A request for the daemon, and the services that the daemon calls meanwhile."""

    request: pb.SolveRequest
    sinks: dict[str, Sink]
    shared_key: str = ""
    stores: dict[str, Blobs] = field(default_factory=dict[str, Blobs])
    uploads: dict[str, Callable[[], BinaryIO]] = field(default_factory=dict[str, Callable[[], BinaryIO]])
    modes: dict[str, str] = field(default_factory=dict[str, str])
    load: str = ""
    """The exporter whose result is loaded into an engine or the embedded store, if any."""
    layouts: list[WritableLayout] = field(default_factory=list[WritableLayout])
    caches: list[tuple[WritableLayout, str]] = field(default_factory=list[tuple[WritableLayout, str]])
    """The caches that are written, each with the tag for the result."""
    ends: ExitStack = field(default_factory=ExitStack)
    """Closes everything that was opened for the plan."""

    def finish(self, response: Mapping[str, str]) -> None:
        """Write the indexes of layouts and caches, after their blobs have arrived. Raises BuildError."""
        if manifest := response.get("cache.manifest"):
            for store, tag in self.caches:
                name_entries(store.path, msgspec.json.decode(manifest, type=Descriptor), [("", tag)])
        if encoded := response.get("containerimage.descriptor"):
            names = [name for name in response.get("image.name", "").split(",") if name]
            tags = [(name, name.rpartition(":")[2]) for name in names] or [("", "latest")]
            for store in self.layouts:
                name_entries(store.path, msgspec.json.decode(base64.b64decode(encoded), type=Descriptor), tags)

    def close(self) -> None:
        """Remove unfinished files."""
        for store in self.stores.values():
            if isinstance(store, WritableLayout):
                store.close()
        self.ends.close()


def make(request: SolveRequest, session: Session, daemon: Daemon, load_type: Callable[[], str]) -> SolvePlan:
    """Return the plan for a request. `load_type` names the archive for a load: `oci` or `docker`.

    Raises UsageError and UnsupportedError for requests that the daemon cannot fulfil, SourceError for invalid layouts.
    """
    plan = SolvePlan(
        pb.SolveRequest(Ref=request.ref, Session=session.id, Frontend=request.frontend), dict(session.sinks)
    )
    try:
        _fill(plan, request, session, daemon, load_type)
    except BaseException:
        plan.close()
        raise
    return plan


def _fill(
    plan: SolvePlan, request: SolveRequest, session: Session, daemon: Daemon, load_type: Callable[[], str]
) -> None:
    plan.shared_key = _shared_key(session)
    attrs = dict(request.frontend_attrs)
    _attestations(attrs, daemon)
    _contexts(attrs, session, plan)
    platforms = [name for name in attrs.get("platform", "").split(",") if name]
    for entry in request.exporters:
        plan.request.Exporters.append(_exporter(entry, daemon, plan, load_type, platforms))
    if plan.request.Exporters:
        plan.request.ExporterDeprecated = plan.request.Exporters[0].Type
        plan.request.ExporterAttrsDeprecated.update(plan.request.Exporters[0].Attrs)
    _caches(request, attrs, daemon, plan)
    plan.request.FrontendAttrs.update(attrs)
    plan.request.Entitlements.extend(request.entitlements)
    if request.source_policy:
        from google.protobuf.json_format import ParseDict

        ParseDict(msgspec.to_builtins(request.source_policy), plan.request.SourcePolicy)


def _attestations(attrs: dict[str, str], daemon: Daemon) -> None:
    able = daemon.version and (daemon.containerd_store or not daemon.is_engine)
    disabled = parse_bool(os.environ.get("BUILDX_NO_DEFAULT_ATTESTATIONS", ""))
    if (disabled or not able) and attrs.get("attest:provenance") == DEFAULT_PROVENANCE:
        del attrs["attest:provenance"]
    if not able and any(key.startswith("attest:") for key in attrs):
        reason = "uses Docker's older image store" if daemon.version else "is older than BuildKit 0.11"
        raise UnsupportedError(f"The builder {daemon.name} {reason} and does not support attestations.")


def _exporter(
    entry: ExporterEntry, daemon: Daemon, plan: SolvePlan, load_type: Callable[[], str], platforms: list[str]
) -> pb.Exporter:
    kind, attrs = entry.type, dict(entry.attrs)
    sink = plan.sinks.get(entry.id)
    if kind == "docker" and sink is None:
        if daemon.is_engine:
            kind = "image"
        else:
            kind, plan.load = load_type(), entry.id
            if kind == "oci":
                attrs["prefer-image-digest"] = "true"
    if kind == "docker" and len(platforms) > 1:
        raise UsageError(
            "The docker exporter cannot export several platforms.", hint="Use type=oci, or a single --platform."
        )
    if kind == "image" and daemon.is_engine:
        kind = "moby"
        if daemon.containerd_store:
            attrs["prefer-image-digest"] = "true"
    if kind in ("oci", "docker") and daemon.is_engine and not daemon.containerd_store:
        raise UnsupportedError(
            f"The builder {daemon.name} uses Docker's older image store, which has no {kind} exporter.",
            hint="Enable the containerd image store in the engine, or use another builder.",
        )
    if isinstance(sink, DirSink) and kind in ("oci", "docker"):
        if _EXPORT_STORE in plan.stores:
            raise UnsupportedError("BuildKit writes one image layout per build; give the other one dest=FILE.")
        layout = plan.stores[_EXPORT_STORE] = WritableLayout(sink.path.absolute())
        plan.layouts.append(layout)
    if kind == "local" and attrs.get("mode", "copy") != "copy":
        _check_delete(attrs["mode"], sink)
        plan.modes[entry.id] = attrs.pop("mode")
    return pb.Exporter(Type=kind, Attrs=attrs, ID=entry.id)


def _check_delete(mode: str, sink: Sink | None) -> None:
    if mode != "delete":
        raise UsageError(f"mode={mode} is unknown; use copy or delete.")
    if isinstance(sink, DirSink) and Path.cwd().resolve().is_relative_to(sink.path.resolve()):
        raise UsageError(f"mode=delete would empty {sink.path}, which contains the working directory.")


def _contexts(attrs: dict[str, str], session: Session, plan: SolvePlan) -> None:
    context = session.local_dirs.get("context")
    if isinstance(context, TarSource) and context.path is not None and "context" not in attrs:
        path, name = context.path, secrets.token_hex(12)
        plan.uploads[name] = lambda: path.open("rb")
        attrs["context"] = _SESSION_URL + name
    for key, value in list(attrs.items()):
        if key.startswith("context:") and value.startswith(_LAYOUT_SCHEME):
            name = secrets.token_hex(12)
            blobs, digest = _layout(value.removeprefix(_LAYOUT_SCHEME), plan)
            plan.stores[f"oci:{name}"] = blobs
            attrs[key] = f"{_LAYOUT_SCHEME}{name}@{digest}"


def _layout(spec: str, plan: SolvePlan) -> tuple[Blobs, str]:
    """Return the blobs of `PATH[:TAG][@DIGEST]` (a layout or an archive) or of an image in the embedded store, and the
    digest meant.
    """
    from ...images.layout import split_layout

    path, tag, digest = split_layout(spec)
    if not kind_of(user_path(path)) and (stored := _stored(spec, plan)):
        return stored
    images = plan.ends.enter_context(closing(open_images(user_path(path))))
    return images, digest or find(images.index(), tag).digest


def _stored(name: str, plan: SolvePlan) -> tuple[Blobs, str] | None:
    from ...oci import reference
    from ...store import Store

    try:
        whole = str(reference.parse(name).tagged())
        store = plan.ends.enter_context(Store())
        record = store.images.get(whole)
        return (store.blobs, record.descriptor.digest) if record else None
    except UsageError:
        return None


def _caches(request: SolveRequest, attrs: dict[str, str], daemon: Daemon, plan: SolvePlan) -> None:
    exports = list(request.cache.exports)
    if parse_bool(attrs.get("build-arg:BUILDKIT_INLINE_CACHE", "")):
        exports.append(CacheEntry("inline"))
    for entry in exports:
        if daemon.is_engine and not daemon.containerd_store and entry.type != "inline":
            raise UnsupportedError(
                f"The builder {daemon.name} uses Docker's older image store, which cannot export a cache of "
                f"type={entry.type}.",
                hint="Enable the containerd image store in the engine, or use another builder.",
            )
        if entry.type == "local":
            directory = _required(entry, "dest", "--cache-to")
            store = plan.stores.get(f"local:{directory}")
            layout = store if isinstance(store, WritableLayout) else WritableLayout(user_path(directory))
            plan.stores[f"local:{directory}"] = layout
            plan.caches.append((layout, entry.attrs.get("tag", "latest")))
        plan.request.Cache.Exports.append(pb.CacheOptionsEntry(Type=entry.type, Attrs=entry.attrs))
    imports: list[dict[str, object]] = []
    for entry in request.cache.imports:
        attributes = _local_import(entry, plan) if entry.type == "local" else dict(entry.attrs)
        if attributes is None:
            continue
        plan.request.Cache.Imports.append(pb.CacheOptionsEntry(Type=entry.type, Attrs=attributes))
        imports.append({"Type": entry.type, "Attrs": attributes})
    if imports:
        attrs["cache-imports"] = msgspec.json.encode(imports).decode()


def _local_import(entry: CacheEntry, plan: SolvePlan) -> dict[str, str] | None:
    """Return the attributes with the digest of the cache; None for a cache that does not exist yet, which is not an
    error.
    """
    directory = _required(entry, "src", "--cache-from")
    path = user_path(directory)
    attrs = dict(entry.attrs)
    try:
        layout = Layout(path)
        if not attrs.get("digest"):
            attrs["digest"] = find(layout.index(), attrs.get("tag", "latest")).digest
    except SourceError:
        return None
    plan.stores.setdefault(f"local:{directory}", layout)
    return attrs


def _required(entry: CacheEntry, name: str, flag: str) -> str:
    if not entry.attrs.get(name):
        raise UsageError(f"{flag} type=local needs {name}=DIRECTORY.")
    return entry.attrs[name]


def _shared_key(session: Session) -> str:
    """Return a name for a session's directories that stays the same from build to build, so that only changed files are
    sent.

    Files count as unchanged by size and time. The files of a dict have no times, so its name contains their content.
    """
    parts = hashlib.sha256()
    for name, directory in sorted(session.local_dirs.items()):
        if name == "dockerfile":
            continue
        if isinstance(directory, DirSource):
            parts.update(f"{name}\0{directory.key}\0".encode("utf-8", "surrogateescape"))
        elif isinstance(directory, MemorySource):
            parts.update(f"{name}\0{directory.digest}\0".encode())
        else:
            return session.id
    parts.update(_node().encode())
    return parts.hexdigest()


def _node() -> str:
    """Return a name for this machine and user: the same paths elsewhere are different directories."""
    import getpass
    import platform

    try:
        user = getpass.getuser()
    except (ImportError, OSError, KeyError):
        user = ""
    return f"{platform.node()}\0{user}"
