"""The attestations of the embedded builder's builds, from the request, the sources and the solver."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import msgspec

from ...attest.options import AttestOptions, ProvenanceOptions, SBOMOptions
from ...attest.statement import Attestation
from ...cancel import Cancel
from ...dockerfile.lower import LoweredTarget
from ...llb.ops import Edge
from ...request.solve_request import SolveRequest
from ...status.report import Reporter
from ...store import Store
from .inputs import BuildInputs
from .scanner import DESTINATION, scan_node
from .snapshot import Snapshot
from .solver import Solver
from .sources import Resolver

_SECOND = 1_000_000_000


class AttestedBuild:
    """A build whose graphs are solved and whose solver still exists."""

    def __init__(
        self,
        request: SolveRequest,
        definition: BuildInputs,
        resolver: Resolver,
        solver: Solver,
        targets: Sequence[LoweredTarget],
        started: int,
        store: Store,
        reporter: Reporter,
        cancel: Cancel,
    ) -> None:
        """`started` is in nanoseconds since 1970."""
        self._request = request
        self._definition = definition
        self._resolver = resolver
        self._solver = solver
        self._targets = targets
        self._started = started
        self._store = store
        self._reporter = reporter
        self._cancel = cancel

    def attestations(self, asked: AttestOptions, snapshots: Sequence[Snapshot]) -> list[tuple[Attestation, ...]]:
        """Return the attestations of each platform's result; an empty result has none, as in BuildKit."""
        pairs = zip(self._targets, snapshots, strict=True)
        return [self._of(target, snapshot, asked) for target, snapshot in pairs]

    def _of(self, target: LoweredTarget, snapshot: Snapshot, asked: AttestOptions) -> tuple[Attestation, ...]:
        if target.edge is None:
            return ()
        attestations: list[Attestation] = []
        if asked.sbom is not None:
            attestations += self._sbom(target, target.edge, snapshot, asked.sbom)
        if asked.provenance is not None:
            attestations.append(self._provenance(target, target.edge, asked.provenance))
        return tuple(attestations)

    def _provenance(self, target: LoweredTarget, edge: Edge, options: ProvenanceOptions) -> Attestation:
        from ...attest.buildconfig import DefinitionFile
        from ...attest.capture import Capture, for_platform
        from ...attest.provenance import BuildFacts, provenance

        capture = Capture()
        capture.add([edge], self._solver.revision)
        capture.add(self._definition.loaded, self._solver.revision)
        images = self._resolver.images
        if len(self._targets) > 1:
            images = for_platform(images, target.platform, [other.platform for other in self._targets])
        for image in images:
            capture.add_image(image)
        facts = BuildFacts(
            attrs=self._request.frontend_attrs,
            capture=capture,
            edge=edge,
            file=DefinitionFile(self._definition.filename, self._definition.text, self._definition.source),
            snapshots=self._solver.snapshots,
            invocation=self._request.ref,
            started=self._started,
        )
        return provenance(facts, options)

    def _sbom(self, target: LoweredTarget, edge: Edge, snapshot: Snapshot, options: SBOMOptions) -> list[Attestation]:
        """Return an SBOM for the result, and one for each additional file system that the Dockerfile asks to be
        scanned.
        """
        if options.generator:
            return self._generated(target, edge, snapshot, options)
        from ...attest.sbom.attestation import CORE, scanned

        created = time.time_ns() if target.epoch is None else target.epoch * _SECOND
        extras = list(target.scanned.items())
        solved = self._solver.solve([extra for _, extra in extras])
        attestations: list[Attestation] = []
        trees = {CORE: snapshot} | {
            f"{CORE}-{name}": done.snapshots[0] for (name, _), done in zip(extras, solved, strict=True)
        }
        name = f"[{target.platform}] generating sbom"
        digest = "sha256:" + hashlib.sha256(f"{name} {self._request.ref}".encode()).hexdigest()
        with self._reporter.vertex(digest, name) as report:
            for title, layers in trees.items():
                with report.step(f"scanning {title}"):
                    tree = self._store.tree(layers)
                    core = title == CORE
                    attestations.append(
                        scanned(title, title, self._store, tree, self._cancel, created=created, core=core)
                    )
        return attestations

    def _generated(
        self, target: LoweredTarget, edge: Edge, snapshot: Snapshot, options: SBOMOptions
    ) -> list[Attestation]:
        from ...attest.sbom.attestation import written

        node = scan_node(self._resolver, options, target, edge)
        if "no-cache" in self._request.frontend_attrs and not self._request.frontend_attrs["no-cache"]:
            node = msgspec.structs.replace(node, ignore_cache=True)
        (done,) = self._solver.solve([Edge(node)])
        return written(self._store.tree(done.snapshots[0]), DESTINATION, self._store.tree(snapshot))
