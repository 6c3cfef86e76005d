"""The kernel's answers to pages that show its builds: one JSON protocol, whatever carries it.

A request is `{id, token, method, params}`; its reply is `{id, result}` with buffers, or `{id, error: "a sentence"}`,
with `guarded` when it needs a `key`.
A custom message of a widget carries it, or a comm of the target `pybuild_magic`. With the token of a result, only what
that result has offered can be asked for. Answers are made in threads: the kernel goes on with its cells meanwhile.

Methods that remove something, or open a file by its path, also need the kernel's `key` (`panel.GUARDED`). The extension
gets it through an execute request's user expression, whose answer goes to the caller alone, and keeps it in a closure:
it is in no notebook, no widget and no output. So whoever can only send messages to comms cannot use such methods: the
visitors of a page that runs no code for them (Voilà), widgets, and saved notebooks, whatever they contain. It is no
protection against a script in JupyterLab's own page, such as an output of a trusted notebook: that has the user's
session with the server, and can run code in any kernel anyway.
"""

from __future__ import annotations

import os
import secrets
import tarfile
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast
from zlib import crc32

import msgspec

from ..errors import BuildError, SourceError, UsageError
from ..results.columns import columns_of
from ..results.contents import Contents, Marked, View
from ..results.owners import owners_of
from ..results.summarise import readable
from ..results.trees import document_of
from ..store import Entry
from ..summary import Summary
from . import panel
from .attestations import Attestations, with_attested

CHUNK = 4 << 20
"""Bytes of each message."""
_OFFERS = 200
"""The most results whose questions are answered; of more, those asked about last."""
_BUSY = 5
"""The most results whose listings are kept in memory."""
_LISTED = 200_000
_KEPT = 6
"""The most listings of trees that are kept, because a page asks for one in parts."""
_DOCUMENT = 4 << 20
_LONGEST = 8192
"""The most characters of a text in a request."""

Answer = tuple[Any, list[bytes]]
Send = Callable[[dict[str, Any], list[bytes]], object]
"""Sends a reply to the page that sent the request."""
Lines = Callable[[str], tuple[list[str], list[float]]]
"""The output lines of the vertex with a digest, and for each the seconds from the start of its step."""


class NeedsKeyError(UsageError):
    """A request that needs the kernel's key."""


