"""A BuildKit daemon as a builder, with the same request, session, status and response as the embedded builder."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...cancel import Cancel
from ...errors import BuildError, DaemonError, ExportError, SourceError, SourceRange, UnsupportedError
from ...net.grpc.rpc import CANCELLED, UNAVAILABLE, ClientCall, GrpcError
from ...request.parts import DOCKERFILE, RESOURCES
from ...request.solve_request import SolveRequest
from ...session import DirSink, FileSink, Session
from ...status.messages import SolveStatus, StatusSink
from ...status.trace import LastLines
from ...store import Entry
from ...store.entry import FILE, HARDLINK
from ...store.tarread import TarFeed, members
from ..builder import SolveResponse
from ..failures import details, message_of, place_of, solve_error
from ..proto import control_pb2 as pb
from ..settings import settings
from . import convert, plan
from .address import Address
from .connect import Connection, Pool
from .gateway import RESOURCES_CAPABILITY, Conversation
from .images import ResultBlobs
from .load import Loader
from .record import DaemonRecord
from .session.server import SessionServer

if TYPE_CHECKING:
    from ...store.history import HistoryRecord
    from ...store.usage import DiskUsage, Pruned

_TICK = 0.2
_STATUS_SECONDS = 5.0
"""How long the status stream may continue after the solve has ended."""
_LOG_LINES = 30
_CANCEL_SECONDS = 0.7
"""How long an interrupted build waits for the daemon's last status before it ends regardless."""
_NO_SCANNER = (
    "This image is the scanner of --sbom: name one that the builder has or can pull with "
    "--sbom=generator=IMAGE, or leave --sbom out."
)
_CONTAINERD_LABEL = "org.mobyproject.buildkit.worker.snapshotter"


class BuildKitBuilder:
    """A daemon at an address. It connects on first use, and stays connected while it is in use."""

    def __init__(self, name: str, address: Address) -> None:
        self.name = name
        self.node = address.node or f"{address.driver}/{address.driver}"
        self.driver = address.driver
        self.address = address
        self._pool = Pool(lambda: Connection(address, settings().connect_timeout))

    def solve(self, request: SolveRequest, session: Session, status: StatusSink, cancel: Cancel) -> SolveResponse:
        """See `Builder.solve`. Any number of builds at once share one connection."""
        cancel.check()
        with self._pool.connection() as connection:
            daemon = self._daemon(connection)
            loader = Loader()
            planned = plan.make(request, session, daemon, loader.archive_type)
            try:
                if planned.load:
                    planned.sinks[planned.load] = FileSink(loader.open(request))
                build = _Build(connection, planned, session, status, cancel)
                response = build.run()
                planned.finish(response)
                if planned.load:
                    loader.finish()
            finally:
                loader.close()
                planned.close()
            blobs = ResultBlobs(self._pool, daemon, planned, session, response)
            if digest := response.get("containerimage.digest"):
                blobs.prefetch(connection, digest)
            record = None if "requestid" in request.frontend_attrs else DaemonRecord(connection, request.ref)
            return SolveResponse(response, blobs.read, blobs, build.files(request), record=record)

    def _daemon(self, connection: Connection) -> plan.Daemon:
        store = any(_CONTAINERD_LABEL in worker.Labels for worker in connection.workers)
        return plan.Daemon(self.name, self.driver, connection.version, store)

    def disk_usage(self) -> DiskUsage:
        """See `Builder.disk_usage`."""
        with self._pool.connection() as connection:
            try:
                answer = connection.unary("DiskUsage", pb.DiskUsageRequest(), pb.DiskUsageResponse, timeout=300)
            except GrpcError as error:
                raise connection.describe(error) from error
            return convert.disk_usage(answer.record)

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002 - the flag's name
        until: float | None = None,
        keep_storage: int | None = None,
        filters: Sequence[str] = (),
    ) -> Pruned:
        """See `Builder.prune`."""
        request = pb.PruneRequest(
            all=all,
            filter=list(filters),
            keepDuration=int((until or 0) * 1e9),
            reservedSpace=keep_storage or 0,
        )
        with self._pool.connection() as connection:
            return convert.pruned(self._stream(connection, "Prune", request, pb.UsageRecord, 3600))

    def history(self, limit: int = 50) -> list[HistoryRecord]:
        """See `Builder.history`."""
        request = pb.BuildHistoryRequest(EarlyExit=True, Limit=limit)
        with self._pool.connection() as connection:
            records: dict[str, pb.BuildHistoryRecord] = {}
            for event in self._stream(connection, "ListenBuildHistory", request, pb.BuildHistoryEvent, 60):
                records[event.record.Ref] = event.record
        newest = sorted(map(convert.history, records.values()), key=lambda record: -record.created)
        return newest[:limit]

    def duration(self, ref: str) -> float | None:  # noqa: ARG002
        """See `Builder.duration`."""
        return None

    def replay(self, record: HistoryRecord) -> Iterator[SolveStatus]:
        """See `Builder.replay`."""
        with self._pool.connection() as connection:
            request = pb.StatusRequest(Ref=record.ref)
            for message in self._stream(connection, "Status", request, pb.StatusResponse, 60):
                yield convert.status(message)

    def _stream(self, connection: Connection, method: str, request: Any, answer: Any, timeout: float) -> Iterator[Any]:
        try:
            yield from connection.stream(method, request, answer, timeout)
        except GrpcError as error:
            if error.code == UNAVAILABLE:
                raise connection.describe(error) from error
            raise BuildError(message_of(error)) from error


