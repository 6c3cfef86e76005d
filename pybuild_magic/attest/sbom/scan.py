"""The scan of a file system: each file that may list packages is given to the reader of its kind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import msgspec

from ...cancel import Cancel
from ...errors import SourceError
from ...portable import pread
from ...store import Entry, LayerTree, Store, resolve
from ...store.entry import FILE
from ...store.files import LayerFiles
from . import binary, language, system
from .package import Finder, Package, UnreadableError

_LARGEST = 256 << 20
"""The most bytes of a file that is read whole."""
_SMALLEST_PROGRAM = 4096
_MOST_PACKAGES = 200_000

_PATHS: dict[str, Finder] = {
    "var/lib/dpkg/status": system.dpkg,
    "lib/apk/db/installed": system.apk,
    "usr/lib/apk/db/installed": system.apk,
    **{
        f"{folder}/{name}": finder
        for folder in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
        for name, finder in (
            ("rpmdb.sqlite", system.rpm),
            ("Packages", system.rpm),
            ("Packages.db", system.rpm_of_suse),
        )
    },
}


class Unread(msgspec.Struct, frozen=True):
    """A file that could not be read, so that packages may be missing from the list."""

    path: str
    reason: str


class Scan(msgspec.Struct, frozen=True):
    """The packages found in a file system."""

    packages: tuple[Package, ...]
    """By kind, name and version."""
    unread: tuple[Unread, ...] = ()


def scan(store: Store, tree: LayerTree, cancel: Cancel) -> Scan:
    """Scan a snapshot for packages. Raises StoreError and Interrupted."""
    packages_by_proof: dict[tuple[str, str], Package] = {}
    unread: list[Unread] = []
    with LayerFiles(store.blobs) as layers:
        files = _Files(tree, layers)
        for entry in tree.walk():
            finder = _finder(entry)
            if finder is None:
                continue
            cancel.check()
            try:
                for package in finder(entry, files):
                    packages_by_proof.setdefault((package.purl, package.proof), package)
                    if len(packages_by_proof) > _MOST_PACKAGES:
                        raise UnreadableError("lists too many packages")
            except UnreadableError as error:
                unread.append(Unread(entry.path, str(error)))
            except (
                ValueError, LookupError, OverflowError, struct.error, zlib.error, msgspec.MsgspecError, SourceError
            ) as error:  # fmt: skip
                unread.append(Unread(entry.path, f"is damaged: {error}"))
    packages = sorted(
        packages_by_proof.values(),
        key=lambda package: (package.kind, package.name, package.version, package.purl, package.proof),
    )
    return Scan(tuple(packages), tuple(unread))


def _finder(entry: Entry) -> Finder | None:
    """Return the reader of a file, chosen by its path; for programs, by its mode."""
    if entry.type != FILE:
        return None
    path = entry.path
    name = path.rpartition("/")[2]
    match name:
        case "METADATA" if path.endswith(".dist-info/METADATA"):
            return language.python
        case "PKG-INFO" if path.endswith(".egg-info/PKG-INFO"):
            return language.python
        case "package.json" if _is_module(path):
            return language.npm
        case "DESCRIPTION" if path.split("/")[-3:-2] in (["library"], ["site-library"]):
            return language.r
        case _:
            pass
    if finder := _PATHS.get(path):
        return finder
    if name.endswith(".egg-info"):
        return language.python
    if name.endswith(".json") and path.split("/")[-2:-1] == ["conda-meta"]:
        return language.conda
    if path.startswith("var/lib/dpkg/status.d/") and not name.endswith(".md5sums"):
        return system.dpkg
    if entry.mode & 0o111 and entry.size >= _SMALLEST_PROGRAM and not name.endswith((".py", ".sh", ".pl")):
        return binary.elf
    return None


def _is_module(path: str) -> bool:
    """Return whether a package.json belongs to a package that npm installed."""
    parts = path.split("/")
    scoped = len(parts) > 3 and parts[-3].startswith("@")
    return len(parts) > (3 if scoped else 2) and parts[-4 if scoped else -3] == "node_modules"


class _Files:
    """The files of a snapshot; the tar of each layer is opened once."""

    def __init__(self, tree: LayerTree, layers: LayerFiles) -> None:
        self._tree = tree
        self._layers = layers

    def get(self, path: str) -> Entry | None:
        """See Files."""
        entry = self._tree.get(path)
        if entry is not None and entry.type != FILE:
            entry = self._tree.get(resolve(self._tree, path))
        return entry if entry is not None and entry.type == FILE else None

    def read(self, entry: Entry) -> bytes:
        """See Files."""
        if entry.size > _LARGEST:
            raise UnreadableError(f"has {entry.size} bytes; at most {_LARGEST} are read")
        return self._layers.read(self._tree.span(entry)) if entry.size else b""

    def part(self, entry: Entry, offset: int, size: int) -> bytes:
        """See Files."""
        size = min(size, entry.size - offset)
        if size <= 0 or offset < 0:
            return b""
        fd, start = self._layers.at(self._tree.span(entry))
        return pread(fd, size, start + offset)


def proofs(packages: Iterable[Package]) -> list[str]:
    """Return the files in which packages were found, each once."""
    return sorted({package.proof for package in packages})