class Offer:
    """The contents that a result offers to pages."""

    def __init__(self, contents: Contents, lines: Lines | None = None) -> None:
        self.contents = contents
        self._lines = lines
        self._lock = threading.Lock()
        self._downloading = threading.Lock()
        self._listings: OrderedDict[tuple[str, str], list[Marked]] = OrderedDict()
        self._views: dict[tuple[str, str], View] = {}
        self._archives: dict[int, IO[bytes]] = {}
        self._attestations: Attestations | None = None

    def forget(self) -> None:
        """Forget the listings; they are made again on demand."""
        with self._lock:
            self._listings.clear()
            self._views.clear()
            self._attestations = None

    def blob(self, params: dict[str, Any]) -> Answer:
        """Answer `{digest}` with an index, a manifest or a config, as `{text, truncated}`."""
        data = self.contents.document(_text(params, "digest"))
        return {"text": data[:_DOCUMENT].decode("utf-8", "replace"), "truncated": len(data) > _DOCUMENT}, []

    def layers(self, params: dict[str, Any]) -> Answer:
        """Answer `{platform?}` with what each layer adds, changes and removes, and what all of them waste."""
        analysis = self.contents.analysis(self.contents.manifest(_text(params, "platform", "")))
        assert analysis is not None
        layers = [
            {
                "diff_id": layer.diff_id,
                "added": layer.added,
                "changed": layer.changed,
                "removed": layer.removed,
                "size": layer.size,
            }
            for layer in analysis.layers
        ]
        wasted = [(readable(path), count, size) for path, count, size in analysis.wasted]
        return {
            "layers": layers,
            "efficiency": analysis.efficiency,
            "wasted_bytes": analysis.wasted_bytes,
            "wasted": wasted,
        }, []

    def files(self, params: dict[str, Any]) -> Answer:
        """Answer `{of, offset, limit, platform?}` with entries of a tree, in the columns of `columns_of`, and their
        total number.
        """
        listing = self._listing(_text(params, "of"), _text(params, "platform", ""))
        offset, limit = _number(params, "offset", 0), min(_number(params, "limit", _LISTED), _LISTED)
        return {"columns": columns_of(listing[offset : offset + limit]), "total": len(listing)}, []

    def file(self, params: dict[str, Any]) -> Answer:
        """Answer `{of, path, offset, limit, platform?}` with a part of a file, its size, and its kind."""
        limit = min(_number(params, "limit", CHUNK), 4 * CHUNK)
        path = _text(params, "path")
        entry, data = self._read(params, path, _number(params, "offset", 0), limit)
        kind, encoding = _kind(path, data)
        return {"size": entry.size, "kind": kind, "encoding": encoding}, [data]

    def about(self, params: dict[str, Any]) -> Answer:
        """Answer `{path, platform?}` with the origin of an entry of the image, as `{layer, user, group}`.

        `layer` counts from 1, and is 0 when no layer has the entry; names are "" when the image has none for the id.
        """
        manifest = self.contents.manifest(_text(params, "platform", ""))
        tree = self.contents.tree(manifest)
        entry = tree.get(_text(params, "path"))
        if entry is None:
            raise UsageError("The image has no such entry.")
        diff_ids = [layer.diff_id for layer in manifest.layers]
        origin = tree.layer_of(entry)
        owners = owners_of(tree)
        return {
            "layer": len(diff_ids) - diff_ids[::-1].index(origin) if origin in diff_ids else 0,
            "user": owners.users.get(str(entry.uid), ""),
            "group": owners.groups.get(str(entry.gid), ""),
        }, []

    def download(self, params: dict[str, Any]) -> Answer:
        """Answer `{of, path?, offset}` with the next bytes of an output or a file of a tree; a directory is sent as a
        tar.

        `version` changes when the file does, so that parts of different versions are not put together.
        """
        of, offset = _text(params, "of"), _number(params, "offset", 0)
        if "path" in params:
            path = _text(params, "path")
            entry, data = self._read(params, path, offset, CHUNK)
            version = entry.digest.hex() or f"{entry.size}-{entry.mtime}"
            return _chunk(path.rpartition("/")[2], entry.size, version, data)
        kind, _, digits = of.partition(":")
        number = int(digits) if kind == "output" and digits.isdecimal() and len(digits) < 5 else -1
        target = self.contents.outputs[number][1] if 0 <= number < len(self.contents.outputs) else None
        if target is None:
            raise UsageError(f"{of[:100]!r} is not a file.")
        with self._downloading, self._opened(number, target, offset) as file:
            status = os.fstat(file.fileno())
            file.seek(offset)
            data = file.read(CHUNK)
            if offset + len(data) >= status.st_size and (archive := self._archives.pop(number, None)):
                archive.close()
        name = f"{target.name}.tar" if target.is_dir() else target.name
        version = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
        return _chunk(name, status.st_size, version, data)

    def log(self, params: dict[str, Any]) -> Answer:
        """Answer `{vertex, offset, limit}` with lines of a step's output, the seconds of each, and their total
        number.
        """
        if self._lines is None:
            raise UsageError("This result has no logs.")
        lines, seconds = self._lines(_text(params, "vertex"))
        offset, limit = _number(params, "offset", 0), min(_number(params, "limit", 5000), 50_000)
        part = slice(offset, offset + limit)
        return {"lines": lines[part], "seconds": seconds[part], "total": len(lines)}, []

    def packages(self, params: dict[str, Any]) -> Answer:
        """Answer `{platform, offset, limit}` with packages of the SBOM for a platform, and their total number."""
        packages = self._attested().packages(_text(params, "platform"))
        offset, limit = _number(params, "offset", 0), min(_number(params, "limit", 10_000), 50_000)
        return {"packages": msgspec.to_builtins(packages[offset : offset + limit]), "total": len(packages)}, []

    def statement(self, params: dict[str, Any]) -> Answer:
        """Answer `{platform, part, offset}` with the next bytes of an attested document, in the form of `download`."""
        name, data = self._attested().document(_text(params, "platform"), _text(params, "part"))
        offset = _number(params, "offset", 0)
        return _chunk(name, len(data), f"{len(data)}-{crc32(data)}", data[offset : offset + CHUNK])

    def _attested(self) -> Attestations:
        """Return the attestations, kept for pages that ask for them in parts."""
        with self._lock:
            known = self._attestations
        if known is None:
            known = Attestations(self.contents.statements())
            with self._lock:
                self._attestations = known
        return known

    def _read(self, params: dict[str, Any], path: str, offset: int, limit: int) -> tuple[Entry, bytes]:
        view = self._view(_text(params, "of"), _text(params, "platform", ""))
        try:
            return view.read(path, offset, limit)
        except SourceError:
            if "�" not in path:
                raise
            # The page knows the path as text; find the one whose bytes are displayed as this text.
            for _, entry in view.entries():
                if readable(entry.path) == path:
                    return view.read(entry.path, offset, limit)
            raise

    def _view(self, of: str, platform: str) -> View:
        with self._lock:
            view = self._views.get((of, platform))
        if view is None:
            view = self.contents.view(of, platform)
            with self._lock:
                while len(self._views) >= _KEPT:
                    self._views.pop(next(iter(self._views)))
                self._views[of, platform] = view
        return view

    def _listing(self, of: str, platform: str) -> list[Marked]:
        """Return all entries of a tree, kept for pages that ask for them in parts."""
        with self._lock:
            if (known := self._listings.get((of, platform))) is not None:
                return known
        listing = list(self._view(of, platform).entries())
        with self._lock:
            self._listings[of, platform] = listing
            while len(self._listings) > _KEPT:
                self._listings.popitem(last=False)
        return listing

    def _opened(self, number: int, path: Path, offset: int) -> IO[bytes]:
        """Return the file; for a directory, an archive that exists from the first byte requested to the last."""
        if not path.is_dir():
            return path.open("rb")
        if offset == 0 or number not in self._archives:
            archive = cast("IO[bytes]", tempfile.TemporaryFile())  # noqa: SIM115 - lives as long as the download
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(path, arcname=path.name)
            self._archives[number] = archive
        return open(self._archives[number].fileno(), "rb", closefd=False)


