"""The documents of an image that a daemon has made, read from wherever it went: the daemon, an archive, a registry."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ...cancel import Cancel
from ...errors import BuildError, SourceError
from ...inspect import inspect_image
from ...oci import reference
from ...oci.archive import Images, open_images
from ...oci.digest import new_hash
from ...session import DirSink, FileSink, Session
from .connect import Connection, Pool
from .plan import Daemon, Plan
from .proto import content_pb2
from .rpc import GrpcError

if TYPE_CHECKING:
    from ...oci.registry import Registry

_READ = "/containerd.services.content.v1.Content/Read"
_MAX_DOCUMENT = 8 << 20
_SECONDS = 30.0


class Blobs:
    """Reads manifests, indexes and configs of one build's image, each when it is asked for, and verifies them."""

    def __init__(self, pool: Pool, daemon: Daemon, planned: Plan, session: Session, response: dict[str, str]) -> None:
        self._pool = pool
        self._daemon = daemon
        self._session = session
        self._pushed = any(entry.Attrs.get("push") == "true" for entry in planned.request.Exporters)
        self._names = [name for name in response.get("image.name", "").split(",") if name]
        self._paths = [
            sink.path
            for entry in planned.request.Exporters
            if entry.Type in ("oci", "docker")
            and isinstance(sink := planned.sinks.get(entry.ID), DirSink | FileSink)
            and sink.path is not None
        ]
        self._images: Images | None = None
        self._known: dict[str, bytes] = {}
        self._open: Connection | None = None

    def prefetch(self, connection: Connection, digest: str) -> None:
        """Read what a display of the image needs while there is a connection: making another one may take long."""
        self._open = connection
        with contextlib.suppress(BuildError):
            inspect_image(self.read, digest)
        self._open = None

    def read(self, digest: str) -> bytes:
        """The blob. Raises SourceError when it is nowhere to be had."""
        if digest not in self._known:
            data = self._from_files(digest) or self._from_daemon(digest) or self._from_registry(digest)
            if data is None:
                raise SourceError(f"The builder {self._daemon.name} does not give out the blob {digest}.")
            found = new_hash(digest)
            found.update(data)
            if found.hexdigest() != digest.partition(":")[2]:
                raise SourceError(f"The builder {self._daemon.name} has something else as {digest}.")
            self._known[digest] = data
        return self._known[digest]

    def _from_files(self, digest: str) -> bytes | None:
        if not self._paths:
            return None
        with contextlib.suppress(BuildError):
            self._images = self._images or open_images(self._paths[0])
            if self._images.has(digest):
                with self._images.open(digest) as file:
                    return file.read(_MAX_DOCUMENT)
        return None

    def _from_daemon(self, digest: str) -> bytes | None:
        try:
            if self._open is not None:
                return _read(self._open, digest)
            with self._pool.connection() as connection:
                return _read(connection, digest)
        except (GrpcError, BuildError):
            return None

    def _from_registry(self, digest: str) -> bytes | None:
        if not self._pushed or not self._names:
            return None
        ref = reference.parse(self._names[0]).with_digest(digest)
        with contextlib.suppress(BuildError), self._registry() as registry:
            try:
                return registry.manifest(ref, Cancel()).data
            except SourceError:
                from ...oci.descriptor import Descriptor

                return registry.read_blob(ref, Descriptor("", digest, _MAX_DOCUMENT), Cancel(), _MAX_DOCUMENT)
        return None

    def _registry(self) -> Registry:
        from ...oci.registry import Registry

        return Registry(self._session.auth)


def _read(connection: Connection, digest: str) -> bytes | None:
    request = content_pb2.ReadContentRequest(digest=digest)
    data = b""
    for part in connection.stream(_READ, request, content_pb2.ReadContentResponse, _SECONDS):
        data += part.data
        if len(data) > _MAX_DOCUMENT:
            return None
    return data
