"""The comparison of two images as environments: packages by installer, then files and configs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ..attest.sbom.package import Package
from ..attest.sbom.scan import Unread, scan
from ..builders import embedded_builder
from ..cancel import Cancel
from ..display.difference import render as render_files
from ..display.difference import text as text_of_files
from ..display.markup import Markup, join, tag
from ..display.parts import ROOT, section, style, table
from ..display.terminal import visible
from ..display.words import plural
from ..results.contents import Contents
from ..results.difference import Difference, FileChange
from ..results.difference import compare as compare_files
from ..results.growth import growth_of
from ..results.opening import stored_image
from ..store import BLOCK, CHAR, DIR, FILE, HARDLINK, SYMLINK
from ..summary import FileSummary

_SHOWN = 300
_LISTED = 100_000
"""The most files that are given as values."""
ADDED, REMOVED, NEWER, OLDER, CHANGED = "added", "removed", "newer", "older", "changed"
_KINDS = {"deb": "Debian", "apk": "Alpine", "rpm": "RPM", "pypi": "Python", "conda": "conda", "npm": "npm", "cran": "R"}
"""Names of the types of package URLs."""
_TYPES = {FILE: "file", HARDLINK: "file", SYMLINK: "link", CHAR: "device", BLOCK: "device", DIR: "directory"}
_PIECE = re.compile(r"\d+|[A-Za-z]+|~")


class PackageChange(msgspec.Struct, frozen=True, kw_only=True):
    """A package that differs between two images, with all versions in each."""

    kind: str
    """The type of its package URL: `deb`, `pypi`, `conda`, `npm`, …"""
    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def change(self) -> str:
        """`added`, `removed`, `newer` or `older`; `changed` when versions cannot be ordered."""
        if not self.before or not self.after:
            return ADDED if self.after else REMOVED
        if len(self.before) > 1 or len(self.after) > 1:
            return CHANGED
        order = version_order("".join(self.before), "".join(self.after))
        return NEWER if order < 0 else OLDER if order > 0 else CHANGED


class EnvironmentDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The changes from the first image to the second: packages, files and config."""

    packages: tuple[PackageChange, ...]
    """By kind and name."""
    same: int
    """The number of packages with the same versions in both."""
    files: Difference
    unread: tuple[Unread, ...] = ()
    """Files of either image from which packages could not be read."""

    def __bool__(self) -> bool:
        return bool(self.packages or self.files)

    def __repr__(self) -> str:
        return "\n".join([*map(visible, _lines(self)), text_of_files(self.files)])

    def _repr_html_(self) -> str:
        return str(join(_page(self), render_files(self.files)))

    def to_dict(self) -> dict[str, Any]:
        """Return what differs as values of JSON: all packages and values of the config, and the first 100,000 files.

        Sizes are in bytes; what an image does not have is null.
        """
        files = self.files
        return {
            "packages": [{**msgspec.to_builtins(change), "change": change.change} for change in self.packages],
            "same": self.same,
            "config": msgspec.to_builtins(files.config),
            "places": [{**msgspec.to_builtins(place), "size": place.size} for place in growth_of(files.files)],
            "files": [_file(change) for change in files.files[:_LISTED]],
            "files_total": len(files.files),
            "layers": {"before": files.layers_before, "after": files.layers_after, "shared": files.shared_layers},
            "size": {"before": files.size_before, "after": files.size_after},
            "unread": msgspec.to_builtins(self.unread),
        }


def _file(change: FileChange) -> dict[str, Any]:
    names = {"A": ADDED, "M": CHANGED, "D": REMOVED}
    old = change.before if change.kind == "M" else change.file if change.kind == "D" else None
    new = None if change.kind == "D" else change.file
    return {
        "change": names[change.kind],
        "path": f"/{change.file.path}",
        "before": None if old is None else _state(old),
        "after": None if new is None else _state(new),
    }


def _state(file: FileSummary) -> dict[str, Any]:
    state = {"type": _TYPES.get(file.type, file.type), "mode": f"{file.mode:04o}", "uid": file.uid, "gid": file.gid}
    return {**state, "size": file.size, **({"link": file.link} if file.link else {})}


def compare_images(old: Contents, new: Contents, platform: str = "") -> EnvironmentDifference:
    """Return the differences between two images, for `platform` or the first platform of each.

    Raises UsageError when one lacks the platform, SourceError and StoreError when layers are unavailable.
    """
    cancel = Cancel()
    packages: list[tuple[Package, ...]] = []
    unread: list[Unread] = []
    for contents in (old, new):
        with contents.store.lease():
            done = scan(contents.store, contents.tree(contents.manifest(platform)), cancel)
        packages.append(done.packages)
        unread += [file for file in done.unread if file not in unread]
    changes, same = compare_packages(*packages)
    files = compare_files(old, new, platform)
    return EnvironmentDifference(packages=changes, same=same, files=files, unread=tuple(unread))


