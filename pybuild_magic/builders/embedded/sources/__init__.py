"""The sources of a build: images, OCI layouts, URLs and Git repositories, each as a snapshot in the store.

Each kind has a module behind one protocol of two questions: the name of the content in the cache, and the content.
Local directories are read by the solver itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ....errors import UnsupportedError
from ....llb.ops import SourceOp
from ....llb.sourcepolicy import Update
from ....status.report import VertexReport
from .context import ResolveMode, SourceContext
from .image import ImageSource, Resolver
from .remote import RemoteLayers

__all__ = [
    "ImageSource",
    "RemoteLayers",
    "ResolveMode",
    "Resolver",
    "Source",
    "SourceContext",
    "open_source",
]


class Source(Protocol):
    """A source of one build. It is used by a single thread; `key` is called before `snapshot` and `revision`."""

    @property
    def revision(self) -> str:
        """The present revision of the source, for a provenance: the digest of an image or a file, or a commit."""
        ...

    def key(self, progress: VertexReport) -> str:
        """Return the key of the content, as exact as possible without fetching more than necessary.

        The same key means the same files, across builds and machines. Raises SourceError and Interrupted.
        """
        ...

    def pin(self, progress: VertexReport) -> Update:
        """Return the source's present revision, in a form that stays the same. Raises SourceError and Interrupted."""
        ...

    def names(self) -> tuple[str, ...]:
        """Return BuildKit's names of the content: see `cache.keys.source_records`. Called after `key`."""
        ...

    def snapshot(self, progress: VertexReport) -> tuple[str, ...]:
        """Return the content in the store: diffIDs, bottom layer first. Raises SourceError, StoreError, Interrupted."""
        ...


def open_source(op: SourceOp, platform: str, context: SourceContext) -> Source:
    """Return the source that `op` names, for `os/architecture[/variant]` (or ""). Opens nothing yet.

    Raises UnsupportedError for a scheme that the embedded builder does not know.
    """
    make = _SCHEMES.get(op.identifier.partition("://")[0].lower())
    if make is None:
        raise UnsupportedError(f"The embedded builder does not support the source {op.identifier!r}.")
    return make(op, platform, context)


def _oci_layout(op: SourceOp, platform: str, context: SourceContext) -> Source:
    from .oci_layout import LayoutSource

    return LayoutSource(op, platform, context)


def _http(op: SourceOp, _: str, context: SourceContext) -> Source:
    from .http import HTTPSource

    return HTTPSource(op, context)


def _git(op: SourceOp, _: str, context: SourceContext) -> Source:
    from .git import GitSource

    return GitSource(op, context)


_SCHEMES: dict[str, Callable[[SourceOp, str, SourceContext], Source]] = {
    "docker-image": ImageSource,
    "oci-layout": _oci_layout,
    "http": _http,
    "https": _http,
    "git": _git,
}
