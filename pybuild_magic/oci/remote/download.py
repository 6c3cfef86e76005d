"""The download of a blob, from a registry or from a URL in the manifest: resumed when it breaks, and verified."""

from __future__ import annotations

import time
from typing import Self

from ...cancel import Cancel
from ...errors import SourceError
from ...net.transport import Response, TransportError, backoff
from ...untrusted.foreign import split_url
from ..descriptor import Descriptor
from ..digest import new_hash
from ..reference import Reference
from .endpoint import Exchange, Fault, first
from .hosts import Endpoint, endpoints_of

_MAX_URLS = 8
_RESUMES = 5
"""How many times in a row a download is resumed without much of it arriving."""
_PROGRESS = 1 << 20
"""Bytes after which a download counts as going well again."""


class BlobReader:
    """A blob's bytes as they arrive: resumed where the connection broke, and verified at the end.

    The `read` that reaches the end raises SourceError when size or digest are wrong, so that a reader that has seen b""
    has the right content.
    """

    def __init__(self, exchange: Exchange, ref: Reference, descriptor: Descriptor, cancel: Cancel) -> None:
        self._exchange = exchange
        self._ref = ref
        self._descriptor = descriptor
        self._cancel = cancel
        self._hash = new_hash(descriptor.digest)
        self._endpoint: Endpoint | None = None
        self._response: Response | None = None
        self.position = 0
        """Bytes read so far."""
        self._failures = 0
        self._resumed_at = 0
        self._pace = exchange.transport.pace
        self._began = time.monotonic()
        self._open()

    def read(self, amount: int = 1 << 20) -> bytes:
        """Return up to `amount` bytes; b"" at the verified end. Raises SourceError and Interrupted."""
        size = self._descriptor.size
        while self.position < size:
            try:
                data = self._response.read(min(amount, size - self.position)) if self._response else b""
                if not data:
                    raise TransportError("cut", "the connection ended early")
            except TransportError as error:
                self._resume(error)
                continue
            self._hash.update(data)
            self.position += len(data)
            if self.position - self._resumed_at >= _PROGRESS:
                self._failures = 0
            if self.position == size:
                self._verify()
            return data
        if size == 0:
            self._verify()
        return b""

    def close(self) -> None:
        """Return the connection to the pool, or close it when the blob was not read to its end."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        endpoints = endpoints_of(self._ref.domain, self._exchange.settings)
        try:
            self._response = first(endpoints, self._attempt, after=self._endpoint)
        except Fault as fault:
            if fault.status not in (400, 403, 404) or not self._descriptor.urls:
                raise _blob_error(self._ref, self._descriptor, fault) from fault
            self._response = self._elsewhere(fault)

    def _elsewhere(self, missing: Fault) -> Response:
        """Return the blob from the first of the descriptor's own URLs that has it, for layers that registries must not
        serve.

        The URLs are untrusted, so no credentials of any kind are sent to them.
        """
        fault = missing
        for url in self._descriptor.urls[:_MAX_URLS]:
            if split_url(url).scheme not in ("http", "https") or not split_url(url).hostname:
                continue
            endpoint = Endpoint(url, "")
            try:
                return self._attempt(endpoint, url)
            except Fault as failure:
                fault = failure
        raise _blob_error(self._ref, self._descriptor, fault) from fault

    def _attempt(self, endpoint: Endpoint, foreign: str = "") -> Response:
        headers = {"Range": f"bytes={self.position}-"} if self.position else {}
        if foreign:
            response = self._exchange.fetch(endpoint, foreign, self._cancel, headers=headers, expect=(200, 206))
        else:
            path = f"{self._ref.path}/blobs/{self._descriptor.digest}"
            response = self._exchange.send(
                endpoint, "GET", path, pull_scopes(self._ref), self._cancel, headers=headers, expect=(200, 206)
            )
        try:
            self._skip(endpoint, response)
        except BaseException:
            response.close()
            raise
        self._endpoint = None if foreign else endpoint
        return response

    def _skip(self, endpoint: Endpoint, response: Response) -> None:
        """Skip to `position` in an answer, which begins either there or at the start of the blob."""
        if response.status == 206:
            begins = response.headers.get("Content-Range", "")
            if not begins.startswith(f"bytes {self.position}-"):
                raise Fault(endpoint, "content", f"{endpoint.host} answered with a different range than requested")
            return
        skip = self.position
        while skip:
            try:
                data = response.read(min(skip, 1 << 20))
            except TransportError as error:
                raise Fault(endpoint, error.kind, error.reason) from error
            if not data:
                raise Fault(endpoint, "content", f"{endpoint.host} answered with a shorter blob than before")
            skip -= len(data)

    def _resume(self, error: TransportError) -> None:
        self.close()
        self._failures += 1
        self._resumed_at = self.position
        late = bool(self._pace.limit) and time.monotonic() - self._began > self._pace.limit
        if self._failures > _RESUMES or late:
            raise SourceError(
                f"Blob {self._descriptor.digest} of {self._ref.familiar} stopped after {self.position} of"
                f" {self._descriptor.size} bytes: {error.reason}."
            ) from error
        self._cancel.wait(backoff(self._failures))
        self._cancel.check()
        self._open()

    def _verify(self) -> None:
        digest = self._descriptor.digest.partition(":")[0] + ":" + self._hash.hexdigest()
        try:
            longer = self._response is not None and bool(self._response.read(1))
        except TransportError:
            longer = False
        host = self._endpoint.host if self._endpoint else self._ref.domain
        self.close()
        if digest != self._descriptor.digest or longer:
            content = f"more than {self._descriptor.size} bytes" if longer else f"content of digest {digest}"
            raise SourceError(
                f"{host} sent {content} for blob {self._descriptor.digest} of {self._ref.familiar}; it was discarded.",
                hint="Try again; if it stays so, the registry, a mirror or a proxy changes what it serves.",
            )


def pull_scopes(ref: Reference) -> tuple[str, ...]:
    """Return the scope of a token for pulling."""
    return (f"repository:{ref.path}:pull",)


def hint_for(fault: Fault) -> str:
    """Return the next step for the user after a request to a registry has failed; "" when there is none."""
    match fault.kind:
        case "unreachable" | "timeout":
            return "Check the network and proxy settings, or name a mirror in PYBUILD_REGISTRY_MIRRORS."
        case "tls":
            return (
                "If it has a certificate of your own, put its CA into /etc/docker/certs.d/HOST/ca.crt or name a"
                " directory in PYBUILD_REGISTRY_CERTS."
            )
        case _:
            return ""


def _blob_error(ref: Reference, descriptor: Descriptor, fault: Fault) -> SourceError:
    return SourceError(
        f"Blob {descriptor.digest} of {ref.familiar} could not be read: {fault.reason}.", hint=hint_for(fault)
    )
