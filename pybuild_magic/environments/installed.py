"""The Python distributions of an environment: those of this process, or of an image."""

from __future__ import annotations

import email.parser
import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..store.tree import Tree

_METADATA = re.compile(r"(?:^|/)(?:site|dist)-packages/[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO|egg-info)$")
_LIBRARY = re.compile(r"(?:^|/)(?:site|dist)-packages$")
_LARGEST = 4 << 20
"""The most bytes of an image's metadata file that are read."""


class Origin(msgspec.Struct, frozen=True):
    """The origin of a distribution that came from no index: its direct_url.json (PEP 610)."""

    url: str
    editable: bool = False
    vcs: str = ""
    commit: str = ""
    hashes: dict[str, str] = {}
    subdirectory: str = ""

    @property
    def path(self) -> str:
        """The local directory or archive from which it was installed; "" for a download."""
        from urllib.parse import unquote, urlsplit

        parts = urlsplit(self.url)
        return unquote(parts.path) if parts.scheme == "file" and not self.vcs else ""


class Distribution(msgspec.Struct, frozen=True):
    """A distribution; `name` is normalised, such as `scikit-learn`."""

    name: str
    version: str
    requested: bool = False
    """Whether somebody requested it, according to its installer."""
    installer: str = ""
    requires: tuple[str, ...] = ()
    """Its Requires-Dist, as written."""
    origin: Origin | None = None
    location: str = ""
    """The directory of its modules."""

    @property
    def pinned(self) -> str:
        """The requirement for exactly this version."""
        return f"{self.name}=={self.version}"


Environment = Mapping[str, Distribution]
"""Distributions by normalised name, sorted."""


def installed(paths: Iterable[str] | None = None) -> Environment:
    """Return the distributions of this process, or of the directories `paths`; of duplicates, the one that is
    imported.
    """
    environment: dict[str, Distribution] = {}
    everything = (
        importlib.metadata.distributions() if paths is None else importlib.metadata.distributions(path=list(paths))
    )
    for recorded in everything:
        distribution = _of(recorded)
        if distribution is not None:
            environment.setdefault(distribution.name, distribution)
    return _sorted(_with_requests(environment))


def installed_in(tree: Tree, below: str = "") -> Environment:
    """Return the distributions in the files of an image, without running anything in it.

    `below` is the directory of one environment, such as `opt/env`, if others must not count.
    """
    environment: dict[str, Distribution] = {}
    for folder in _libraries(tree, below):
        for entry in tree.children(folder):
            for path in (entry.path, f"{entry.path}/METADATA", f"{entry.path}/PKG-INFO"):
                file = tree.get(path) if _METADATA.search(path) else None
                if file is not None and file.is_file and file.size <= _LARGEST:
                    text = tree.read(file).decode("utf-8", "replace")
                    requested = tree.get(f"{entry.path}/REQUESTED") is not None
                    distribution = distribution_of(text, requested=requested, location=f"/{folder}")
                    if distribution is not None:
                        environment.setdefault(distribution.name, distribution)
    return _sorted(environment)


def _libraries(tree: Tree, below: str) -> Iterator[str]:
    """Return the module directories, those of a virtual environment before the system's."""
    folders = [entry.path for entry in tree.walk(below) if entry.is_dir and _LIBRARY.search(entry.path)]
    yield from sorted(folders, key=lambda path: (path.startswith("usr/"), path.endswith("/dist-packages"), path))


def normalised(name: str) -> str:
    """Return a name in the form that indexes compare (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _of(recorded: importlib.metadata.Distribution) -> Distribution | None:
    text = recorded.read_text("METADATA") or recorded.read_text("PKG-INFO")
    if not text:  # an egg-info that is a single file
        text = str(recorded.metadata) if recorded.metadata else ""
    return distribution_of(
        text,
        requested=recorded.read_text("REQUESTED") is not None,
        installer=(recorded.read_text("INSTALLER") or "").strip(),
        origin=_origin(recorded.read_text("direct_url.json") or ""),
        location=str(recorded.locate_file("")),
    )


def distribution_of(text: str, **fields: Any) -> Distribution | None:
    """Return the distribution in a metadata file; None for one without a name or a version."""
    headers = email.parser.HeaderParser().parsestr(text)
    name, version = str(headers.get("Name", "")).strip(), str(headers.get("Version", "")).strip()
    if not re.fullmatch(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", name) or not version:
        return None
    requires = tuple(str(value) for value in headers.get_all("Requires-Dist", []))
    return Distribution(normalised(name), version, requires=requires, **fields)


class _Document(msgspec.Struct):
    url: str
    dir_info: dict[str, Any] = {}
    vcs_info: dict[str, str] = {}
    archive_info: dict[str, Any] = {}
    subdirectory: str = ""


def _origin(text: str) -> Origin | None:
    try:
        document = msgspec.json.decode(text, type=_Document)
    except msgspec.DecodeError:
        return None
    hashes: dict[str, str] = dict(document.archive_info.get("hashes") or {})
    if not hashes and "=" in str(document.archive_info.get("hash", "")):
        algorithm, _, value = str(document.archive_info["hash"]).partition("=")
        hashes = {algorithm: value}
    return Origin(
        document.url,
        editable=document.dir_info.get("editable") is True,
        vcs=document.vcs_info.get("vcs", ""),
        commit=document.vcs_info.get("commit_id", ""),
        hashes=hashes,
        subdirectory=document.subdirectory,
    )


def _with_requests(environment: dict[str, Distribution]) -> dict[str, Distribution]:
    """Mark distributions that no other needs as requested, where no installer recorded that."""
    if any(distribution.requested for distribution in environment.values()):
        return environment
    dependencies = {
        normalised(match[0])
        for distribution in environment.values()
        for text in distribution.requires
        if (match := _NAME.match(text))
    }
    return {
        name: distribution if name in dependencies else msgspec.structs.replace(distribution, requested=True)
        for name, distribution in environment.items()
    }


_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?")


def _sorted(environment: dict[str, Distribution]) -> Environment:
    return dict(sorted(environment.items()))


def conda_prefix() -> Path | None:
    """Return the prefix of this process's conda environment, or None."""
    import sys

    prefix = Path(sys.prefix)
    return prefix if (prefix / "conda-meta").is_dir() else None
