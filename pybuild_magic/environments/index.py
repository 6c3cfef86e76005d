"""Package indexes, queried for the files of a project: the simple API (PEP 691, PEP 503), and directories."""

from __future__ import annotations

import functools
import hashlib
import html.parser
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from ..cancel import Cancel
from ..errors import SourceError
from ..net.tls import TLS, tls_context
from ..net.transport import Transport, TransportError, basic_of
from .configuration import Configuration, Index
from .installed import normalised
from .target import TargetPython

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_LARGEST_PAGE = 64 << 20
_LARGEST_METADATA = 4 << 20


class File(msgspec.Struct, frozen=True):
    """A file of a project in an index: a wheel, or a source distribution."""

    filename: str
    url: str
    version: Version
    wheel: bool
    sha256: str = ""
    requires_python: str = ""
    yanked: str | None = None
    """The reason why it was withdrawn; None when it was not."""
    metadata: bool = False
    """Whether its metadata is served beside it (PEP 658)."""
    userinfo: str = ""
    path: str = ""
    """Its path, if it is on this machine."""

    def suits(self, target: TargetPython) -> bool:
        """Return whether the target can install it: by a wheel's tags, and by Requires-Python."""
        if self.wheel and not (parse_wheel_filename(self.filename)[3] & target.tags):
            return False
        return self.suits_python(target)

    def suits_python(self, target: TargetPython) -> bool:
        """Return whether its Requires-Python has a late Python of the target's version."""
        return self.allows(f"{target.python}.99")

    def allows(self, python: str) -> bool:
        """Return whether its Requires-Python allows a version, such as `3.12.1`."""
        try:
            return not self.requires_python or SpecifierSet(self.requires_python).contains(python)
        except InvalidSpecifier:
            return True

    def read(self) -> bytes:
        """Return the content of a file of this machine."""
        return Path(self.path).read_bytes()


class Indexes:
    """The indexes of a configuration. Safe to use from several threads."""

    def __init__(self, configuration: Configuration, cancel: Cancel | None = None) -> None:
        self.configuration = configuration
        self._cancel = cancel or Cancel()
        context = tls_context(TLS(ca=configuration.cert)) if configuration.cert else None
        trusting = tls_context(TLS(unverified=True)) if configuration.trusted else None
        self._transport = Transport(
            tls=lambda host: trusting if host.partition(":")[0] in configuration.trusted else context
        )

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def files(self, project: str, version: str = "") -> tuple[File, ...]:
        """Return the files of a project in all indexes and linked places; none for an unknown project.

        With a `version`, only those of that version: a page may list thousands. Raises SourceError when an index does
        not answer.
        """
        parsed = _version(version)
        files = tuple(file for look in self._places(project, version) for file in look())
        if version and not files:  # its name may spell the version differently
            files = tuple(file for look in self._places(project, "") for file in look())
        return tuple(file for file in files if file.version == parsed) if parsed else files

    def metadata(self, file: File) -> str:
        """Return the METADATA of a wheel. Raises SourceError."""
        if file.metadata:
            answer = self._get(f"{file.url}.metadata", file.userinfo, "*/*", _LARGEST_METADATA)
            if answer is not None:
                return answer[0].decode("utf-8", "replace")
        return _metadata_of(file.read() if file.path else self.content(file))

    def content(self, file: File) -> bytes:
        """Return the bytes of a file. Raises SourceError."""
        answer = self._get(file.url, file.userinfo, "*/*", 1 << 30)
        if answer is None:
            raise SourceError(f"{file.filename} is missing from the place that its index names.")
        return answer[0]

    def _places(self, project: str, part: str) -> Iterable[Callable[[], list[File]]]:
        """Return a function for each place to search; `part` occurs in the names of the wanted files."""
        for index in self.configuration.indexes:
            if index.url.startswith("file://"):
                folder = Path(unquote(urlsplit(index.url).path)) / project
                yield functools.partial(_in_directory, folder, project, part)
            else:
                yield functools.partial(self._in_index, index, project, part)
        for link in self.configuration.links:
            path = Path(unquote(urlsplit(link).path) if link.startswith("file://") else link)
            if path.is_dir():
                yield functools.partial(_in_directory, path, project, part)
            elif link.startswith("http"):
                yield functools.partial(self._in_page, link, project, part)

    def _in_index(self, index: Index, project: str, part: str) -> list[File]:
        url = f"{index.url.rstrip('/')}/{project}/"
        return self._in_page(url, project, part, index.userinfo)

    def _in_page(self, url: str, project: str, part: str, userinfo: str = "") -> list[File]:
        answer = self._get(url, userinfo, _ACCEPT, _LARGEST_PAGE)
        if answer is None:
            return []
        data, kind, place = answer
        page = _from_json if kind.startswith("application/vnd.pypi.simple.v1+json") else _from_html
        host = urlsplit(place).hostname
        return [
            # A password is only for the index; its files may be on another host.
            msgspec.structs.replace(file, userinfo=userinfo) if urlsplit(file.url).hostname == host else file
            for file in page(data, place, project, part)
        ]

    def _get(self, url: str, userinfo: str, accept: str, limit: int) -> tuple[bytes, str, str] | None:
        """Return the content of a URL, its type and its final URL; None when there is nothing."""
        headers = {"Accept": accept, "Accept-Encoding": "gzip"}
        if userinfo:
            headers["Authorization"] = basic_of(userinfo)
        host = urlsplit(url).hostname
        try:
            with self._transport.request("GET", url, self._cancel, headers=headers) as response:
                if response.status in (404, 410):
                    return None
                if response.status != 200:
                    reason = "refuses these credentials" if response.status in (401, 403) else f"said {response.status}"
                    raise SourceError(f"The package index {host} {reason}.", hint="Check the index-url of pip or uv.")
                data = bytearray()
                while part := response.read(1 << 20, decode=True):
                    data += part
                    if len(data) > limit:
                        raise SourceError(f"The package index {host} sent a page of more than {limit >> 20} MiB.")
                return bytes(data), response.headers.get("Content-Type", ""), response.url
        except TransportError as error:
            raise SourceError(
                f"The package index cannot be reached: {error.reason}.", hint="Check the index-url of pip or uv."
            ) from error


