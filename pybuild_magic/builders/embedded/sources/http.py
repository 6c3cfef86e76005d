"""URLs as sources (`ADD https://…`, contexts): one file in a layer, fetched again only when it has changed.

Source: BuildKit's source/http. In addition, a server without ETags is asked by Last-Modified, where that is a strong
validator (RFC 9110 section 8.8.2.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.message import Message
from email.utils import collapse_rfc2231_value
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

import msgspec

from ....errors import SourceError, UnsupportedError
from ....golang.json import dumps
from ....llb.ops import SourceOp
from ....llb.sourcepolicy import Update
from ....net.transport import Response, Transport, TransportError, redacted
from ....oci.digest import is_digest, new_hash, sha256
from ....status.report import VertexReport
from ....store import CacheRecord, Entry, LayerWriter
from ....store.entry import WHITEOUT_PREFIX
from ....untrusted.foreign import header_number, http_date, split_url
from .context import SourceContext, key_of

_ATTEMPTS = 3
_BLOCK = 1 << 20
_STRONG_AFTER = 60
"""The seconds between Last-Modified and Date from which the former is a strong validator."""
_HEADERS = frozenset({"accept", "user-agent"})
"""The header fields that an LLB may set; others are dropped, as by BuildKit."""
_LONGEST_VALIDATOR = 1024
_DEFAULT_NAME = "download"
_DEFAULT_MODE = 0o600


class _Known(msgspec.Struct, frozen=True):
    """The result of the last fetch from the URL."""

    digest: str
    """The digest of the content."""
    filename: str
    mtime: int
    """Nanoseconds since 1970."""
    etag: str = ""
    last_modified: str = ""
    """Only set where it is a strong validator."""
    modified: str = ""
    """Last-Modified in the server's notation."""


