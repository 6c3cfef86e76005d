"""Files of results and of containers, as a front end reads them."""

from __future__ import annotations

import posixpath

from ....golang.filemode import go_mode
from ....net.grpc.rpc import EXHAUSTED, NOT_FOUND, GrpcError
from ....store import DIR, FILE, SYMLINK, Entry, LayerTree
from ....store.links import EscapeError, follow_links
from ....store.tree import resolve
from ...proto import gateway_pb2 as gw
from ...proto.session_pb2 import Stat
from .result import DefinitionError

MAX_MESSAGE = 16 << 20
"""The most bytes of a message, as in containerd's and BuildKit's gRPC servers."""


def find(tree: LayerTree, path: str, verb: str) -> Entry:
    """Return what a path of a result leads to; links are followed as if the result were the root. Raises GrpcError."""
    at = resolve(tree, path)
    return _existing(tree, at, path, verb)


def find_mounted(tree: LayerTree, path: str, verb: str, *, follow: bool = True) -> Entry:
    """Return what an absolute path of a container's mount leads to. Raises GrpcError.

    A link that leads out of the mount is an EscapeError, since other mounts may be there. Without `follow`, a link at
    the end of the path is returned itself.
    """
    if not path.startswith("/"):
        raise DefinitionError(f"can't make {path} relative to /")

    def link_of(at: str) -> str | None:
        entry = tree.get(at)
        link = entry.link if entry is not None and entry.type == SYMLINK else None
        if link is not None and link.startswith("/"):
            raise EscapeError(f"{verb} {path}: path escapes from parent")
        return link

    at = follow_links(posixpath.normpath(path), link_of, follow_last=follow, refuse_escapes=True)
    return _existing(tree, at, path, verb)


def _existing(tree: LayerTree, at: str, path: str, verb: str) -> Entry:
    entry = tree.get(at) if at else Entry("", DIR, mode=0o755)
    if entry is None:
        raise GrpcError(NOT_FOUND, f"{verb} {path}: no such file or directory")
    return entry


def read_file(tree: LayerTree, entry: Entry, request: gw.ReadFileRequest) -> gw.ReadFileResponse:
    """Return a file's content, or the part that is asked for. Raises DefinitionError and GrpcError."""
    if entry.type != FILE:
        raise DefinitionError(f"{request.FilePath} is not a regular file")
    offset, length = 0, entry.size
    if request.HasField("Range"):
        offset, length = request.Range.Offset, request.Range.Length
        if offset < 0 or length < 0:
            raise DefinitionError(f"{request.FilePath} cannot be read from {offset} on")
    length = max(0, min(length, entry.size - offset))
    if length > MAX_MESSAGE:
        raise GrpcError(EXHAUSTED, f"{request.FilePath} has {length} bytes, more than a message holds")
    with tree.open(entry) as file:
        file.seek(min(offset, entry.size))
        return gw.ReadFileResponse(Data=file.read(length))


def list_directory(tree: LayerTree, folder: Entry, request: gw.ReadDirRequest) -> list[Entry]:
    """Return the entries of a directory that are asked for. Raises DefinitionError."""
    from ....golang.patternmatcher import PatternMatcher

    if folder.type != DIR:
        raise DefinitionError(f"{request.DirPath} is not a directory")
    entries = tree.children(folder.path)
    if request.IncludePattern:
        matcher = PatternMatcher([request.IncludePattern])
        entries = [entry for entry in entries if matcher.matches(entry.name)]
    return entries


def stat(entry: Entry) -> Stat:
    """Return a file in fsutil's form, with Go's mode bits."""
    return Stat(
        path=entry.name,
        mode=go_mode(entry.st_mode),
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        modTime=entry.mtime,
        linkname=entry.link,
        devmajor=entry.devmajor,
        devminor=entry.devminor,
        xattrs=dict(entry.xattrs),
    )


def mounted_stat(entry: Entry, name: str) -> Stat:
    """Return a file of a container, of which BuildKit tells neither the owner nor the attributes."""
    return Stat(
        path=name,
        mode=go_mode(entry.st_mode),
        modTime=entry.mtime,
        size=0 if entry.type == DIR else entry.size,
        linkname=entry.link if entry.type == SYMLINK else "",
    )