class _Build:
    """A single solve: its session, the status that is passed on, and its possible endings."""

    def __init__(
        self, connection: Connection, planned: plan.SolvePlan, session: Session, status: StatusSink, cancel: Cancel
    ) -> None:
        self._connection = connection
        self._request = planned.request
        self._status = status
        self._cancel = cancel
        session = self._session = _with_sinks(session, planned)
        self._server = SessionServer(
            session,
            cancel,
            shared_key=planned.shared_key,
            stores=planned.stores,
            uploads=planned.uploads,
            modes=planned.modes,
        )
        self._sinks = planned.sinks
        self._talk: Conversation | None = None
        self._logs: dict[str, LastLines] = {}
        self._names: dict[str, str] = {}
        """The names of the steps, by digest."""
        self._cut = ""
        """The reason why the daemon is considered gone before it has answered."""

    def run(self) -> dict[str, str]:
        """Solve. Whatever the outcome, nothing of the build is left running. Raises BuildError, DaemonError and
        Interrupted.
        """
        try:
            wire = self._connection.session(self._server.metadata)
            self._server.start(wire, self._session_ended)
            self._check_resources()
            request, self._talk = self._request, self._conversation()
            if self._talk is not None:
                request = pb.SolveRequest(Ref=request.Ref, Session=request.Session, Internal=True)
            call = self._connection.start("Solve", request)
            stream = self._connection.start("Status", pb.StatusRequest(Ref=self._request.Ref))
            if self._talk is not None:
                self._talk.start()
        except GrpcError as error:
            self._server.close()
            raise self._gone(message_of(error)) from error
        except BaseException:
            self._server.close()
            raise
        watcher = threading.Thread(target=self._watch, args=(stream,), name="pybuild-status", daemon=True)
        watcher.start()
        try:
            with self._cancel.on_cancel(call.cancel):
                self._wait(call)
            self._server.close()
            watcher.join(_CANCEL_SECONDS if self._cancel.cancelled else _STATUS_SECONDS)
            return self._outcome(call)
        finally:
            call.cancel()
            self._server.close()
            stream.cancel()
            watcher.join(_STATUS_SECONDS)

    def _conversation(self) -> Conversation | None:
        attrs = dict(self._request.FrontendAttrs)
        if "requestid" not in attrs:
            return None
        return Conversation(self._connection, self._request.Ref, self._request.Frontend, attrs)

    def _check_resources(self) -> None:
        """Raise UnsupportedError for limits that the daemon does not know, because it would ignore them."""
        if not any(name in self._request.FrontendAttrs for name in RESOURCES.values()):
            return
        ref = f"{self._request.Ref}-capabilities"
        request = pb.SolveRequest(Ref=ref, Session=self._request.Session, Internal=True)
        talk = Conversation(self._connection, ref, "", {})
        call = self._connection.start("Solve", request)
        try:
            talk.start()
            while not talk.join(_TICK):
                self._cancel.check()
        finally:
            call.cancel()
        if RESOURCES_CAPABILITY not in talk.capabilities:
            raise UnsupportedError(
                f"The builder {self._connection.address.shown} (BuildKit {self._connection.version or 'before 0.11'}) "
                "does not support resource limits for RUN.",
                hint="Leave --resource out, or use a newer BuildKit.",
            )

    def _wait(self, call: ClientCall) -> None:
        """Wait until the solve has ended, by itself or because the session is gone."""
        while not call.wait(_TICK):
            if self._server.silent > settings().silence_timeout:
                self._cut = "it stopped responding"
                call.cancel()
            if self._cut and not call.wait(_CANCEL_SECONDS):
                call.cancel()

    def _session_ended(self) -> None:
        self._cut = self._cut or str(self._server.broken)

    def _outcome(self, call: ClientCall) -> dict[str, str]:
        self._cancel.check()
        failure = self._server.failure
        if self._talk is not None:
            self._talk.join()
            if self._talk.error is not None and failure is None:
                raise solve_error(self._talk.error, {})
        try:
            response = pb.SolveResponse.FromString(call.answer(0))
        except GrpcError as error:
            if failure is not None:
                raise failure from error
            if error.code == CANCELLED and self._cut:
                raise self._gone(self._cut) from error
            if error.code == UNAVAILABLE:
                raise self._gone(message_of(error)) from error
            failed = solve_error(error, {digest: lines.lines() for digest, lines in self._logs.items()})
            failed.at(self._place(details(error).vertex))
            if isinstance(failed, SourceError) and not failed.location and "attest:sbom" in self._request.FrontendAttrs:
                failed.hint = _NO_SCANNER
            raise failed from error
        if failure is not None and isinstance(failure, ExportError):
            raise failure
        for exporter in self._request.Exporters:
            sent = exporter.Type in ("tar", "local") or isinstance(self._sinks.get(exporter.ID), FileSink)
            if sent and exporter.ID not in self._server.files.complete:
                raise ExportError(f"The result of type={exporter.Type} from the builder is incomplete.")
        self._server.files.finish()
        return {**response.ExporterResponse, **(self._talk.answer if self._talk else {})}

    def _place(self, vertex: str) -> SourceRange | None:
        """Return the position of a step in the Dockerfile, for an error that has none."""
        directory, name = self._session.local_dirs.get("dockerfile"), self._names.get(vertex)
        if directory is None or name is None:
            return None
        filename = dict(self._request.FrontendAttrs).get("filename", DOCKERFILE)
        try:
            with directory.open(filename) as file:
                return place_of(name, file.read().decode(), filename)
        except (BuildError, OSError, UnicodeDecodeError):
            return None

    def _gone(self, reason: str) -> DaemonError:
        name = self._connection.address.shown
        return DaemonError(
            f"The connection to the builder {name} broke during the build: {reason.rstrip('.')}.",
            hint="Build again: finished steps are in the builder's cache.",
        )

    def _watch(self, stream: ClientCall) -> None:
        try:
            for message in stream.messages():
                status = convert.status(pb.StatusResponse.FromString(message))
                self._keep(status)
                self._status(status)
        except GrpcError:
            return  # the solve's own call reports the reason

    def _keep(self, status: SolveStatus) -> None:
        self._names.update((vertex.digest, vertex.name) for vertex in status.vertexes)
        for log in status.logs:
            self._logs.setdefault(log.vertex, LastLines(_LOG_LINES)).add(log.data)

    def files(self, request: SolveRequest) -> Iterable[Entry] | None:
        """Return the files of the first tree that was exported, to a directory or a tar."""
        for entry in request.exporters:
            sink = self._sinks.get(entry.id)
            if isinstance(sink, DirSink) and entry.id in self._server.files.entries:
                return self._server.files.entries[entry.id]
            if entry.type == "tar" and isinstance(sink, FileSink) and sink.path is not None and sink.path.is_file():
                return _TarFiles(sink.path)
        return None


class _TarFiles:
    """The entries of an archive on disk, without contents; a link to a file counts as that file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Entry]:
        sizes: dict[str, int] = {}
        with self._path.open("rb") as file:
            for member in members(TarFeed(file, seek=file.seek)):
                entry = member.entry
                if entry.type == HARDLINK:
                    entry = msgspec.structs.replace(entry, type=FILE, size=sizes.get(entry.link, 0), link="")
                if entry.type == FILE:
                    sizes[entry.path] = entry.size
                yield entry


def _with_sinks(session: Session, planned: plan.SolvePlan) -> Session:
    served = Session(
        local_dirs=session.local_dirs,
        secrets=session.secrets,
        ssh=session.ssh,
        auth=session.auth,
        sinks=planned.sinks,
    )
    served.id = session.id
    return served