class HTTPSource:
    """`http://…` or `https://…`, with BuildKit's `http.*` attributes."""

    def __init__(self, op: SourceOp, context: SourceContext) -> None:
        self._url = op.identifier
        self._attrs = op.attrs
        self._context = context
        self._known: _Known | None = None
        self._layer = ""

    def key(self, progress: VertexReport) -> str:
        """Return a key made of content, name, owner, mode and time; with a checksum the server is not asked. See
        Source.
        """
        if checksum := self._checksum():
            filename = safe_name(self._shape[0]) if self._shape[0] else _name_of(self._url, None)
            return key_of("http", filename, self._shape, checksum, None)
        if self._known is None:
            self._fetch(progress)
        assert self._known is not None
        return key_of("http", self._known.filename, self._shape, self._known.digest, self._known.mtime)

    def pin(self, progress: VertexReport) -> Update:
        """Return the digest of the content as the pin. See Source."""
        if checksum := self._checksum():
            return Update(self._url, {"http.checksum": checksum})
        self.key(progress)
        assert self._known is not None
        return Update(self._url, {"http.checksum": self._known.digest})

    def names(self) -> tuple[str, ...]:
        """Return names made of content, name, owner, mode and time. See Source, and BuildKit's formatCacheKey."""
        checksum, known = self._checksum(), self._known
        requested, mode, uid, gid = self._shape
        filename = safe_name(requested) if requested else _name_of(self._url, None) if known is None else known.filename
        members: dict[str, Any] = {
            "Filename": filename,
            "Perm": mode if "http.perm" in self._attrs else 0,
            "UID": uid,
            "GID": gid,
            "Checksum": checksum or (known.digest if known else ""),
        }
        if not checksum and known is not None and known.modified:
            members["LastModTime"] = known.modified
        if secret := self._attrs.get("http.authheadersecret", ""):
            members["AuthHeaderSecret"] = secret
        return (sha256(dumps(members)),)

    def snapshot(self, progress: VertexReport) -> tuple[str, ...]:
        """See Source."""
        if not self._layer:
            self._fetch(progress)
        checksum = self._checksum()
        if checksum and self._known is not None and checksum != self._known.digest:
            raise SourceError(
                f"{redacted(self._url)} has the digest {self._known.digest}, not {checksum}.",
                hint="The file has changed, or the checksum belongs to another file.",
            )
        return (self._layer,)

    @property
    def revision(self) -> str:
        """See Source."""
        return self._checksum() or (self._known.digest if self._known else "")

    def _checksum(self) -> str:
        checksum = self._attrs.get("http.checksum", "")
        if checksum and not is_digest(checksum):
            raise SourceError(f"The checksum {checksum!r} of {redacted(self._url)} is not a digest: sha256:….")
        return checksum

    @property
    def _shape(self) -> tuple[str, int, int, int]:
        """Return (requested file name, mode, uid, gid)."""
        mode = _number(self._attrs, "http.perm") or _DEFAULT_MODE
        return (
            self._attrs.get("http.filename", ""),
            mode & 0o7777,
            _number(self._attrs, "http.uid"),
            _number(self._attrs, "http.gid"),
        )

    @property
    def _headers(self) -> dict[str, str]:
        headers = {
            name.removeprefix("http.header."): value
            for name, value in self._attrs.items()
            if name.startswith("http.header.") and name.removeprefix("http.header.").lower() in _HEADERS
        }
        if "http.signatureverify" in self._attrs:
            raise UnsupportedError("The embedded builder does not verify signatures of downloads.")
        host = split_url(self._url).hostname or ""
        named = self._attrs.get("http.authheadersecret", "")
        secrets = self._context.session.secrets
        value = secrets.get(named or f"HTTP_AUTH_HEADER_{host}")
        if named and value is None:
            raise SourceError(
                f"The secret {named} for {redacted(self._url)} was not passed to the build.", hint="Pass --secret."
            )
        token = None if named else secrets.get(f"HTTP_AUTH_TOKEN_{host}")
        if token is not None:
            headers["Authorization"] = "Bearer " + token.decode("latin-1").strip()
        elif value is not None:
            headers["Authorization"] = value.decode("latin-1").strip()
        return headers

    def _fetch(self, progress: VertexReport) -> None:
        """Find the present state of the URL, and bring its content into the store unless it is there."""
        algorithm = self._checksum().partition(":")[0]
        remembered = key_of("http-url", self._url, self._shape, algorithm, self._attrs.get("http.authheadersecret", ""))
        record = self._context.store.cache.get(remembered)
        known = msgspec.json.decode(record.meta, type=_Known) if record else None
        transport = Transport()
        try:
            fresh = self._persist(transport, known, progress)
        except TransportError as error:
            raise SourceError(f"{redacted(self._url)} could not be downloaded: {error.reason}.") from error
        finally:
            transport.close()
        if fresh is None and known is not None and record is not None:
            self._known, self._layer = known, record.diff_ids[0]
        elif fresh is not None:
            self._known, self._layer = fresh
            record = CacheRecord(
                (self._layer,), msgspec.json.encode(self._known), description=f"http url {redacted(self._url)}"
            )
            self._context.store.cache.put(remembered, record)

    def _persist(self, transport: Transport, known: _Known | None, progress: VertexReport) -> tuple[_Known, str] | None:
        """Call `_ask`, again when the connection breaks in the middle of the content."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._ask(transport, known, progress)
            except TransportError as error:
                if error.kind != "cut":
                    raise
        return self._ask(transport, known, progress)

    def _ask(self, transport: Transport, known: _Known | None, progress: VertexReport) -> tuple[_Known, str] | None:
        """Fetch the file and its layer; return None when it is still the `known` one."""
        headers = self._headers
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        elif known is not None and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        with transport.request("GET", self._url, self._context.cancel, headers=headers) as response:
            if known is not None and _same(known, response):
                return None
            if response.status == 304:
                raise SourceError(f"{redacted(self._url)} answered 304 to an unconditional request.")
            if not 200 <= response.status < 300:
                raise SourceError(f"{redacted(self._url)} answered with HTTP status {response.status}.")
            return self._download(response, progress)

    def _download(self, response: Response, progress: VertexReport) -> tuple[_Known, str]:
        filename, mode, uid, gid = self._shape
        filename = safe_name(filename) if filename else _name_of(self._url, response)
        mtime = _mtime(response)
        body = _Body(response, self._checksum(), progress, filename)
        store = self._context.store
        with LayerWriter(store, cancel=self._context.cancel) as writer:
            entry = Entry(filename, mode=mode, uid=uid, gid=gid, mtime=mtime)
            if body.size is None:
                # A tar states the size before the content, so content of unknown length is spooled first.
                with store.blobs.ingest() as spool:
                    while data := body.read(_BLOCK):
                        spool.write(data)
                    entry = msgspec.structs.replace(entry, size=spool.size)
                    with spool.path.open("rb") as content:
                        writer.add(entry, (content.fileno(), 0))
            else:
                entry = msgspec.structs.replace(entry, size=body.size)
                writer.add(entry, cast(BinaryIO, body))
            layer = writer.finish()
        known = _Known(
            body.digest,
            filename,
            mtime,
            etag=_etag(response),
            last_modified=_validator(response, "Last-Modified") if _is_strong(response) else "",
            modified=_validator(response, "Last-Modified"),
        )
        return known, layer.diff_id


class _Body:
    """The response's body as a binary file, hashed and counted while it is read."""

    def __init__(self, response: Response, checksum: str, progress: VertexReport, name: str) -> None:
        self._response = response
        self._algorithm = checksum.partition(":")[0] or "sha256"
        self._hash = new_hash(checksum) if checksum else new_hash("sha256:" + "0" * 64)
        self._progress = progress
        self._name = name
        self._encoded = bool(response.headers.get("Content-Encoding"))
        self.size = None if self._encoded else header_number(response.headers.get("Content-Length"))
        """The remaining bytes; None when the server does not say."""
        self._count = 0

    @property
    def digest(self) -> str:
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def read(self, size: int = -1, /) -> bytes:
        data = self._response.read(_BLOCK if size < 0 else size, decode=self._encoded)
        self._hash.update(data)
        self._count += len(data)
        if data:
            self._progress.status(self._name, "", self._count, self.size or 0)
        return data

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def safe_name(text: str) -> str:
    """Return a file name without directories and control characters; `download` when nothing remains.

    The name of a whiteout is replaced, too: in a layer it would delete something.
    """
    name = PurePosixPath(text.strip()).name
    safe = name and name != ".." and name.isprintable() and not name.startswith(WHITEOUT_PREFIX)
    return name if safe else _DEFAULT_NAME