def diff(before: str, after: str, platform: str = "") -> EnvironmentDifference:
    """Return the differences between two images of the store, given by name. Raises as `compare_images`."""
    store = embedded_builder().store
    return compare_images(stored_image(store, before), stored_image(store, after), platform)


def compare_packages(before: Iterable[Package], after: Iterable[Package]) -> tuple[tuple[PackageChange, ...], int]:
    """Return the packages that differ, and the number of those that do not."""
    known: dict[tuple[str, str], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for side, packages in enumerate((before, after)):
        for package in packages:
            known[package.kind, package.name][side].add(package.version)
    changes = [
        PackageChange(kind=kind, name=name, before=tuple(sorted(old)), after=tuple(sorted(new)))
        for (kind, name), (old, new) in sorted(known.items())
        if old != new
    ]
    return tuple(changes), len(known) - len(changes)


def version_order(left: str, right: str) -> int:
    """Return a negative number, 0 or a positive one as `left` sorts before, with or after `right`.

    Numbers and words are compared in turn, with a tilde before everything else, as in Debian's policy; a word sorts
    before the end of a version only if it marks a preview (`1.0rc1`).
    """
    first, second = _key(left), _key(right)
    return (first > second) - (first < second)


def _key(version: str) -> list[tuple[int, int, str]]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    key = [(4, int(epoch) if epoch.isdecimal() else 0, "")]
    for piece in _PIECE.findall(rest):
        if piece.isdecimal():
            key.append((3, int(piece), ""))
        elif piece == "~":
            key.append((-1, 0, ""))
        else:
            preview = piece.lower() in ("a", "b", "c", "rc", "alpha", "beta", "dev", "pre", "preview")
            key.append((0 if preview else 2, 0, piece))
    return [*key, (1, 0, "")]


def headline(difference: EnvironmentDifference) -> str:
    """Return the totals: `Packages: 2 added, 1 newer; 104 the same`."""
    if not difference.packages and not difference.same:
        return "Packages: none in either image"
    counts: dict[str, int] = defaultdict(int)
    for change in difference.packages:
        counts[change.change] += 1
    words = [f"{counts[kind]:,} {kind}" for kind in (ADDED, REMOVED, NEWER, OLDER, CHANGED) if counts[kind]]
    return f"Packages: {', '.join([*words, f'{difference.same:,} the same'])}"


def _lines(difference: EnvironmentDifference) -> Iterator[str]:
    yield headline(difference)
    for change in difference.packages[:_SHOWN]:
        head = f"  {change.change:<8}{_kind(change.kind):<8}{change.name}"
        yield f"{head}  {_versions(change.before)} -> {_versions(change.after)}"
    if len(difference.packages) > _SHOWN:
        yield f"  … {len(difference.packages) - _SHOWN:,} more"
    for file in difference.unread[:5]:
        yield f"  /{file.path} {file.reason}: packages may be missing"


def _page(difference: EnvironmentDifference) -> Markup:
    head = tag.p(tag.strong(headline(difference)), cls="pb-head")
    rows = [
        tag.tr(
            tag.td(change.change, cls=f"pb-{_CLASSES[change.change]}"),
            tag.td(tag.strong(change.name), " ", tag.span(_kind(change.kind), cls="pb-note"), cls="pb-text"),
            tag.td(f"{_versions(change.before)} → {_versions(change.after)}", cls="pb-text"),
        )
        for change in difference.packages[:_SHOWN]
    ]
    note = plural(len(difference.packages), "difference")
    if len(difference.packages) > _SHOWN:
        note += f", the first {_SHOWN} shown"
    body = table("Packages", ("Change", "Package", "Versions"), rows)
    part = section("Packages", note, body, is_open=True) if rows else None
    missing = [
        tag.p(f"/{file.path} {file.reason}: packages may be missing.", cls="pb-note") for file in difference.unread[:5]
    ]
    return join(style(), tag.div(head, part, *missing, cls=ROOT))


_CLASSES = {ADDED: "added", REMOVED: "removed", NEWER: "changed", OLDER: "removed", CHANGED: "changed"}


def _kind(kind: str) -> str:
    return _KINDS.get(kind, kind)


def _versions(versions: tuple[str, ...]) -> str:
    return ", ".join(versions) or "(none)"
