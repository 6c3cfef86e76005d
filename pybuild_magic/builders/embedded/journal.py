"""The record of a build in the store's history: its request, its log and its outcome."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import msgspec

from ...errors import Interrupted
from ...request.solve_request import SolveRequest
from ...status.messages import SolveStatus, StatusSink
from ...store import HistoryRecord, Store
from ...store.history import request_of
from ...untrusted.redaction import redact

MAX_LOG = 16 << 20
"""The most bytes kept of a build's log; later output is dropped, but the outcomes of the steps are kept."""


class Journal:
    """A context manager around a build. The log is the status stream as JSON lines, without byte counters."""

    def __init__(self, store: Store, request: SolveRequest) -> None:
        self._store = store
        build_name = request.frontend_attrs.get("build-arg:BUILDKIT_BUILD_NAME")
        name = build_name or next((entry.attrs["name"] for entry in request.exporters if entry.attrs.get("name")), "")
        self._record = HistoryRecord(request.ref, name, time.time(), request=request_of(request.redacted()))
        self._request = request.redacted()
        self._lines: list[bytes] = []
        self._size = 0
        self._full = False
        self._lock = threading.Lock()
        self._response: dict[str, str] = {}

    def tee(self, status: StatusSink) -> StatusSink:
        """Return a sink that records messages and passes them on to `status`."""

        def both(message: SolveStatus) -> None:
            self._keep(message)
            status(message)

        return both

    def _keep(self, message: SolveStatus) -> None:
        if not (message.vertexes or message.logs or message.warnings):
            return
        logs = () if self._full else message.logs
        if logs and self._size > MAX_LOG:
            self._full = True
            notice = f"\n[the rest is not in the history: it keeps {MAX_LOG >> 20} MiB of a build]\n".encode()
            logs = (msgspec.structs.replace(logs[0], data=notice),)
        if not (message.vertexes or logs or message.warnings):
            return
        line = msgspec.json.encode(msgspec.structs.replace(message, statuses=(), logs=logs))
        with self._lock:
            self._lines.append(line)
            self._size += len(line)

    def read(self, dockerfile: str) -> None:
        """Record the text of the Dockerfile, without the credentials of URLs."""
        text = redact(dockerfile).encode("utf-8", "replace").decode()
        self._record = msgspec.structs.replace(self._record, request=request_of(self._request, text))

    def completed(self, response: dict[str, str]) -> None:
        """Record the response, which marks the build as completed."""
        self._response = response

    def __enter__(self) -> Self:
        self._store.history.put(self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        log = self._store.blobs.put(b"\n".join(self._lines)) if self._lines else ""
        self._store.history.put(
            msgspec.structs.replace(
                self._record,
                completed=time.time(),
                status="canceled" if stopped else "error" if error else "completed",
                error=str(error) if error else "",
                result=msgspec.json.encode(self._response),
                log=log,
            )
        )