class _JsonFile(msgspec.Struct):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    requires_python: str | None = msgspec.field(default=None, name="requires-python")
    yanked: bool | str = False
    core_metadata: bool | dict[str, str] | None = msgspec.field(default=None, name="core-metadata")


class _JsonPage(msgspec.Struct):
    files: list[_JsonFile]


def _from_json(data: bytes, url: str, project: str, part: str) -> list[File]:
    try:
        page = msgspec.json.decode(data, type=_JsonPage)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"The page of {project} in the package index cannot be read: {error}.") from None
    files: list[File] = []
    for entry in page.files:
        if part not in entry.filename:
            continue
        yanked = entry.yanked if isinstance(entry.yanked, str) else "" if entry.yanked else None
        file = _file(
            entry.filename,
            urljoin(url, entry.url),
            project,
            sha256=entry.hashes.get("sha256", ""),
            requires_python=entry.requires_python or "",
            yanked=yanked,
            metadata=bool(entry.core_metadata),
        )
        if file is not None:
            files.append(file)
    return files


class _Anchors(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.anchors.append({name: value or "" for name, value in attrs})


def _from_html(data: bytes, url: str, project: str, part: str) -> list[File]:
    parser = _Anchors()
    parser.feed(data.decode("utf-8", "replace"))
    files: list[File] = []
    for anchor in parser.anchors:
        target, _, fragment = urljoin(url, anchor.get("href", "")).partition("#")
        filename = unquote(urlsplit(target).path).rpartition("/")[2]
        if part not in filename:
            continue
        file = _file(
            filename,
            target,
            project,
            sha256=fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else "",
            requires_python=anchor.get("data-requires-python", ""),
            yanked=anchor.get("data-yanked"),
            metadata="data-core-metadata" in anchor or "data-dist-info-metadata" in anchor,
        )
        if file is not None:
            files.append(file)
    return files


def _in_directory(folder: Path, project: str, part: str) -> list[File]:
    """Return the distributions of a project in a directory; their digests are computed from them."""
    files: list[File] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if normalised(path.name).startswith(project) and part in path.name and path.is_file():
            file = _file(path.name, path.as_uri(), project, path=str(path))
            if file is not None:
                with path.open("rb") as content:
                    digest = hashlib.file_digest(content, "sha256").hexdigest()
                files.append(msgspec.structs.replace(file, sha256=digest))
    return files


def _file(filename: str, url: str, project: str, **fields: Any) -> File | None:
    """Return the file for a name, if it is a distribution of the project."""
    try:
        if filename.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(filename)
        else:
            name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    if name != project:
        return None
    return File(filename, url, version, filename.endswith(".whl"), **fields)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _metadata_of(wheel: bytes) -> str:
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            return archive.read(name).decode("utf-8", "replace")
    except (zipfile.BadZipFile, StopIteration) as error:
        raise SourceError("A wheel in the index cannot be read.") from error
