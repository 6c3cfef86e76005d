"""The trees that a notebook keeps of a result: all entries of a small image, the largest directories of a large one.

A tree is kept as the kernel sends it to a page: in columns, compressed. Where entries of a directory do not fit, the
directory has one entry of the type `REST` instead, which counts them.
"""

from __future__ import annotations

import base64
import threading
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush, nlargest

import msgspec

from ..errors import BuildError
from ..store import DIR, Entry
from ..summary import FileSummary, ImageSummary, ManifestSummary, OutputSummary, Summary, TreeSummary
from .bounds import LIMIT as DOCUMENT
from .bounds import bound
from .columns import columns_of
from .contents import Contents, Marked
from .owners import Owners, owners_of, with_owners

REST = "+"
"""The type of the entry that stands for the entries of its directory that are not kept; its name says how many."""
LIMIT = 90_000
"""The most bytes that all trees of a document may take together."""
_HEAD = 120
"""Bytes of a tree besides its columns."""
_ENTRY = 4
"""The fewest bytes that an entry takes when compressed."""
_QUICK = 60_000
"""The most entries that are read while a cell waits for its result."""
_IMAGES = 8
"""How many images' trees are kept, each of at most `LIMIT` bytes."""
_LEAST = 1_000
"""Bytes below which a cut tree is not worth keeping."""


class Listings:
    """The trees of a result, each of which is read once, however many documents it is for."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self._entries: dict[tuple[str, str], list[Marked]] = {}
        self._owners: dict[str, Owners] = {}

    def entries(self, of: str, platform: str) -> list[Marked]:
        """Return all entries of a tree; [] if it cannot be listed at once."""
        found = self._entries.get((of, platform))
        if found is None:
            found = self._entries[of, platform] = _entries(self.contents, of, platform)
        return found

    def owners(self, manifest: ManifestSummary) -> Owners:
        """Return the names of the owners of an image's files, as far as they can be read at once.

        Raises BuildError when a layer cannot be fetched.
        """
        found = self._owners.get(manifest.digest)
        if found is None:
            found = self._owners[manifest.digest] = owners_of(self.contents.tree(manifest), quick=True)
        return found


def document_of(summary: Summary, contents: Contents | Listings | None) -> Summary:
    """Return a result as a notebook keeps it: the bounded summary and, from `contents`, the trees that fit."""
    if contents is None:
        return bound(summary)
    listings = Listings(contents) if isinstance(contents, Contents) else contents
    bare = tuple(msgspec.structs.replace(output, files=(), more_files=0) for output in summary.outputs)
    named = _with_owners(summary.image, listings) if summary.image else None
    small = bound(msgspec.structs.replace(summary, outputs=bare, image=named))
    keeper = _Keeper(listings, min(LIMIT, DOCUMENT - len(msgspec.json.encode(small))))
    for number, output in enumerate(summary.outputs):
        keeper.output(number, output)
    for manifest in summary.image.manifests if summary.image else ():
        keeper.image(manifest)
    return msgspec.structs.replace(small, trees=tuple(keeper.trees))


def _with_owners(image: ImageSummary, listings: Listings) -> ImageSummary:
    """Return the image with the names of owners, where these can be read at once."""
    manifests: list[ManifestSummary] = []
    for manifest in image.manifests:
        try:
            at_hand = manifest.layers and listings.contents.is_at_hand(manifest, _QUICK)
            manifests.append(with_owners(manifest, listings.owners(manifest)) if at_hand else manifest)
        except BuildError:
            manifests.append(manifest)
    return msgspec.structs.replace(image, manifests=tuple(manifests))


class ImageFiles(msgspec.Struct, frozen=True):
    """The root file system of an image for a page without a kernel."""

    platform: str
    entries: Sequence[Marked]
    owners: Owners


def image_files(image: ImageSummary, listings: Listings, most: int = _QUICK) -> list[ImageFiles]:
    """Return the trees of the image's platforms whose layers are at hand and have at most `most` entries."""
    trees: list[ImageFiles] = []
    for manifest in image.manifests:
        try:
            if manifest.layers and listings.contents.is_at_hand(manifest, most):
                entries = listings.entries("image", manifest.platform)
                trees.append(ImageFiles(manifest.platform, entries, listings.owners(manifest)))
        except BuildError:
            continue  # the page does without
    return trees


class _Keeper:
    """Keeps trees as long as there is room."""

    def __init__(self, listings: Listings, room: int) -> None:
        self.trees: list[TreeSummary] = []
        self._listings = listings
        self._room = room

    def _take(self, tree: TreeSummary | None) -> None:
        if tree is not None:
            self.trees.append(tree)
            self._room -= _size(tree)

    def output(self, number: int, output: OutputSummary) -> None:
        """Keep the tree of an output; for one that takes long to list, only the files that its summary has."""
        if not output.files:
            return
        of = f"output:{number}"
        entries = self._listings.entries(of, "")
        listed = entries or [("", _entry(file)) for file in output.files]
        tree = _packed(of, "", listed, self._room - _HEAD)
        if tree is not None and not entries:
            tree = msgspec.structs.replace(tree, more=tree.more + output.more_files)
        self._take(tree)

    def image(self, manifest: ManifestSummary) -> None:
        """Keep the changes of each layer, which a page merges into the image's tree.

        If there is no room for all of them, keep the image's tree and the changes of some layers, each cut to fit.
        """
        if not manifest.layers or not self._listings.contents.is_at_hand(manifest, _QUICK):
            return
        for tree in _images.get(self._listings, manifest, self._room):
            self._take(tree)


