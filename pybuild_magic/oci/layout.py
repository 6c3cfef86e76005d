"""Image layouts: directories with `oci-layout`, `index.json` and `blobs/`, read and written safely.

A layout may come from anywhere, so only checked digests become names of files, and no symlink below its root is
followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from ..errors import SourceError
from ..portable import at
from .descriptor import CONTAINERD_NAME, REF_NAME, Descriptor
from .digest import check_digest
from .manifest import MAX_DOCUMENT, Index, decode_index
from .reference import familiar

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
BLOBS = "blobs"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_NO_LINK = at.O_NOFOLLOW | at.O_CLOEXEC


def blob_path(digest: str) -> str:
    """Return the path of a blob in a layout: `blobs/sha256/<hex>`."""
    algorithm, _, encoded = check_digest(digest).partition(":")
    return f"{BLOBS}/{algorithm}/{encoded}"


def find(index: Index, name: str) -> Descriptor:
    """Return the entry that `name` means: a digest, a tag or a full image name; "" means the only entry.

    Raises SourceError, naming the entries there are.
    """
    entries = index.manifests
    if not name:
        if len({entry.digest for entry in entries}) == 1:
            return entries[0]
        raise SourceError(f"The layout has {len(entries)} images: say which. {_names(index)}")
    digest = name if ":" in name and "/" not in name else ""
    for entry in entries:
        whole = entry.annotations.get(CONTAINERD_NAME, "")
        names = {entry.annotations.get(REF_NAME, ""), whole, familiar(whole) if whole else ""}
        if name in names or entry.digest == digest:
            return entry
    raise SourceError(f"The layout has no image {name!r}. {_names(index)}")


def _names(index: Index) -> str:
    names = [entry.annotations.get(REF_NAME) or entry.digest for entry in index.manifests]
    return f"It has {', '.join(names)}." if names else "It is empty."


class Layout:
    """A layout directory, opened for reading. Raises SourceError when `path` is not a layout."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not self._read(LAYOUT_FILE).strip():
            raise SourceError(f"{path} is not an OCI image layout: its {LAYOUT_FILE} is empty.")

    def index(self) -> Index:
        """Return the index of the layout, which lists its images."""
        return decode_index(self._read(INDEX_FILE))

    def close(self) -> None:
        """Do nothing: a layout keeps no file open."""

    def has(self, digest: str) -> bool:
        """Return whether the blob is here."""
        return self.size(digest) is not None

    def size(self, digest: str) -> int | None:
        """Return the blob's size in bytes, or None when it is not here."""
        try:
            status = os.lstat(self.path / blob_path(digest))
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def open(self, digest: str) -> BinaryIO:
        """Return the blob's content. A symlink is refused."""
        return self._open(blob_path(digest))

    def _read(self, name: str) -> bytes:
        with self._open(name) as file:
            return file.read(MAX_DOCUMENT + 1)

    def _open(self, name: str) -> BinaryIO:
        *parents, last = name.split("/")
        try:
            with contextlib.ExitStack() as stack:
                directory = at.open(self.path, at.O_RDONLY | at.O_DIRECTORY | at.O_CLOEXEC)
                stack.callback(at.close, directory)
                for parent in parents:
                    directory = at.open(parent, at.O_RDONLY | _NO_LINK | at.O_DIRECTORY, dir_fd=directory)
                    stack.callback(at.close, directory)
                handle = at.open(last, at.O_RDONLY | _NO_LINK | at.O_NONBLOCK, dir_fd=directory)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise SourceError(f"{self.path}/{name} is not a regular file.")
            return os.fdopen(handle, "rb")
        except FileNotFoundError:
            raise SourceError(f"{self.path} is not a whole OCI image layout: it has no {name}.") from None
        except OSError as error:
            raise SourceError(f"{self.path}/{name} cannot be read: {error.strerror}.") from error


class LayoutWriter:
    """A layout directory in the making; it is a layout once `finish` has written its index.

    Each blob is written to a temporary file and then renamed, so that a reader never sees part of one. Blobs that an
    existing layout has are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / BLOBS / "sha256").mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def blob(self, digest: str, mode: int = 0o444) -> Generator[BinaryIO | None]:
        """Yield a file to write the blob into, or None when the layout has it."""
        path = blob_path(digest)
        if (self.path / path).is_file() and not (self.path / path).is_symlink():
            yield None
            return
        with self._file(path, mode) as file:
            yield file

    def finish(self, files: dict[str, bytes]) -> None:
        """Write the small files at the root: `oci-layout`, `index.json` and any others."""
        for name, data in files.items():
            with self._file(name, 0o644) as file:
                file.write(data)

    @contextlib.contextmanager
    def _file(self, name: str, mode: int) -> Generator[BinaryIO]:
        target = self.path / name
        partial = target.parent / f".{target.name[:32]}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
        handle = at.open(partial, at.O_WRONLY | at.O_CREAT | at.O_EXCL | _NO_LINK, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                at.fchmod(handle, mode)
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def name_entries(path: Path, descriptor: Descriptor, names: Iterable[tuple[str, str]]) -> None:
    """Give `descriptor` names, (image name or "", tag) each, in a layout's index, replacing entries of these names."""
    try:
        old = Layout(path).index()
    except SourceError:
        old = Index(())
    entries = list(old.manifests)
    for name, tag in names:
        marks = {**({CONTAINERD_NAME: name} if name else {}), REF_NAME: tag}
        entries = [
            entry
            for entry in entries
            if (entry.annotations.get(CONTAINERD_NAME, ""), entry.annotations.get(REF_NAME)) != (name, tag)
        ]
        entries.append(descriptor.annotated(marks))
    index = msgspec.structs.replace(old, manifests=tuple(entries)).encode(indent=False)
    LayoutWriter(path).finish({LAYOUT_FILE: LAYOUT, INDEX_FILE: index})
