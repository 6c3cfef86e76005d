"""Sending a blob to a registry that lacks it: mounted from another repository, or uploaded whole or in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import BinaryIO

from ...cancel import Cancel
from ...net.transport import Response, backoff
from ...untrusted.foreign import header_number, join_url, split_url
from ..descriptor import Descriptor
from ..reference import Reference
from .endpoint import Exchange, Fault
from .hosts import Endpoint

_ATTEMPTS = 4
_READ = 1 << 20
_MAX_SIBLINGS = 3
_FALLBACK_CHUNK = 64 << 20
"""Bytes of a chunk, for a registry (or a proxy in front of it) that refuses the blob in one piece."""


class Upload(StrEnum):
    """How a blob came to be in a repository."""

    EXISTS = "exists"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


class _Job:
    """One blob on its way to one repository."""

    def __init__(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        ref: Reference,
        descriptor: Descriptor,
        opened: Callable[[], BinaryIO],
        cancel: Cancel,
        progress: Callable[[int], None],
    ) -> None:
        self.exchange = exchange
        self.endpoint = endpoint
        self.ref = ref
        self.descriptor = descriptor
        self.opened = opened
        self.cancel = cancel
        self.progress = progress
        self.scopes = (f"repository:{ref.path}:pull,push",)
        self.upload_url = ""

    def exists(self) -> bool:
        with self.exchange.send(
            self.endpoint,
            "HEAD",
            f"{self.ref.path}/blobs/{self.descriptor.digest}",
            self.scopes,
            self.cancel,
            expect=(200, 404),
        ) as response:
            return response.status == 200

    def mount(self, sibling: str) -> bool:
        """Ask the registry to share the blob of another repository, and return whether it does."""
        scopes = (*self.scopes, f"repository:{sibling}:pull")
        query = {"mount": self.descriptor.digest, "from": sibling}
        try:
            with self.exchange.send(
                self.endpoint,
                "POST",
                f"{self.ref.path}/blobs/uploads/",
                scopes,
                self.cancel,
                query=query,
                headers={"Content-Length": "0"},
                expect=(201, 202),
            ) as response:
                if response.status == 201:
                    return True
                self.upload_url = self._location(response)
        except Fault:
            pass  # such as a 401 for a repository that we may not read: the blob is uploaded instead
        return False

    def begin(self) -> str:
        """Return the URL of a new upload, or of the one that the registry began when it could not mount."""
        if self.upload_url:
            location, self.upload_url = self.upload_url, ""
            return location
        with self.exchange.send(
            self.endpoint,
            "POST",
            f"{self.ref.path}/blobs/uploads/",
            self.scopes,
            self.cancel,
            headers={"Content-Length": "0"},
            expect=(202,),
        ) as response:
            return self._location(response)

    def whole(self) -> None:
        """Upload with a POST, then a PUT of everything at once."""
        self._put(self.begin(), 0, self.descriptor.size)

    def chunked(self, size: int) -> None:
        """Upload with a POST, PATCHes of at most `size` bytes and a PUT; resume after a broken connection."""
        location = self.begin()
        offset = failures = 0
        while offset < self.descriptor.size:
            end = min(offset + size, self.descriptor.size)
            try:
                location = self._patch(location, offset, end)
                offset, failures = end, 0
            except Fault as fault:
                failures += 1
                if failures >= _ATTEMPTS or not _worth_repeating(fault):
                    raise
                self.pause(failures)
                location, offset = self._status(location)
        self._put(location, self.descriptor.size, 0)

    def _put(self, location: str, offset: int, length: int) -> None:
        with self.exchange.send(
            self.endpoint,
            "PUT",
            location,
            self.scopes,
            self.cancel,
            query={"digest": self.descriptor.digest},
            headers={"Content-Type": "application/octet-stream"},
            body=lambda: self._read(offset, length),
            length=length,
            retry=False,
            expect=(200, 201, 204),
        ):
            self.progress(self.descriptor.size)

    def _patch(self, location: str, start: int, end: int) -> str:
        with self.exchange.send(
            self.endpoint,
            "PATCH",
            location,
            self.scopes,
            self.cancel,
            headers={"Content-Type": "application/octet-stream", "Content-Range": f"{start}-{end - 1}"},
            body=lambda: self._read(start, end - start),
            length=end - start,
            retry=False,
            expect=(202, 204),
        ) as response:
            return self._location(response)

    def _status(self, location: str) -> tuple[str, int]:
        """Return (URL to continue at, bytes that the registry has) of an upload that broke."""
        with self.exchange.send(self.endpoint, "GET", location, self.scopes, self.cancel, expect=(204,)) as response:
            last = header_number(response.headers.get("Range", "").rpartition("-")[2])
            offset = last + 1 if last else 0
            return self._location(response, location), min(offset, self.descriptor.size)

    def _location(self, response: Response, otherwise: str = "") -> str:
        location = response.headers.get("Location", "")
        if not location and not otherwise:
            raise Fault(self.endpoint, "content", f"{self.endpoint.host} gave no upload location")
        url = join_url(response.url, location or otherwise)
        if not url:
            raise Fault(self.endpoint, "content", f"{self.endpoint.host} gave an upload location that is not a URL")
        if split_url(response.url).scheme == "https" and split_url(url).scheme != "https":
            raise Fault(self.endpoint, "content", f"{self.endpoint.host} gave an upload location without TLS")
        return url

    def _read(self, start: int, length: int) -> Iterator[bytes]:
        """Yield the bytes to send, and report each block to `progress` when the next one is asked for."""
        if not length:
            return
        with self.opened() as file:
            file.seek(start)
            remaining = length
            while remaining:
                self.cancel.check()
                data = file.read(min(_READ, remaining))
                if not data:
                    raise Fault(
                        self.endpoint, "content", f"the local copy is shorter than {self.descriptor.size} bytes"
                    )
                yield data
                remaining -= len(data)
                self.progress(start + length - remaining)

    def pause(self, failures: int) -> None:
        self.cancel.wait(backoff(failures))
        self.cancel.check()


def push_blob(
    exchange: Exchange,
    endpoint: Endpoint,
    ref: Reference,
    descriptor: Descriptor,
    opened: Callable[[], BinaryIO],
    cancel: Cancel,
    *,
    progress: Callable[[int], None],
    siblings: Sequence[str],
    chunk: int,
) -> Upload:
    """See `Registry.push_blob`. Raises Fault and Interrupted."""
    job = _Job(exchange, endpoint, ref, descriptor, opened, cancel, progress)
    if job.exists():
        return Upload.EXISTS
    if any(job.mount(sibling) for sibling in siblings[:_MAX_SIBLINGS]):
        return Upload.MOUNTED
    failures = 0
    while True:
        try:
            if chunk:
                job.chunked(chunk)
            else:
                job.whole()
            return Upload.UPLOADED
        except Fault as fault:
            if fault.status == 413 and not chunk:
                chunk = _FALLBACK_CHUNK
                continue
            failures += 1
            if failures >= _ATTEMPTS or not _worth_repeating(fault):
                raise
            job.pause(failures)


def _worth_repeating(fault: Fault) -> bool:
    return fault.kind in ("cut", "timeout") or fault.status in (404, 408, 416, 429, 500, 502, 503, 504)