class _ImageTrees:
    """The trees of the images that were shown last: a build from the cache nearly always shows one of them."""

    def __init__(self) -> None:
        self._trees: dict[tuple[str, tuple[str, ...], int], list[TreeSummary]] = {}
        self._lock = threading.Lock()

    def get(self, listings: Listings, manifest: ManifestSummary, room: int) -> list[TreeSummary]:
        """Return what `_image_trees` does."""
        key = manifest.platform, tuple(layer.diff_id for layer in manifest.layers), room
        with self._lock:
            trees = self._trees.get(key)
        if trees is None:
            listed = {f"layer:{diff_id}": listings.entries(f"layer:{diff_id}", manifest.platform) for diff_id in key[1]}
            trees = _image_trees(listings, manifest.platform, listed, room)
            count = listings.contents.store.entry_count
            if all(listed[f"layer:{diff_id}"] or not count(diff_id) for diff_id in key[1]):  # else one was not listed
                with self._lock:
                    self._trees[key] = trees
                    while len(self._trees) > _IMAGES:
                        del self._trees[next(iter(self._trees))]
        return trees


_images = _ImageTrees()


def _image_trees(
    listings: Listings, platform: str, listed: Mapping[str, Sequence[Marked]], room: int
) -> list[TreeSummary]:
    """Return the trees of the layers in at most `room` bytes, or that of the image and of some layers, each cut to
    fit.
    """
    if sum(map(len, listed.values())) * _ENTRY <= room:
        whole = [_pack(of, platform, entries) for of, entries in listed.items()]
        if sum(map(_size, whole)) <= room:
            return whole
    trees: list[TreeSummary] = []
    cut = [("image", listings.entries("image", platform), room // 2)]
    cut += [(of, listed[of], room) for of in sorted(listed, key=lambda of: len(listed[of]))]
    for of, entries, most in cut:
        tree = _packed(of, platform, entries, min(most, room - _HEAD))
        if tree is not None:
            trees.append(tree)
            room -= _size(tree)
    return trees


def _size(tree: TreeSummary) -> int:
    """Return the bytes of a tree in a document, with its names and quotes."""
    return len(tree.columns) + _HEAD


def _entry(file: FileSummary) -> Entry:
    return Entry(file.path, file.type, file.mode, file.uid, file.gid, size=file.size, link=file.link)


def _entries(contents: Contents, of: str, platform: str) -> list[Marked]:
    """Return all entries of a tree; [] if it cannot be listed at once."""
    entries: list[Marked] = []
    try:
        for marked in contents.view(of, platform).entries():
            entries.append(marked)
            if len(entries) > _QUICK:
                return []
    except (BuildError, OSError):
        return []
    return entries


def _packed(of: str, platform: str, entries: Sequence[Marked], room: int) -> TreeSummary | None:
    """Return a tree in at most `room` bytes, cut if need be; None when it is empty or there is too little room."""
    limit = min(len(entries), room // _ENTRY)
    while limit and room >= _LEAST:
        tree = _pack(of, platform, entries, limit)
        if len(tree.columns) <= room:
            return tree
        limit = min(limit // 2, int(limit * 1.1 * room / len(tree.columns)))
    return None


def _pack(of: str, platform: str, entries: Sequence[Marked], limit: int | None = None) -> TreeSummary:
    selected = entries if limit is None or limit >= len(entries) else heaviest(entries, limit)
    packed = zlib.compress(msgspec.json.encode(columns_of(selected)), 9)
    listed = sum(entry.type != REST for _, entry in selected)
    return TreeSummary(
        of=of,
        platform=platform,
        entries=len(entries),
        more=len(entries) - listed,
        columns=base64.b64encode(packed).decode(),
    )


def heaviest(entries: Sequence[Marked], limit: int) -> list[Marked]:
    """Return about `limit` entries: directories are expanded in order of size, and the rest of each is counted."""
    inside: defaultdict[str, list[Marked]] = defaultdict(list)
    for marked in entries:
        inside[marked[1].path.rpartition("/")[0]].append(marked)
    # By directory: bytes and number of all entries below it. The directory itself may have no entry.
    bytes_: defaultdict[str, int] = defaultdict(int)
    counts: defaultdict[str, int] = defaultdict(int)
    for folder, members in inside.items():
        size = sum(entry.size for _, entry in members)
        above = folder
        while True:
            bytes_[above] += size
            counts[above] += len(members)
            if not above:
                break
            above = above.rpartition("/")[0]
    below: defaultdict[str, set[str]] = defaultdict(set)
    for folder in counts:
        if folder:
            below[folder.rpartition("/")[0]].add(folder)

    selected: list[Marked] = []
    heap: list[tuple[int, str]] = [(-bytes_[""], "")]
    room = limit
    rests: list[Marked] = []
    while heap:
        _, folder = heappop(heap)
        members, folders = inside[folder], below[folder]
        # Each directory that is listed needs room for one more entry, which counts its content.
        if len(members) + len(folders) <= room:
            selected += members
            room -= len(members) + len(folders)
            for name in folders:
                heappush(heap, (-bytes_[name], name))
        else:
            files = [marked for marked in members if marked[1].type != DIR]
            largest = nlargest(room // 4, files, lambda marked: marked[1].size)
            selected += largest
            room -= len(largest)
            size = sum(entry.size for _, entry in largest)
            rests.append(_rest(folder, counts[folder] - len(largest), bytes_[folder] - size))
    return sorted(
        [*selected, *rests],
        key=lambda marked: marked[1].path.split("/"),
    )


def _rest(folder: str, count: int, size: int) -> Marked:
    name = f"{count:,} more {'entry' if count == 1 else 'entries'}"
    return "", Entry(f"{folder}/{name}" if folder else name, REST, 0, size=size)