Method = Callable[["Service", dict[str, Any]], Any]
"""Answers a request, given its parameters; the return value is sent as JSON."""


_METHODS = frozenset({"about", "blob", "layers", "files", "file", "download", "log", "packages", "statement"})


class Service:
    """The results of a kernel by token, and the threads that answer."""

    def __init__(self) -> None:
        self._offers: OrderedDict[str, Offer] = OrderedDict()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(3, "pybuild-answer")
        self._key = secrets.token_urlsafe(24)
        self._added: dict[str, Method] = {}

    @property
    def key(self) -> str:
        """The key to the methods in `panel.GUARDED`; code that runs in this kernel can read it."""
        return self._key

    def _may(self, key: object) -> bool:
        return isinstance(key, str) and secrets.compare_digest(key.encode("utf-8", "replace"), self._key.encode())

    def add(self, name: str, method: Method) -> None:
        """Add a method of a package above this one, for requests with the kernel's key."""
        self._added[name] = method

    def offer(self, contents: Contents, lines: Lines | None = None) -> str:
        """Return a new token, with which a page may ask about these contents."""
        token = secrets.token_urlsafe(12)
        with self._lock:
            self._offers[token] = Offer(contents, lines)
            while len(self._offers) > _OFFERS:
                self._offers.popitem(last=False)[1].contents.close()
        return token

    @property
    def tokens(self) -> list[str]:
        """The known tokens."""
        return list(self._offers)

    def handle(self, request: object, send: Send) -> None:
        """Answer a request through `send`, which is called exactly once, from another thread."""
        self._pool.submit(self._respond, request, send)

    def _respond(self, request: object, send: Send) -> None:
        fields = cast("dict[str, Any]", request) if isinstance(request, dict) else {}
        number = fields.get("id")
        number = number if isinstance(number, str | int) else None
        try:
            result, buffers = self.answer(*map(fields.get, ("token", "method", "params", "key")))
        except NeedsKeyError as error:
            send({"id": number, "error": error.message, "guarded": True}, [])
        except BuildError as error:
            send({"id": number, "error": " ".join(filter(None, (error.message, error.hint)))}, [])
        except OSError as error:
            send({"id": number, "error": f"The file cannot be read: {error.strerror or type(error).__name__}."}, [])
        except Exception as error:
            send({"id": number, "error": f"The kernel could not answer: {type(error).__name__}: {error}."}, [])
        else:
            send({"id": number, "result": result}, buffers)

    def answer(self, token: object, method: object, params: object = None, key: object = None) -> Answer:
        """Return the result of one method, with its buffers. Raises BuildError."""
        arguments = cast("dict[str, Any]", params) if isinstance(params, dict) else {}
        token = token if isinstance(token, str) else ""
        method = method if isinstance(method, str) else ""
        known = panel.METHODS.get(method) or self._added.get(method)
        if known:
            if (method in panel.GUARDED or method in self._added) and not self._may(key):
                raise NeedsKeyError("Only JupyterLab's extension can ask for this, with the kernel's key.")
            return known(self, arguments), []
        if method == "known":
            return token in self._offers, []
        if method not in _METHODS:
            raise UsageError(f"A result does not answer {method[:50]!r}.")
        with self._lock:
            offer = self._offers.get(token)
            if offer is not None:
                self._offers.move_to_end(token)
                for old in islice(reversed(self._offers.values()), _BUSY, _BUSY + 1):
                    old.forget()
        if offer is None:
            raise UsageError("This kernel no longer knows the result.", hint="Run its cell again.")
        return getattr(offer, method)(arguments)

    def contents(self, token: str) -> Contents | None:
        """Return the contents that are offered under a token."""
        offer = self._offers.get(token)
        return offer.contents if offer else None

    def document(self, summary: Summary, contents: Contents) -> dict[str, Any]:
        """Return a summary for a page, with a token for questions about `contents`."""
        summary = msgspec.structs.replace(summary, fetch=self.offer(contents))
        return cast("dict[str, Any]", msgspec.to_builtins(document_of(with_attested(summary, contents), contents)))


