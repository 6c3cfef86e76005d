"""The embedded builder: solves a request in this process, from the Dockerfile to the exporters.

Its store and sandbox also serve runs and kernels, so that solving (`building`) is imported when a build begins.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from ...errors import StoreError
from ...status.messages import SolveStatus, StatusSink
from ...store import Store
from .failed import FailedSteps
from .sandbox import Sandbox

if TYPE_CHECKING:
    from ...cancel import Cancel
    from ...llb.sourcepolicy import Rule
    from ...request.solve_request import SolveRequest
    from ...session import Session
    from ...store.collector import Collector
    from ...store.history import HistoryRecord
    from ...store.usage import DiskUsage, Pruned
    from ..builder import SolveResponse
    from .building import Building
    from .pins import Unlocked


_open = weakref.WeakSet["EmbeddedBuilder"]()
"""The builders of this process and, after a fork, of its parent."""


@atexit.register
def _close_all() -> None:
    """Close what a program left open, so that no directory, lock or cgroup of it is left when it has ended."""
    for builder in list(_open):
        if builder.pid == os.getpid():
            with suppress(Exception):  # the program has ended; what is left is collected later
                builder.close()


class EmbeddedBuilder:
    """Builds in this process. `store` is the user's own by default. It is closed at the end of the process, at the
    latest.
    """

    name = "embedded"
    node = "embedded/embedded"
    driver = "embedded"

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store()
        self.sandbox = Sandbox(self.store)
        self.store.remove_tree = self.sandbox.remove
        self.store.make_room = lambda: self.collector.make_room()
        self.failed = FailedSteps(self.store, self.sandbox)
        self._collector: Collector | None = None
        self._lock = threading.Lock()
        self.pid = os.getpid()
        """The process that made it."""
        _open.add(self)

    @property
    def collector(self) -> Collector:
        """The collector that keeps the store below its limit."""
        from ...store.collector import Collector
        from ..settings import kept_storage

        with self._lock:
            if self._collector is None:
                self._collector = Collector(self.store, kept_storage, lambda: self.sandbox.rootfs.refers)
            return self._collector

    def close(self, *, collect: bool = False) -> None:
        """End the sandbox's helper process and close the store; first `collect` garbage if the builds made it too
        large.
        """
        if collect:
            self.collector.finish()
        if self._collector is not None:
            self._collector.stop()
        self.sandbox.close()
        self.store.close()

    def solve(self, request: SolveRequest, session: Session, status: StatusSink, cancel: Cancel) -> SolveResponse:
        """See `Builder.solve`. The build appears in the store's history as soon as it begins."""
        try:
            self.collector.make_way()
            with self.store.lease(), cancel.bound():
                try:
                    return self._building().solve(request, session, status, cancel)
                finally:
                    self.sandbox.tidy()  # before the lease ends and layers go to the disk: deletions wait for that
        finally:
            self.collector.start()

    def pins(
        self, request: SolveRequest, session: Session, status: StatusSink, cancel: Cancel
    ) -> tuple[list[Rule], list[Unlocked]]:
        """Return rules that pin the present sources of the request's Dockerfile, and the steps that no rule can pin.

        Nothing is built. Raises the same errors as `solve`.
        """
        return self._building().pins(request, session, status, cancel)

    def _building(self) -> Building:
        from .building import Building

        return Building(self.store, self.sandbox, self.failed)

    def disk_usage(self) -> DiskUsage:
        """See `Builder.disk_usage`."""
        from ...store.usage import disk_usage

        return disk_usage(self.store)

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - the flag's name
        until: float | None = None,
        keep_storage: int | None = None,
        filters: Sequence[str] = (),
    ) -> Pruned:
        """See `Builder.prune`."""
        from ...store.usage import prune

        return prune(self.store, all=all, until=until, keep_storage=keep_storage, filters=filters)

    def history(self, limit: int = 50) -> list[HistoryRecord]:
        """See `Builder.history`."""
        return self.store.history.list(limit)

    def duration(self, ref: str) -> float | None:
        """See `Builder.duration`."""
        record = self.store.history.get(ref)
        return record.duration if record else None

    def replay(self, record: HistoryRecord) -> Iterator[SolveStatus]:
        """See `Builder.replay`."""
        if not record.log:
            raise StoreError(f"The build {record.ref[:12]} has no log.")
        for line in self.store.blobs.read(record.log).splitlines():
            yield msgspec.json.decode(line, type=SolveStatus)
