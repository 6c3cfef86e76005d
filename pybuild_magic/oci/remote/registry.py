"""A client of registries, by the OCI distribution specification and the Docker registry that it describes.

All threads of a process can share one `Registry`; several blobs are read at once through its pool. All content is
checked against the digest and size by which it was requested, before its reader sees its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import BinaryIO, NoReturn, Self, TypeVar

import msgspec

from ...cancel import Cancel
from ...errors import ExportError, SourceError, nearest
from ...net.transport import Response, TransportError
from ...untrusted.foreign import header_number
from ..descriptor import Descriptor
from ..digest import is_digest, new_hash, sha256
from ..manifest import media_type_of
from ..mediatype import DOCKER_INDEX, DOCKER_MANIFEST, INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST
from ..reference import Reference
from .credentials import CredentialSource
from .download import BlobReader, hint_for, pull_scopes
from .endpoint import Exchange, Fault, first, shown
from .hosts import Endpoint, RegistrySettings, endpoints_of, origin_of
from .upload import Upload, push_blob

MAX_MANIFEST = 4 << 20
"""Bytes; the size up to which registries must accept manifests, and above which we refuse them."""
_ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST, "*/*;q=0.1"))
_MAX_TAGS = 8 << 20
_NO_HEAD = frozenset({400, 403, 404, 405, 406, 415, 501})
"""Refusals of a HEAD after which a GET may succeed, or explain the refusal."""
T = TypeVar("T")
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1"


class Document(msgspec.Struct, frozen=True):
    """A manifest or index with its bytes, which have the descriptor's digest."""

    descriptor: Descriptor
    data: bytes


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class Registry:
    """Pulls from, and pushes to, any registry that a reference names."""

    def __init__(self, credentials: CredentialSource | None = None, settings: RegistrySettings | None = None) -> None:
        """Use `settings`, or else those of the environment. Nothing is opened before it is needed."""
        self._exchange = Exchange(credentials, settings or RegistrySettings.from_environment())

    def close(self) -> None:
        """Close idle connections; the registry can still be used."""
        self._exchange.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def resolve(self, ref: Reference, cancel: Cancel) -> Descriptor:
        """Resolve `ref` (its digest, else its tag, else `latest`), with a HEAD if the registry supports it.

        Raises SourceError and Interrupted.
        """
        return self._pull(ref, lambda endpoint: self._resolve(endpoint, ref, cancel), cancel)

    def manifest(self, ref: Reference, cancel: Cancel) -> Document:
        """Return the manifest or index that `ref` names, by digest if it has one. Raises SourceError, Interrupted."""
        return self._pull(ref, lambda endpoint: self._get(endpoint, ref, cancel), cancel)

    def blob(self, ref: Reference, descriptor: Descriptor, cancel: Cancel) -> BlobReader:
        """Return the blob of `ref`'s repository, as a file to read once from start to end. Raises SourceError."""
        return BlobReader(self._exchange, ref, descriptor, cancel)

    def read_blob(self, ref: Reference, descriptor: Descriptor, cancel: Cancel, limit: int = MAX_MANIFEST) -> bytes:
        """Return a small blob, such as a config, whole. Raises SourceError when it is larger than `limit` bytes."""
        if descriptor.size > limit:
            raise SourceError(
                f"Blob {descriptor.digest} of {ref.familiar} has {descriptor.size} bytes; at most {limit} are read."
            )
        with self.blob(ref, descriptor, cancel) as reader:
            parts: list[bytes] = []
            while part := reader.read(1 << 20):
                parts.append(part)
            return b"".join(parts)

    def tags(self, ref: Reference, cancel: Cancel) -> list[str]:
        """Return the tags of `ref`'s repository: the first thousand or so. Raises SourceError and Interrupted."""
        return self._pull(ref, lambda endpoint: self._tags(endpoint, ref, cancel), cancel)

    def push_blob(
        self,
        ref: Reference,
        descriptor: Descriptor,
        opened: Callable[[], BinaryIO],
        cancel: Cancel,
        progress: Callable[[int], None] | None = None,
        mount_from: Sequence[Reference] = (),
        chunk: int = 0,
    ) -> Upload:
        """Put a blob into `ref`'s repository, unless it is there.

        `opened` opens the content each time that it has to be sent; `progress` is called with the number of bytes sent
        so far. `mount_from` names repositories that probably have the blob: the registry is asked to share it from
        those that are its own. `chunk` is the size of the pieces to send, in bytes; 0 sends the blob in one piece.
        Raises ExportError and Interrupted.
        """
        siblings = [other.path for other in mount_from if other.domain == ref.domain and other.path != ref.path]
        try:
            return push_blob(
                self._exchange,
                self._origin(ref),
                ref,
                descriptor,
                opened,
                cancel,
                progress=progress or _ignore,
                siblings=siblings,
                chunk=chunk,
            )
        except Fault as fault:
            self._fail_push(ref, fault)

    def push_manifest(self, ref: Reference, descriptor: Descriptor, data: bytes, cancel: Cancel) -> None:
        """Put a manifest or index at `ref`'s tag, or at its own digest when `ref` has no tag.

        Its blobs and manifests have to be in the repository already. Raises ExportError and Interrupted.
        """
        where = ref.tag or descriptor.digest
        try:
            with self._exchange.send(
                self._origin(ref),
                "PUT",
                f"{ref.path}/manifests/{where}",
                push_scopes(ref),
                cancel,
                headers={"Content-Type": descriptor.media_type},
                body=data,
                expect=(200, 201, 202),
            ) as response:
                stored = response.headers.get("Docker-Content-Digest", "")
        except Fault as fault:
            self._fail_push(ref, fault)
        if is_digest(stored) and stored != descriptor.digest:
            raise ExportError(
                f"{ref.domain} stored the manifest of {ref.familiar} as {stored}, not as {descriptor.digest}."
            )

    def _origin(self, ref: Reference) -> Endpoint:
        return origin_of(ref.domain, self._exchange.settings)

    def _pull(self, ref: Reference, attempt: Callable[[Endpoint], T], cancel: Cancel) -> T:
        try:
            return first(endpoints_of(ref.domain, self._exchange.settings), attempt)
        except Fault as fault:
            raise self._pull_error(ref, fault, cancel) from fault

    def _resolve(self, endpoint: Endpoint, ref: Reference, cancel: Cancel) -> Descriptor:
        """Use HEAD, or else GET: some registries have no HEAD, and only the refusal of a GET has a reason."""
        try:
            head = self._head(endpoint, ref, cancel)
        except Fault as fault:
            if fault.status not in _NO_HEAD:
                raise
            head = None
        return head or self._get(endpoint, ref, cancel).descriptor

    def _head(self, endpoint: Endpoint, ref: Reference, cancel: Cancel) -> Descriptor | None:
        with self._exchange.send(
            endpoint,
            "HEAD",
            f"{ref.path}/manifests/{_target(ref)}",
            pull_scopes(ref),
            cancel,
            headers={"Accept": _ACCEPT},
        ) as response:
            digest = response.headers.get("Docker-Content-Digest", "")
            size = header_number(response.headers.get("Content-Length"))
            media_type = _content_type(response)
        if not is_digest(digest) or size is None or media_type not in MANIFESTS | INDEXES:
            return None
        if ref.digest and digest != ref.digest:
            raise Fault(endpoint, "content", f"{endpoint.host} answered with {digest}, not with {ref.digest}")
        return Descriptor(media_type, digest, size)

    def _get(self, endpoint: Endpoint, ref: Reference, cancel: Cancel) -> Document:
        try:
            return self._document(endpoint, ref, "manifests", cancel)
        except Fault as fault:
            if fault.status != 404 or not ref.digest:
                raise
            with suppress(Fault):  # old registries have manifests among the blobs; a digest is a digest
                return self._document(endpoint, ref, "blobs", cancel)
            raise

    def _document(self, endpoint: Endpoint, ref: Reference, kind: str, cancel: Cancel) -> Document:
        with self._exchange.send(
            endpoint,
            "GET",
            f"{ref.path}/{kind}/{_target(ref)}",
            pull_scopes(ref),
            cancel,
            headers={"Accept": _ACCEPT},
        ) as response:
            data = _body(endpoint, response, MAX_MANIFEST)
            header_digest = response.headers.get("Docker-Content-Digest", "")
            content_type = _content_type(response)
        requested_digest = ref.digest or (header_digest if is_digest(header_digest) else "")
        digest = sha256(data)
        if requested_digest:
            digest = requested_digest.partition(":")[0] + ":" + _hexdigest(requested_digest, data)
        if requested_digest and digest != requested_digest:
            raise Fault(
                endpoint, "content", f"{endpoint.host} answered with content of digest {digest}, not {requested_digest}"
            )
        if content_type.startswith(_SCHEMA1):
            raise Fault(endpoint, "content", f"{endpoint.host} has only a manifest of Docker's old schema 1")
        try:
            media_type = media_type_of(data)
        except SourceError as error:
            raise Fault(endpoint, "content", f"{endpoint.host}: {error.message.rstrip('.')}") from error
        if content_type in MANIFESTS | INDEXES and (content_type in INDEXES) != (media_type in INDEXES):
            raise Fault(
                endpoint, "content", f"{endpoint.host} calls its content {content_type}, which is a {media_type}"
            )
        if content_type in MANIFESTS | INDEXES:
            media_type = content_type
        return Document(Descriptor(media_type, digest, len(data)), data)

    def _tags(self, endpoint: Endpoint, ref: Reference, cancel: Cancel) -> list[str]:
        with self._exchange.send(
            endpoint, "GET", f"{ref.path}/tags/list", pull_scopes(ref), cancel, query={"n": "1000"}
        ) as response:
            data = _body(endpoint, response, _MAX_TAGS)
        try:
            return msgspec.json.decode(data, type=_Tags).tags or []
        except msgspec.MsgspecError as error:
            raise Fault(endpoint, "content", f"{endpoint.host} did not answer with a list of tags") from error

    def _pull_error(self, ref: Reference, fault: Fault, cancel: Cancel) -> SourceError:
        name = ref.tagged().familiar
        if fault.status == 404 and fault.code not in ("NAME_UNKNOWN", "BLOB_UNKNOWN") and not ref.digest:
            return self._unknown_tag(ref, fault, cancel)
        if fault.status == 404:
            return SourceError(
                f"{name} was not found: {fault.reason}.", hint="Check the name, or log in if it is private."
            )
        if fault.status in (401, 403):
            return SourceError(
                f"Access to {name} was denied: {fault.reason}; {self._looked(fault)}.",
                hint=f'Log in with "docker login{_login(fault.endpoint)}", if the image exists and is private.',
            )
        return SourceError(f"{name} could not be pulled: {fault.reason}.", hint=hint_for(fault))

    def _unknown_tag(self, ref: Reference, fault: Fault, cancel: Cancel) -> SourceError:
        tag = ref.tagged().tag
        message = f'{ref.tagged().familiar} was not found: {fault.endpoint.host} has no tag "{tag}" of {ref.path}.'
        try:
            tags = self._tags(fault.endpoint, ref, cancel)
        except Fault:
            return SourceError(message)
        suggestion = nearest(tag, [shown(name) for name in tags])
        return SourceError(message, hint=f'Did you mean "{suggestion}"?' if suggestion else "")

    def _fail_push(self, ref: Reference, fault: Fault) -> NoReturn:
        if fault.status in (401, 403):
            raise ExportError(
                f"Pushing {ref.familiar} was denied: {fault.reason}; {self._looked(fault)}.",
                hint=f'Log in with "docker login{_login(fault.endpoint)}" as a user who may push there.',
            ) from fault
        raise ExportError(f"{ref.familiar} could not be pushed: {fault.reason}.", hint=hint_for(fault)) from fault

    def _looked(self, fault: Fault) -> str:
        return self._exchange.authorizer.describe(fault.endpoint.credentials_host)


def push_scopes(ref: Reference) -> tuple[str, ...]:
    """Return the scope of a token for pushing."""
    return (f"repository:{ref.path}:pull,push",)


def _target(ref: Reference) -> str:
    return ref.digest or ref.tagged().tag


def _content_type(response: Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


def _body(endpoint: Endpoint, response: Response, limit: int) -> bytes:
    try:
        data = response.read_all(limit)
    except TransportError as error:
        raise Fault(endpoint, error.kind, error.reason) from error
    if data is None:
        raise Fault(endpoint, "content", f"{endpoint.host} answered with more than {limit} bytes")
    return data


def _hexdigest(digest: str, data: bytes) -> str:
    hashed = new_hash(digest)
    hashed.update(data)
    return hashed.hexdigest()


def _login(endpoint: Endpoint) -> str:
    return "" if endpoint.credentials_host == "docker.io" else f" {endpoint.credentials_host}"


def _ignore(_: int) -> None:
    pass
