"""The documents of an image that a daemon built, read from its destination: the daemon, an archive, a registry."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, BinaryIO, cast

from ...cancel import Cancel
from ...errors import BuildError, SourceError
from ...golang.parsebool import parse_bool
from ...images.archive import Images, open_images
from ...images.describe import inspect_image
from ...net.grpc.rpc import GrpcError
from ...oci import reference
from ...oci.digest import new_hash
from ...session import DirSink, FileSink, Session
from ..failures import message_of
from ..proto import content_pb2
from .connect import Connection, Pool
from .plan import Daemon, SolvePlan

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from ...oci.remote.registry import Registry

_INFO = "/containerd.services.content.v1.Content/Info"
_READ = "/containerd.services.content.v1.Content/Read"
_BLOCK = 1 << 20
_MAX_DOCUMENT = 8 << 20
_SECONDS = 30.0


class ResultBlobs:
    """The blobs of a build's image (see oci.blobs), fetched on demand.

    Manifests, indexes and configs come from the destination of the image, and are verified; layers come from the
    daemon.
    """

    def __init__(
        self, pool: Pool, daemon: Daemon, planned: SolvePlan, session: Session, response: dict[str, str]
    ) -> None:
        self._pool = pool
        self._daemon = daemon
        self._session = session
        self._pushed = any(bool(parse_bool(entry.Attrs.get("push", ""))) for entry in planned.request.Exporters)
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
        """Read the documents that a display needs while there is a connection: opening another may take long."""
        self._open = connection
        with contextlib.suppress(BuildError):
            inspect_image(self.read, digest)
        self._open = None

    def read(self, digest: str) -> bytes:
        """Return the blob. Raises SourceError when it is not available anywhere."""
        if digest not in self._known:
            data = self._from_files(digest) or self._from_daemon(digest) or self._from_registry(digest)
            if data is None:
                raise SourceError(f"The builder {self._daemon.name} did not provide the blob {digest}.")
            hasher = new_hash(digest)
            hasher.update(data)
            if hasher.hexdigest() != digest.partition(":")[2]:
                raise SourceError(f"The builder {self._daemon.name} returned different content for {digest}.")
            self._known[digest] = data
        return self._known[digest]

    def has(self, digest: str) -> bool:
        """See oci.blobs.Blobs."""
        return self.size(digest) is not None

    def size(self, digest: str) -> int | None:
        """See oci.blobs.Blobs."""
        if digest in self._known:
            return len(self._known[digest])
        try:
            with self._pool.connection() as connection:
                request = content_pb2.InfoRequest(digest=digest)
                return connection.unary(_INFO, request, content_pb2.InfoResponse).info.size
        except (GrpcError, BuildError):
            return None

    def open(self, digest: str) -> BinaryIO:
        """See oci.blobs.Blobs. Raises SourceError, also while it is read."""
        if digest in self._known:
            return io.BytesIO(self._known[digest])
        return cast("BinaryIO", io.BufferedReader(_Content(self._pool, digest), _BLOCK))

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
                return read_content(self._open, digest)
            with self._pool.connection() as connection:
                return read_content(connection, digest)
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
        from ...oci.remote.registry import Registry

        return Registry(self._session.auth)


class _Content(io.RawIOBase):
    """A blob of the daemon as it arrives; it holds its connection until it is closed."""

    def __init__(self, pool: Pool, digest: str) -> None:
        self._stack = contextlib.ExitStack()
        self._rest = b""
        connection = self._stack.enter_context(pool.connection())
        request = content_pb2.ReadContentRequest(digest=digest)
        try:
            call = connection.start(_READ, request)
        except GrpcError as error:
            self._stack.close()
            raise SourceError(f"A blob could not be downloaded from the builder: {message_of(error)}.") from error
        self._stack.callback(call.cancel)
        self._parts = map(content_pb2.ReadContentResponse.FromString, call.messages())

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill `buffer` with the next bytes; return 0 at the end. Raises SourceError."""
        try:
            while not self._rest:
                part = next(self._parts, None)
                if part is None:
                    return 0
                self._rest = part.data
        except GrpcError as error:
            raise SourceError(f"A blob could not be downloaded from the builder: {message_of(error)}.") from error
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._rest))
        view[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def close(self) -> None:
        """Release the connection."""
        if not self.closed:
            self._stack.close()
        super().close()


def read_content(connection: Connection, digest: str) -> bytes | None:
    """Return a small blob of the daemon; None for one that is too large for a document. Raises GrpcError."""
    request = content_pb2.ReadContentRequest(digest=digest)
    data = b""
    for part in connection.stream(_READ, request, content_pb2.ReadContentResponse, _SECONDS):
        data += part.data
        if len(data) > _MAX_DOCUMENT:
            return None
    return data
