"""The builder protocol, which the embedded builder and BuildKit's client share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..cancel import Cancel
    from ..oci.blobs import Blobs
    from ..request.solve_request import SolveRequest
    from ..session import Session
    from ..status.messages import SolveStatus, StatusSink
    from ..store import Entry
    from ..store.history import HistoryRecord
    from ..store.usage import DiskUsage, Pruned
    from ..summary import RungSummary


@dataclass(frozen=True)
class SolveResponse:
    """The result of a request, as a builder returns it."""

    exporter_response: dict[str, str] = field(default_factory=dict[str, str])
    """`containerimage.digest`, `containerimage.config.digest`, `containerimage.descriptor` (base64), `image.name`."""
    read_blob: Callable[[str], bytes] | None = None
    """Reads a manifest, index or config of the result by digest; None when the builder cannot."""
    blobs: Blobs | None = None
    """All blobs of the result, including layers, fetched on demand; None when the builder cannot."""
    files: Iterable[Entry] | None = None
    """The files of the result, walked anew at each iteration; None when the builder does not tell."""
    rung: RungSummary | None = None
    """The rung on which RUN ran; None when there was no RUN or the builder does not tell."""
    record: BuildRecord | None = None
    """How the result was made; None for the answer to a question."""


class BuildRecord(Protocol):
    """How a build's results were made, whatever attestations it asked for."""

    def __call__(self, *, steps: bool) -> dict[str, dict[str, Any]]:
        """Return a SLSA 0.2 predicate for each platform, or for a single result under "", while the builder knows it.

        With `steps`, it has `buildConfig` and `metadata`, as `mode=max` has.
        """
        ...


class Builder(Protocol):
    """Solves requests. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """The name that `--builder` takes."""
        ...

    @property
    def node(self) -> str:
        """The builder and its node, `BUILDER/NODE`, as buildx puts them before the ref of a build."""
        ...

    @property
    def driver(self) -> str:
        """`embedded`, or the kind of a real BuildKit as buildx names it: `docker`, `docker-container`, `remote`."""
        ...

    def solve(self, request: SolveRequest, session: Session, status: StatusSink, cancel: Cancel) -> SolveResponse:
        """Solve `request` with the resources of `session`, and report progress.

        Blocks until the end. Raises `BuildError`; `Interrupted` within a second of `cancel`.
        """
        ...

    def disk_usage(self) -> DiskUsage:
        """Return the builder's records, with their sizes."""
        ...

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - the flag's name
        until: float | None = None,
        keep_storage: int | None = None,
        filters: Sequence[str] = (),
    ) -> Pruned:
        """Remove records that are not in use, as `docker buildx prune` does."""
        ...

    def history(self, limit: int = 50) -> list[HistoryRecord]:
        """Return the last builds, newest first."""
        ...

    def duration(self, ref: str) -> float | None:
        """Return how many seconds the history says a build took; None when only asking another machine would tell."""
        ...

    def replay(self, record: HistoryRecord) -> Iterable[SolveStatus]:
        """Return the status stream of an earlier build again. Raises `StoreError` when it was not kept."""
        ...
