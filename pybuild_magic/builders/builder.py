"""A builder: the protocol that the embedded one and BuildKit's share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..cancel import Cancel
from ..oci.blobs import Blobs
from ..request.solve_request import SolveRequest
from ..session import Session
from ..status.messages import SolveStatus, StatusSink
from ..store import Entry
from ..summary import RungSummary

if TYPE_CHECKING:
    from ..store.history import HistoryRecord
    from ..store.usage import DiskUsage, Pruned


@dataclass(frozen=True)
class SolveResponse:
    """The answer of a builder to a request."""

    exporter_response: dict[str, str] = field(default_factory=dict[str, str])
    """`containerimage.digest`, `containerimage.config.digest`, `containerimage.descriptor` (base64), `image.name`."""
    read_blob: Callable[[str], bytes] | None = None
    """Reads a manifest, index or config of the result by digest; None when the builder cannot."""
    blobs: Blobs | None = None
    """All that the result consists of, layers too, fetched when it is asked for; None when the builder cannot."""
    files: Iterable[Entry] | None = None
    """The files of the result, walked anew each time it is iterated; None when the builder does not say."""
    rung: RungSummary | None = None
    """How RUN was run; None when none was, or the builder does not say."""


class Builder(Protocol):
    """Solves requests. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """As `--builder` takes it."""
        ...

    @property
    def driver(self) -> str:
        """`embedded`, or the kind of a real BuildKit as buildx names it: `docker`, `docker-container`, `remote`."""
        ...

    def solve(self, request: SolveRequest, session: Session, status: StatusSink, cancel: Cancel) -> SolveResponse:
        """Do what `request` asks for with what `session` offers, and say so on the way.

        Blocks until it is done. Raises `BuildError`; `Interrupted` within a second of `cancel`.
        """
        ...

    def disk_usage(self) -> DiskUsage:
        """Return the builder's records, and how much room they take."""
        ...

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - the flag's name
        until: float | None = None,
        keep_storage: int | None = None,
        filters: Sequence[str] = (),
    ) -> Pruned:
        """Remove what is kept and not in use, as `docker buildx prune` does."""
        ...

    def history(self, limit: int = 50) -> list[HistoryRecord]:
        """Return the last builds, the newest first."""
        ...

    def replay(self, record: HistoryRecord) -> Iterable[SolveStatus]:
        """Return the status stream of a build of the history, again. Raises `StoreError` when it was not kept."""
        ...
