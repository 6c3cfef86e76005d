"""One build of the embedded builder, from the Dockerfile to the exporters."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from ... import exporters
from ...attest.options import is_attestation_attr, parse_attests
from ...attest.statement import Attestation
from ...cache.imported import CacheLayersError
from ...cancel import Cancel
from ...dockerfile.lower import compile  # noqa: A004 - the front end's verb
from ...dockerfile.lower_options import parse_options
from ...errors import UnsupportedError, UsageError
from ...exporters import ExportContext, SolveResult, TargetResult
from ...exporters.attributes import Values
from ...llb.sourcepolicy import SourcePolicy
from ...request.outputs import EXPORTERS
from ...request.parts import RESOURCES
from ...request.solve_request import ExporterEntry, SolveRequest
from ...session import Session
from ...status.messages import StatusSink
from ...status.report import Reporter
from ...store import Entry, LayerTree, Store
from ..builder import SolveResponse
from .attested import AttestedBuild
from .caches import BuildCaches, CacheReader
from .failed import FailedSteps
from .frontends.imports import CacheImports
from .frontends.runner import BUILT_IN, Frontends
from .journal import Journal
from .sandbox import Sandbox
from .sandbox.limits import NO_LIMITS, Limits, limits_of
from .solver import Solver
from .sources import RemoteLayers, Resolver, SourceContext
from .vertex_result import Provenance, VertexResult

if TYPE_CHECKING:
    from ...llb.sourcepolicy import Rule
    from .frontends.result import FrontendResult
    from .inputs import BuildInputs
    from .pins import Unlocked


class Building:
    """Solves requests with a store and a sandbox; `failed` keeps the steps that fail."""

    def __init__(self, store: Store, sandbox: Sandbox, failed: FailedSteps) -> None:
        self.store = store
        self.sandbox = sandbox
        self.failed = failed

    def solve(self, request: SolveRequest, session: Session, status: StatusSink, cancel: Cancel) -> SolveResponse:
        """See `Builder.solve`."""
        _check_supported(request)
        if "requestid" in request.frontend_attrs:
            return self._call(request, session, status, cancel)
        exports = [
            (entry, exporters.check(entry.type, entry.attrs, session.sinks.get(entry.id)))
            for entry in request.exporters
        ]
        caches = BuildCaches(request)
        with self.store.lease(), Journal(self.store, request) as journal:
            reporter = Reporter(journal.tee(status))
            try:
                response = self._build(request, session, reporter, cancel, exports, caches, journal)
            except CacheLayersError as error:
                caches.give_up(reporter, error)
                response = self._build(request, session, reporter, cancel, exports, caches, journal)
            journal.completed(response.exporter_response)
        return response

    def _build(
        self,
        request: SolveRequest,
        session: Session,
        reporter: Reporter,
        cancel: Cancel,
        exports: Sequence[tuple[ExporterEntry, Values]],
        caches: BuildCaches,
        journal: Journal,
    ) -> SolveResponse:
        attests = parse_attests(request.frontend_attrs)
        limits = limits_of(request.frontend_attrs)
        started = time.time_ns()
        self.failed.forget()
        with ExitStack() as stack:
            resolver = stack.enter_context(closing(self._resolver(request, session, reporter, cancel)))
            sources = SourceContext(self.store, session, cancel, resolver)
            remote = RemoteLayers(self.store, cancel) if _only_pushes(exports) and not attests.sbom else None
            reader = CacheReader(self.store, session, reporter, cancel, stack)
            imported = caches.read(reader)
            with closing(
                Solver(
                    self.store, self.sandbox, session, sources, reporter, cancel, remote, self.failed, limits, imported
                )
            ) as solver:
                imports = None if caches.given_up else CacheImports(request.cache.imports, reader, solver.import_from)
                frontends = self._frontends(request, session, reporter, cancel, resolver, solver, limits, imports)
                definition = frontends.definition()
                lowered = self._lower(frontends, definition)
                journal.read(definition.text)
                edges = [target.edge for target in lowered.targets]
                solved = solver.solve(edges, whole=remote is None or bool(lowered.attestations))
                build = AttestedBuild(request, resolver, solver, lowered, started, self.store, reporter, cancel)
                snapshots = [done.snapshots[0] for done in solved]
                attestations = build.attestations(attests, snapshots)
                caches.collect(solver.solved, edges)
            result = caches.inlined(self._result(lowered, solved, attestations))
            response = self._export(result, exports, session, reporter, cancel, remote)
            response |= caches.write(self.store, session, reporter, cancel, remote)
        snapshot = solved[0].snapshots[0]
        is_remote = remote is not None and any(map(remote.form, snapshot))
        files = None if is_remote else _Files(self.store.tree(snapshot))  # while the lease protects what it needs
        return SolveResponse(response, self.store.blobs.read, files=files, rung=solver.rung, record=build.record)

    def _lower(self, frontends: Frontends, definition: BuildInputs) -> FrontendResult:
        return frontends.solve(definition)

    def _frontends(
        self,
        request: SolveRequest,
        session: Session,
        reporter: Reporter,
        cancel: Cancel,
        resolver: Resolver,
        solver: Solver,
        limits: Limits = NO_LIMITS,
        imports: CacheImports | None = None,
    ) -> Frontends:
        return Frontends(
            request, session, self.store, self.sandbox, reporter, cancel, resolver, solver, limits, imports
        )

    def _resolver(self, request: SolveRequest, session: Session, reporter: Reporter, cancel: Cancel) -> Resolver:
        return Resolver(self.store, session, cancel, reporter, _mode(request), _policy(request))

    def _call(self, request: SolveRequest, session: Session, status: StatusSink, cancel: Cancel) -> SolveResponse:
        """Answer a question about the Dockerfile. Nothing is built, and nothing is added to the history."""
        attrs, reporter = request.frontend_attrs, Reporter(status)
        with self.store.lease(), closing(self._resolver(request, session, reporter, cancel)) as resolver:
            sources = SourceContext(self.store, session, cancel, resolver)
            with closing(Solver(self.store, self.sandbox, session, sources, reporter, cancel)) as solver:
                frontends = self._frontends(request, session, reporter, cancel, resolver, solver)
                return SolveResponse(frontends.answer(attrs["requestid"], frontends.definition()))

    def pins(
        self, request: SolveRequest, session: Session, status: StatusSink, cancel: Cancel
    ) -> tuple[list[Rule], list[Unlocked]]:
        """See `EmbeddedBuilder.pins`."""
        from .pins import pin, unlocked

        reporter = Reporter(status)
        with self.store.lease(), closing(self._resolver(request, session, reporter, cancel)) as resolver:
            sources = SourceContext(self.store, session, cancel, resolver)
            with closing(Solver(self.store, self.sandbox, session, sources, reporter, cancel)) as solver:
                definition = self._frontends(request, session, reporter, cancel, resolver, solver).definition()
                text = definition.read()
                if definition.syntax:
                    raise UnsupportedError(
                        f"A Dockerfile for the front end {definition.syntax} cannot be locked.",
                        location=definition.syntax_location,
                    )
                dockerfile = definition.parse(text)
                options = definition.complete(parse_options(request.frontend_attrs))
                targets = compile(dockerfile, options, resolver)
                return pin(targets, definition.context, sources, reporter), unlocked(targets)

    def _result(
        self,
        lowered: FrontendResult,
        solved: list[VertexResult],
        attestations: Sequence[tuple[Attestation, ...]],
    ) -> SolveResult:
        results: list[TargetResult] = []
        for target, done, attested in zip(lowered.targets, solved, attestations, strict=True):
            snapshot = done.snapshots[0]
            provenances = [done.created.get(layer) or Provenance() for layer in snapshot]
            started = time.time_ns()
            results.append(
                TargetResult(
                    target.platform,
                    snapshot,
                    target.config,
                    target.base,
                    tuple(provenance.at or started for provenance in provenances),
                    tuple(provenance.by for provenance in provenances),
                    attested,
                )
            )
        return SolveResult(tuple(results), lowered.targets[0].epoch, lowered.multi_platform)

    def _export(
        self,
        result: SolveResult,
        exports: Sequence[tuple[ExporterEntry, Values]],
        session: Session,
        reporter: Reporter,
        cancel: Cancel,
        remote: RemoteLayers | None,
    ) -> dict[str, str]:
        response: dict[str, str] = {}
        for entry, values in exports:
            cancel.check()
            exporter = exporters.get(entry.type)
            digest = "sha256:" + hashlib.sha256(f"{entry.type} {entry.id}".encode()).hexdigest()
            with reporter.vertex(digest, exporter.name) as report:
                context = ExportContext(self.store, session, report, cancel, session.sinks.get(entry.id), remote)
                response |= exporter.export(result, values, context)
        return response


class _Files:
    """The files of a snapshot, walked anew at each iteration."""

    def __init__(self, tree: LayerTree) -> None:
        self.tree = tree

    def __iter__(self) -> Iterator[Entry]:
        return self.tree.walk()


def _only_pushes(exports: Sequence[tuple[ExporterEntry, Values]]) -> bool:
    """Return whether the result only goes to registries, so that its layers are not needed here."""
    images = [values for entry, values in exports if EXPORTERS[entry.type].pushable]
    return bool(exports) and len(images) == len(exports) and all(image["push"] for image in images)


def _mode(request: SolveRequest) -> str:
    return request.frontend_attrs.get("image-resolve-mode", "default")


def _policy(request: SolveRequest) -> SourcePolicy:
    return request.source_policy or SourcePolicy()


def _check_supported(request: SolveRequest) -> None:
    """Raise for parts of a request that only BuildKit supports: nothing is ignored silently."""
    for name in request.entitlements:
        if name.partition("=")[0] not in _ENTITLEMENTS:
            raise UsageError(f"unknown entitlement {name}", hint=f"It takes {', '.join(_ENTITLEMENTS)}.")
    unsupported: list[str] = []
    if request.frontend != BUILT_IN:
        unsupported.append(f"the front end {request.frontend}")
    unsupported += [
        f"the attribute {key}"
        for key in request.frontend_attrs
        if key not in _ATTRS and not key.startswith(_PREFIXES) and not is_attestation_attr(key)
    ]
    if unsupported:
        raise UnsupportedError(
            f"The embedded builder does not support {' and '.join(unsupported)}.",
            hint="Leave it out, or use --builder to build with a real BuildKit.",
        )


_ENTITLEMENTS = ("network.host", "security.insecure", "device")
_ATTRS = frozenset(
    {"filename", "target", "platform", "multi-platform", "no-cache", "image-resolve-mode", "add-hosts", "shm-size"}
    | {"ulimit", "force-network-mode", "hostname", "context", "contextkey", "contextsubdir", "dockerfilekey"}
    | {"source", "cmdline", "requestid", "cgroup-parent", *RESOURCES.values()}
)
_PREFIXES = ("build-arg:", "label:", "context:", "vcs:")
