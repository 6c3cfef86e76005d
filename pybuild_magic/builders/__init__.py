"""The builders: who solves a request. One is built in; what a builder is, and choosing one by name."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..cancel import Cancel
from ..errors import UnsupportedError, nearest
from ..oci.blobs import Blobs
from ..request.solve_request import SolveRequest
from ..session import Session
from ..status.messages import SolveStatus, StatusSink
from ..store import Entry

if TYPE_CHECKING:
    from ..store.history import HistoryRecord
    from ..store.usage import DiskUsage, Pruned
    from .buildkit.address import Address
    from .embedded.builder import EmbeddedBuilder

EMBEDDED = "embedded"


@dataclass(frozen=True)
class SolveResponse:
    """What a builder answers when a request is solved."""

    exporter_response: dict[str, str] = field(default_factory=dict[str, str])
    """`containerimage.digest`, `containerimage.config.digest`, `containerimage.descriptor` (base64), `image.name`."""
    read_blob: Callable[[str], bytes] | None = None
    """Reads a manifest, index or config of the result by digest; None when the builder cannot."""
    blobs: Blobs | None = None
    """All that the result consists of, layers too, fetched when it is asked for; None when the builder cannot."""
    files: Iterable[Entry] | None = None
    """The files of the result, walked anew each time it is iterated; None when the builder does not say."""


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
        """What the builder keeps, and how much room it takes."""
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
        """The last builds, the newest first."""
        ...

    def replay(self, record: HistoryRecord) -> Iterable[SolveStatus]:
        """The status stream of a build of the history, again. Raises `StoreError` when it was not kept."""
        ...


_embedded: EmbeddedBuilder | None = None
_lock = threading.Lock()


def embedded_builder() -> EmbeddedBuilder:
    """The embedded builder of this process, on the user's store."""
    global _embedded
    from ..store.store import default_root
    from .embedded.builder import EmbeddedBuilder

    with _lock:
        if _embedded is None or _embedded.store.root != default_root():
            _embedded = EmbeddedBuilder()
        return _embedded


_used = ""
_daemons: dict[Address, Builder] = {}


def choose(name: str = "") -> Builder:
    """The builder called `name`: `embedded`, a builder of buildx, a context of Docker, or an address.

    For "" it is the one that `use` has named, else BUILDX_BUILDER's, BUILDKIT_HOST's, else the embedded one. Nothing
    is connected to yet. Raises `UnsupportedError` for a name that nobody knows, `UsageError` for a bad address.
    """
    name = name or default_name()
    if name == EMBEDDED:
        return embedded_builder()
    from .buildkit.dockerconfig import DockerConfig
    from .settings import settings

    address = DockerConfig().find(name, settings().tls)
    if address is None:
        from .buildkit.discover import names

        known = [EMBEDDED, *names()]
        near = nearest(name, known)
        raise UnsupportedError(
            f"There is no builder {name!r}.",
            hint=f"Did you mean {near}?" if near else "%build builders lists them; an address is tcp://HOST:PORT.",
        )
    with _lock:
        if address not in _daemons:
            from .buildkit.builder import BuildKitBuilder

            _daemons[address] = BuildKitBuilder(name, address)
        return _daemons[address]


def default_name() -> str:
    """The builder that is meant when none is named."""
    return _used or os.environ.get("BUILDX_BUILDER") or os.environ.get("BUILDKIT_HOST") or EMBEDDED


def use(name: str) -> Builder:
    """Make `name` the builder of this process when none is named; "" is to choose by the environment again."""
    global _used
    builder = choose(name)
    _used = name
    return builder
