"""Blobs that a daemon reads from its client and writes to it: image layouts, and caches of `type=local`.

This is containerd's content service (`containerd.services.content.v1.Content`), for stores that the daemon knows by
name, as in BuildKit's client. A digest is verified when a blob is written; BuildKit verifies the blobs that it reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import BinaryIO

from ....errors import BuildError, unwritable
from ....net.grpc.rpc import ALREADY_EXISTS, INVALID, NOT_FOUND, OUT_OF_RANGE, PERMISSION_DENIED, UNAVAILABLE, GrpcError
from ....net.grpc.stream import Call, prefixed
from ....oci.blobs import Blobs
from ....oci.digest import is_digest
from ....oci.layout import blob_path
from ....portable import at
from ...proto import content_pb2 as pb
from .fsutil import options

_STORE_ID = "buildkit-attachable-store-id"
_BLOCK = 1 << 20


class WritableLayout:
    """The blobs of an image layout in a directory to which a daemon may add; the layout need not exist yet.

    Raises ExportError when the directory cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            (path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        self._ingests: dict[str, Ingest] = {}
        self._writing: set[str] = set()
        self._lock = threading.Lock()

    def has(self, digest: str) -> bool:
        """See Blobs."""
        return self.size(digest) is not None

    def size(self, digest: str) -> int | None:
        """See Blobs."""
        try:
            return (self.path / blob_path(digest)).lstat().st_size
        except OSError:
            return None

    def open(self, digest: str) -> BinaryIO:
        """See Blobs."""
        return os.fdopen(at.open(self.path / blob_path(digest), at.O_RDONLY | at.O_NOFOLLOW | at.O_CLOEXEC), "rb")

    @contextlib.contextmanager
    def writing(self, ref: str) -> Generator[Ingest]:
        """Yield the blob that is being written under a name, to continue where it stopped.

        Raises GrpcError while another call writes it; a daemon then tries again, and finds the blob.
        """
        with self._lock:
            if ref in self._writing:
                raise GrpcError(UNAVAILABLE, f"ref {ref} locked: unavailable")
            ingest = self._ingests.get(ref) or self._ingests.setdefault(ref, Ingest(self.path))
            self._writing.add(ref)
        try:
            yield ingest
        finally:
            self._writing.discard(ref)

    def unfinished(self, ref: str) -> Ingest | None:
        """Return the same; None when there is no unfinished blob of that name."""
        return self._ingests.get(ref)

    def forget(self, ref: str) -> None:
        """Drop an unfinished blob."""
        with self._lock:
            ingest = self._ingests.pop(ref, None)
        if ingest is not None:
            ingest.abort()

    def close(self) -> None:
        """Remove unfinished blobs."""
        for ref in list(self._ingests):
            self.forget(ref)


class Ingest:
    """A blob that is being written: a file beside its final place, hashed on the way."""

    def __init__(self, root: Path) -> None:
        self._root = root
        fd, name = tempfile.mkstemp(prefix=".ingest.", dir=root / "blobs")
        self._file = os.fdopen(fd, "wb", buffering=0)
        self._path = Path(name)
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        """The digest of the bytes written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes) -> None:
        """Append."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Drop what was written."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    def commit(self) -> None:
        """Move the blob to its place."""
        at.fchmod(self._file.fileno(), 0o444)
        self._file.close()
        self._path.replace(self._root / blob_path(self.digest))

    def abort(self) -> None:
        """Remove the blob, unless it is in its place already."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class Content:
    """Serves `stores` under the names that the daemon was given."""

    def __init__(self, stores: Mapping[str, Blobs]) -> None:
        self._stores = stores

    def info(self, call: Call) -> None:
        """Return whether a blob exists, and its size."""
        digest = pb.InfoRequest.FromString(_first(call)).digest
        _answer(call, pb.InfoResponse(info=_info(self._store(call), digest)))

    def update(self, call: Call) -> None:
        """Accept labels, but keep none: they are for containerd's garbage collection, which a directory does not
        have.
        """
        info = pb.UpdateRequest.FromString(_first(call)).info
        blob = _info(self._store(call), info.digest)
        for key, value in info.labels.items():
            blob.labels[key] = value
        _answer(call, pb.UpdateResponse(info=blob))

    def read(self, call: Call) -> None:
        """Yield a range of a blob, in blocks."""
        request = pb.ReadContentRequest.FromString(_first(call))
        store = self._store(call)
        size = _info(store, request.digest).size
        offset = request.offset
        if offset < 0 or offset > size:
            raise GrpcError(OUT_OF_RANGE, f"{request.digest} has {size} bytes")
        # A reader may not know the size, and may ask for more.
        remaining = min(request.size, size - offset) if request.size > 0 else size - offset
        with store.open(request.digest) as file:
            file.seek(offset)
            while remaining and (data := file.read(min(remaining, _BLOCK))):
                _answer(call, pb.ReadContentResponse(offset=offset, data=data))
                offset, remaining = offset + len(data), remaining - len(data)

    def status(self, call: Call) -> None:
        """Return how much of a blob is written."""
        ref = pb.StatusRequest.FromString(_first(call)).ref
        ingest = self._writable(call).unfinished(ref)
        if ingest is None:
            raise GrpcError(NOT_FOUND, f"ingest {ref}: not found")
        _answer(call, pb.StatusResponse(status=pb.Status(ref=ref, offset=ingest.size)))

    def list_statuses(self, call: Call) -> None:
        """Return no statuses: no unfinished blob is older than the session."""
        _first(call)
        _answer(call, pb.ListStatusesResponse())

    def abort(self, call: Call) -> None:
        """Drop an unfinished blob."""
        self._writable(call).forget(pb.AbortRequest.FromString(_first(call)).ref)
        _answer(call, pb.Empty())

    def write(self, call: Call) -> None:
        """Write a blob. The first message names it, and each is answered with the bytes written so far."""
        store = self._writable(call)
        first = pb.WriteContentRequest.FromString(_first(call))
        if not first.ref:
            raise GrpcError(INVALID, "first message must have a reference")
        with store.writing(first.ref) as ingest:
            request = first
            while True:
                # A daemon writes the ref, and often the rest of this, into its first message alone.
                request.ref = first.ref
                request.expected = request.expected or first.expected
                request.total = request.total or first.total
                _answer(call, _write(store, ingest, request))
                message = call.receive()
                if message is None:
                    return
                request = pb.WriteContentRequest.FromString(message)

    def _store(self, call: Call) -> Blobs:
        name = (options(call.metadata, _STORE_ID) or [""])[0]
        store = self._stores.get(name)
        if store is None:
            raise GrpcError(NOT_FOUND, f"unknown store {name}")
        return store

    def _writable(self, call: Call) -> WritableLayout:
        store = self._store(call)
        if not isinstance(store, WritableLayout):
            raise GrpcError(PERMISSION_DENIED, "this store is read only")
        return store


def _write(store: WritableLayout, ingest: Ingest, request: pb.WriteContentRequest) -> pb.WriteContentResponse:
    if request.expected and store.has(request.expected):
        store.forget(request.ref)
        raise GrpcError(ALREADY_EXISTS, f"content {request.expected}: already exists")
    if request.action != pb.STAT:
        if request.offset == 0:
            ingest.restart()
        if request.offset != ingest.size:
            raise GrpcError(OUT_OF_RANGE, f"{request.ref} is written up to {ingest.size}")
        ingest.write(request.data)
    answer = pb.WriteContentResponse(action=request.action, offset=ingest.size, total=request.total)
    if request.action == pb.COMMIT:
        answer.digest = _commit(store, ingest, request)
    return answer


def _commit(store: WritableLayout, ingest: Ingest, request: pb.WriteContentRequest) -> str:
    if request.total and request.total != ingest.size:
        raise GrpcError(INVALID, f"{request.ref} has {ingest.size} bytes, not {request.total}")
    if request.expected and request.expected != ingest.digest:
        store.forget(request.ref)
        raise GrpcError(INVALID, f"{request.ref} is {ingest.digest}, not {request.expected}")
    ingest.commit()
    store.forget(request.ref)
    return ingest.digest


def _info(store: Blobs, digest: str) -> pb.Info:
    if not is_digest(digest):
        raise GrpcError(INVALID, f"{digest!r} is not a digest")
    with contextlib.suppress(BuildError):
        if store.has(digest) and (size := store.size(digest)) is not None:
            return pb.Info(digest=digest, size=size)
    raise GrpcError(NOT_FOUND, f"content {digest}: not found")


def _first(call: Call) -> bytes:
    message = call.receive()
    if message is None:
        raise GrpcError(INVALID, "the call has no request")
    return message


def _answer(
    call: Call,
    message: pb.InfoResponse
    | pb.UpdateResponse
    | pb.ReadContentResponse
    | pb.StatusResponse
    | pb.ListStatusesResponse
    | pb.WriteContentResponse
    | pb.Empty,
) -> None:
    call.send(prefixed(message.SerializeToString()))