def _name_of(url: str, response: Response | None) -> str:
    """Return the file's name: the server's, else the last part of the URL."""
    disposition = response.headers.get("Content-Disposition", "") if response else ""
    if disposition:
        message = Message()
        message["Content-Disposition"] = disposition
        value = message.get_param("filename", header="Content-Disposition")
        name = collapse_rfc2231_value(value) if value else ""
        if name and not name.endswith("/"):
            return safe_name(name)
    return safe_name(unquote(split_url(url).path.rstrip("/")))


def _same(known: _Known, response: Response) -> bool:
    """Return whether the response means that nothing changed. Some servers send ETags but ignore If-None-Match."""
    etag = _etag(response)
    if response.status == 304:
        return not etag or not known.etag or etag == known.etag
    return response.status == 200 and bool(etag) and etag == known.etag


def _etag(response: Response) -> str:
    return re.sub(r"^W/", "", _validator(response, "ETag"))


def _mtime(response: Response) -> int:
    """Return the file's time in nanoseconds: Last-Modified or 1970, as in BuildKit."""
    return (http_date(response.headers.get("Last-Modified")) or 0) * 1_000_000_000


def _is_strong(response: Response) -> bool:
    modified = http_date(response.headers.get("Last-Modified"))
    date = http_date(response.headers.get("Date"))
    return modified is not None and date is not None and date - modified >= _STRONG_AFTER


def _validator(response: Response, name: str) -> str:
    """Return a field that is sent back unchanged with the next request; "" if a request cannot carry it."""
    value = response.headers.get(name, "")
    return value if len(value) <= _LONGEST_VALIDATOR and value.isprintable() else ""


def _number(attrs: Mapping[str, str], name: str) -> int:
    """Return an integer in Go's notation: a leading 0 is octal."""
    text = attrs.get(name, "") or "0"
    try:
        return int(text, 8) if re.fullmatch(r"0[0-7]+", text) else int(text, 0)
    except ValueError as error:
        raise SourceError(f"The attribute {name} is {text!r}, which is not a number.") from error
