"""The store: everything that the embedded builder keeps between builds, in a directory that processes share."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from sqlite3 import Connection

from .. import removal
from ..errors import StoreError
from ..portable import user_path
from .blobfiles import Blob, BlobFiles, blob_path, disk_errors, now
from .blobs import ContentStore
from .cachemounts import CacheMounts
from .changes import Analyses
from .contents import Contents
from .database import Database
from .digests import FileDigests
from .durability import Durability
from .history import History
from .index import Index
from .layer import EMPTY_LAYER, CompressedForms, Layer
from .leases import Leases
from .packed import PackedLayers
from .parts import BlobParts, Recipe, encode
from .private import make_private
from .records import Cache, ImageStore
from .rootfs import RootfsDirs
from .stopped import StoppedRuns
from .tree import LayerTree, Trees
from .uses import Uses

_COUNTED = 4096
"""The most layers whose numbers of entries are remembered."""
_DIRECTORIES = (
    "blobs",
    "blobs/sha256",
    "blobs/sha384",
    "blobs/sha512",
    "ingest",
    "leases",
    "locks",
    "rootfs",
    "cachemounts",
    "volumes",
    "runs",
    "stopped",
    "work",
    "trash",
)
_DATABASE = "store.db"


def default_root() -> Path:
    """Return `PYBUILD_HOME`, or a directory in the user's data directory."""
    if home := os.environ.get("PYBUILD_HOME"):
        return user_path(home).absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("pybuild_magic", appauthor=False))


