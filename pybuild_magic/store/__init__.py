"""The content-addressed store: blobs, layers with their indexes, images and cache records."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .blobfiles import DigestMismatch, Ingest
from .blobs import ContentStore
from .changes import Analysis, Change, changes
from .decompress import compression_of, decompress
from .digests import KnownFiles
from .entry import (
    BLOCK,
    CHAR,
    DIR,
    FIFO,
    FILE,
    HARDLINK,
    NO_XATTRS,
    SYMLINK,
    Entry,
    Span,
    entry_type,
    opaque,
    whiteout,
)
from .files import LayerFiles
from .history import HistoryRecord
from .index import Index
from .layer import Compressed, Layer
from .links import LinkLoopError
from .records import CacheRecord, ImageRecord
from .stopped import StoppedRun
from .store import Store
from .tree import LayerTree, Tree, resolve

if TYPE_CHECKING:
    from .header import TRAILER, padding, tar_header
    from .importer import import_tar, is_tar, read_tar
    from .writer import LayerWriter, LazyContent, rewrite_timestamps, write_layer

__all__ = [
    "BLOCK",
    "CHAR",
    "DIR",
    "FIFO",
    "FILE",
    "HARDLINK",
    "NO_XATTRS",
    "SYMLINK",
    "TRAILER",
    "Analysis",
    "CacheRecord",
    "Change",
    "Compressed",
    "ContentStore",
    "DigestMismatch",
    "Entry",
    "HistoryRecord",
    "ImageRecord",
    "Index",
    "Ingest",
    "KnownFiles",
    "Layer",
    "LayerFiles",
    "LayerTree",
    "LayerWriter",
    "LazyContent",
    "LinkLoopError",
    "Span",
    "StoppedRun",
    "Store",
    "Tree",
    "changes",
    "compression_of",
    "decompress",
    "entry_type",
    "import_tar",
    "is_tar",
    "opaque",
    "padding",
    "read_tar",
    "resolve",
    "rewrite_timestamps",
    "tar_header",
    "whiteout",
    "write_layer",
]

_LATE = {
    **dict.fromkeys(("TRAILER", "padding", "tar_header"), "header"),
    **dict.fromkeys(("import_tar", "is_tar", "read_tar"), "importer"),
    **dict.fromkeys(("LayerWriter", "LazyContent", "rewrite_timestamps", "write_layer"), "writer"),
}
"""The modules that read and write tars, which a run of what is there already does without."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATE[name]}", __name__), name)
