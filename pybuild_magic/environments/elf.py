"""The shared libraries that extension modules need but no distribution contains, and their Debian packages."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from ..store.tree import Tree
from .installed import Distribution

_OF_DEBIAN = frozenset(
    (
        *("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libresolv.so.2"),
        *("libnsl.so.1", "libcrypt.so.1", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "liblzma.so.5"),
        *("libbz2.so.1.0", "libzstd.so.1", "libselinux.so.1"),
    )
)
"""Libraries of packages that every Debian and Ubuntu has."""
_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libatomic.so.1": "libatomic1",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libgfortran.so.5": "libgfortran5",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libodbc.so.2": "libodbc2",
    "libpq.so.5": "libpq5",
    "libsndfile.so.1": "libsndfile1",
    "libtbb.so.12": "libtbb12",
    "libusb-1.0.so.0": "libusb-1.0-0",
}
"""Packages of libraries that wheels most often leave out, for machines without dpkg."""
_SHARED = re.compile(r"\.so(\.\d+)*$")
_LOADER = re.compile(r"ld-linux.*|ld64\.so.*|linux-vdso\.so.*")


class Library(msgspec.Struct, frozen=True):
    """A library that something needs; `package` is its Debian package, "" when unknown."""

    name: str
    needed_by: str
    package: str


def libraries(distributions: Iterable[Distribution], base: Tree | None = None) -> tuple[Library, ...]:
    """Return the libraries that this process's distributions need, and that neither they nor the base have.

    `base` is the file system of the base image; without it, libraries that every Debian has count as present.
    """
    paths = {distribution.name: [*_objects(distribution)] for distribution in distributions}
    bundled = {path.name for objects in paths.values() for path in objects}
    there = _names(base) if base is not None else _OF_DEBIAN
    lacking: dict[str, str] = {}
    for name, objects in paths.items():
        for library in sorted({library for path in objects for library in needed(path)}):
            if library not in bundled and library not in there and not _LOADER.fullmatch(library):
                lacking.setdefault(library, name)
    places = _places() if lacking else {}
    return tuple(Library(name, user, _package(name, places)) for name, user in sorted(lacking.items()))


def needed(path: Path) -> tuple[str, ...]:
    """Return the names of the libraries that an ELF file needs; none for other files."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as file:
            section = ELFFile(file).get_section_by_name(".dynamic")
            if not isinstance(section, DynamicSection):
                return ()
            return tuple(str(cast("Any", tag).needed) for tag in section.iter_tags("DT_NEEDED"))
    except (OSError, ELFError, UnicodeDecodeError):
        return ()


def _objects(distribution: Distribution) -> Iterator[Path]:
    """Return the extension modules and libraries of an installed distribution."""
    for installed in importlib.metadata.distributions(name=distribution.name, path=[distribution.location]):
        for file in installed.files or ():
            if _SHARED.search(file.name):
                yield Path(str(installed.locate_file(file)))


def _names(tree: Tree) -> frozenset[str]:
    return frozenset(entry.path.rpartition("/")[2] for entry in tree.walk() if _SHARED.search(entry.path))


def _places() -> dict[str, str]:
    """Return the paths of libraries known to this machine's loader, by name."""
    program = shutil.which("ldconfig") or "/sbin/ldconfig"
    try:
        output = subprocess.run([program, "-p"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return {}
    return {match[1]: match[2] for match in re.finditer(r"^\s*(\S+) \(.*\) => (\S+)$", output, re.MULTILINE)}


def _package(name: str, places: dict[str, str]) -> str:
    """Return the Debian package of a library."""
    dpkg, place = shutil.which("dpkg"), places.get(name)
    if dpkg and place:
        # /lib is a link to /usr/lib, and dpkg knows a file under only one of these paths.
        for path in dict.fromkeys((place, str(Path(place).resolve().parent / name), str(Path(place).resolve()))):
            answer = subprocess.run([dpkg, "-S", path], capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                return answer.stdout.split(":")[0].split(",")[0].strip()
    return _PACKAGES.get(name, "")