class Store:
    """A store. Threads may share it, and any number of processes may have the same directory open.

    `root` defaults to `default_root`. `remove_tree` deletes a directory of extracted files; it must be able to delete
    files of subordinate users if the sandbox makes such files. Raises StoreError when the directory cannot be created
    or written, and when others can write to it.
    """

    def __init__(
        self, root: str | os.PathLike[str] | None = None, remove_tree: Callable[[Path], None] | None = None
    ) -> None:
        self.root = Path(root).absolute() if root is not None else default_root()
        self.remove_tree = remove_tree or removal.remove_tree
        self.make_room: Callable[[], bool] = lambda: False
        """Called when the disk is full; returns whether it has freed anything."""
        with disk_errors(self.root, "opening it"):
            make_private(self.root, _DIRECTORIES, _DATABASE)
        self.db = Database(self.root / _DATABASE)
        self.leases = Leases(self.root / "leases")
        self._uses = uses = Uses(self.db, self.leases)
        self._durability = Durability(self.db, partial(blob_path, self.root))
        self._files = files = BlobFiles(self.root, self.db, uses, self._durability, lambda: self.make_room())
        self.parts = BlobParts(self.db, files)
        self.packed = PackedLayers(self.db, files, uses, self.lease)
        self.blobs = ContentStore(files, self.parts, self.packed, uses)
        self.contents = Contents(self.db, uses, self.parts, self.layer)
        self.compressed = CompressedForms(self.db, self.blobs, self.has_layer)
        self.cache = Cache(self.db, uses)
        self.images = ImageStore(self.db, self.blobs)
        self.history = History(self.db)
        self.digests = FileDigests(self.db)
        self.rootfs = RootfsDirs(self.root, self.db, self.leases, uses, self.layer, self._remove_tree)
        self.cachemounts = CacheMounts(self.root, self.db, self._remove_tree)
        self.stopped = StoppedRuns(self.root / "stopped", self.db, self._remove_tree)
        self._trees = Trees(self.blobs, self.layer)
        self.analyses = Analyses(self.layer, self.tree)
        self._entry_counts: dict[str, int] = {}
        self._durability.recover(self.blobs.verify)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Sync everything to the disk, and close the database. The store can be used again afterwards."""
        self._durability.flush()
        self.rootfs.close()
        self.db.close()

    def _remove_tree(self, path: Path) -> None:
        self.remove_tree(path)  # looked up at each call, since it may be replaced

    @contextmanager
    def lease(self) -> Generator[None]:
        """Keep all that this process makes or uses during the block from every garbage collection."""
        with disk_errors(self.root, "taking a lease"):
            self.leases.enter()
        try:
            yield
        finally:
            self.leases.leave()
            if not self.leases.held:
                self._durability.start()

    def layer(self, diff_id: str) -> Layer:
        """Return the layer with this diffID. Raises StoreError when it is not in the store."""
        size = self._uses.mark("layers", "diff_id", diff_id)
        if size is None:
            raise StoreError(f"The store has no layer {diff_id}.")
        return Layer(diff_id, size, self._load_index)

    def has_layer(self, diff_id: str) -> bool:
        """Return whether the layer is there; during a lease, it then stays until the lease ends."""
        return self._uses.mark("layers", "diff_id", diff_id) is not None

    def add_layer(self, tar: Blob, index: Blob, extra: Sequence[Blob] = ()) -> Layer:
        """Publish the finished tar of a layer, with its index and the `extra` blobs that the index refers to."""
        moment = now()
        self._files.publish(
            tar,
            index,
            *extra,
            also=lambda connection: connection.execute(
                "INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET idx = excluded.idx, extra = excluded.extra, last_used = excluded.last_used",
                (tar.digest, tar.size, index.digest, " ".join(blob.digest for blob in extra), moment, moment),
            ),
        )
        return Layer(tar.digest, tar.size, self._load_index)

    def add_layer_in_parts(self, diff_id: str, recipe: Recipe, pack: Blob, index: Blob) -> Layer:
        """Publish a layer in parts: `recipe` tells where its bytes are, and `pack` has those that no other blob has."""
        moment = now()
        recipe_digest = self.blobs.put(encode(recipe))

        def record(connection: Connection) -> None:
            for digest in (recipe_digest, *recipe.blobs):
                if not connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone():
                    raise StoreError(f"The blob {digest} was collected while a layer was made that refers to it.")
            if not connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (diff_id,)).fetchone():
                row = (diff_id, recipe.size, recipe_digest, " ".join(recipe.blobs), moment, moment)
                connection.execute("INSERT OR IGNORE INTO parts VALUES (?, ?, ?, ?, ?, ?)", row)
            connection.execute(
                "INSERT INTO layers VALUES (?, ?, ?, '', ?, ?) ON CONFLICT DO UPDATE "
                "SET idx = excluded.idx, last_used = excluded.last_used",
                (diff_id, recipe.size, index.digest, moment, moment),
            )

        self._files.publish(pack, index, also=record)
        return Layer(diff_id, recipe.size, self._load_index)

    def entry_count(self, diff_id: str) -> int:
        """Return the number of entries of a layer; its index is read for it only once."""
        count = self._entry_counts.get(diff_id)
        if count is None:
            if len(self._entry_counts) >= _COUNTED:
                self._entry_counts.clear()
            count = self._entry_counts[diff_id] = len(self.layer(diff_id).index)
        return count

    def _load_index(self, diff_id: str) -> Index:
        if diff_id == EMPTY_LAYER:
            return Index(())
        try:
            return self._read_index(diff_id)
        except StoreError:
            self._index_again(diff_id)
            return self._read_index(diff_id)

    def _read_index(self, diff_id: str) -> Index:
        rows = self.db.read("SELECT idx FROM layers WHERE diff_id = ?", (diff_id,))
        if not rows:
            raise StoreError(f"The store has no layer {diff_id}.")
        with self.blobs.open(rows[0][0]) as file:
            return Index.decode(file)

    def _index_again(self, diff_id: str) -> None:
        """Make an index again from its tar, after it was lost or was written by another version of the program."""
        from .importer import import_tar

        with self.lease(), self.blobs.open(diff_id) as tar:
            import_tar(self, tar, diff_id=diff_id, name=f"The layer {diff_id}")

    def tree(self, diff_ids: Sequence[str]) -> LayerTree:
        """Return the merged tree of a snapshot, given bottom layer first. Trees of similar snapshots share memory.

        During a lease, the layers stay until it ends. Raises StoreError when a layer is not in the store.
        """
        for diff_id in diff_ids:
            if not self.has_layer(diff_id):
                raise StoreError(f"The store has no layer {diff_id}.")
        return self._trees.get(tuple(diff_ids))