_service: Service | None = None


def service() -> Service:
    """Return the service of this kernel."""
    global _service
    if _service is None:
        _service = Service()
    return _service


def connect(comm: Any, message: dict[str, Any]) -> None:
    """Answer messages over a comm: the target that `%load_ext` registers."""

    def listen(message: dict[str, Any]) -> None:
        service().handle(data_of(message), lambda data, buffers: comm.send(data=data, buffers=buffers))

    comm.on_msg(listen)
    if data_of(message):
        listen(message)


def data_of(message: dict[str, Any]) -> dict[str, Any]:
    """Return the page's data in a message of a comm; {} for anything but a record."""
    content: object = message.get("content")
    data = cast("dict[str, Any]", content).get("data") if isinstance(content, dict) else None
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _chunk(name: str, size: int, version: str, data: bytes) -> Answer:
    return {"name": readable(name), "size": size, "version": version, "count": len(data)}, [data]


def _text(params: dict[str, Any], name: str, default: str | None = None) -> str:
    value = params.get(name, default)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise UsageError(f"The request needs {name} as a text of at most {_LONGEST:,} characters.")
    return value


def _number(params: dict[str, Any], name: str, default: int) -> int:
    value = params.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 60:
        raise UsageError(f"The request needs {name} as a number from 0.")
    return value


_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"\x00\x00\x01\x00")


def _kind(path: str, data: bytes) -> tuple[str, str]:
    """Return the kind of a file for a reader (`text`, `json`, `csv`, `image`, `binary`), and the encoding of text."""
    ending = path.rpartition(".")[2].lower()
    if data.startswith(_IMAGES) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return "image", ""
    for encoding in ("utf-8", "utf-16") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8",):
        try:
            # A part may end in the middle of a character.
            text = data[: len(data) - 3].decode(encoding, "strict") if len(data) > 3 else data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            continue
        if ending == "svg":
            return "image", ""
        kinds = {"json": "json", "ipynb": "json", "csv": "csv", "tsv": "csv"}
        return kinds.get(ending, "text"), encoding
    return "binary", ""
