"""The attestations of the embedded builder's builds, from the request, the sources and the solver."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...attest.given import SBOM_CORE, GivenAttestation, attestations, ordered
from ...attest.options import AttestOptions, ProvenanceOptions, SBOMOptions, parse_attests
from ...attest.statement import SPDX, Attestation
from ...cancel import Cancel
from ...dockerfile.lower import LoweredTarget
from ...errors import BuildError
from ...llb.ops import Edge, walk
from ...oci.descriptor import Descriptor
from ...request.solve_request import SolveRequest
from ...status.report import Reporter
from ...store import Store
from .frontends.result import FrontendResult, Origin
from .scanner import scan
from .snapshot import Snapshot
from .solver import Solver
from .sources import Resolver

if TYPE_CHECKING:
    from ...attest.provenance import BuildFacts
    from ...llb.protobuf import Message

_SECOND = 1_000_000_000


class AttestedBuild:
    """A build whose graphs are solved and whose solver still exists."""

    def __init__(
        self,
        request: SolveRequest,
        resolver: Resolver,
        solver: Solver,
        lowered: FrontendResult,
        started: int,
        store: Store,
        reporter: Reporter,
        cancel: Cancel,
    ) -> None:
        """`started` is in nanoseconds since 1970."""
        self._request = request
        self._resolver = resolver
        self._solver = solver
        self._targets = lowered.targets
        self._multi_platform = lowered.multi_platform
        self._origins = lowered.origins
        self._frontend_attestations = lowered.attestations
        self._location = lowered.location
        returned = [given for all_given in lowered.attestations.values() for given, _ in all_given]
        self._has_sbom = any(given.predicate_type == SPDX for given in returned)
        """Whether the front end has scanned the result itself."""
        self._started = started
        self._store = store
        self._reporter = reporter
        self._cancel = cancel

    def attestations(self, options: AttestOptions, snapshots: Sequence[Snapshot]) -> list[tuple[Attestation, ...]]:
        """Return the attestations of each platform's result; an empty result has none, as in BuildKit."""
        results = zip(self._targets, self._origins, snapshots, strict=True)
        return [self._of(target, origin, snapshot, options) for target, origin, snapshot in results]

    def _of(
        self, target: LoweredTarget, origin: Origin | None, snapshot: Snapshot, options: AttestOptions
    ) -> tuple[Attestation, ...]:
        found = self._given(target, snapshot)
        if target.edge is None or origin is None:
            return tuple(found)
        if options.sbom is not None and not self._has_sbom:
            found += self._sbom(target, target.edge, snapshot, options.sbom)
        if options.provenance is not None:
            found.append(self._provenance(target, target.edge, origin, options.provenance))
        return tuple(found)

    def _given(self, target: LoweredTarget, snapshot: Snapshot) -> list[Attestation]:
        """Return the attestations that the front end has returned with the result."""
        found: list[Attestation] = []
        for given, edge in self._frontend_attestations.get(target.platform.full, ()):
            (done,) = self._solver.solve([edge])
            try:
                found += attestations(
                    given, self._store.tree(done.snapshots[0]), self._store.tree(snapshot), "The front end"
                )
            except BuildError as error:
                raise error.at(self._location) from None
        return ordered(found)

    def record(self, *, steps: bool) -> dict[str, dict[str, Any]]:
        """See BuildRecord."""
        from ...attest.provenance import recorded

        provenance = parse_attests(self._request.frontend_attrs).provenance
        builder_id = provenance.builder_id if provenance else ""
        return {
            target.platform.full if self._multi_platform else "": recorded(
                self._facts(target, target.edge, origin), builder_id, self._form, steps=steps
            )
            for target, origin in zip(self._targets, self._origins, strict=True)
            if target.edge is not None and origin is not None
        }

    def _form(self, diff_id: str) -> Descriptor | None:
        form = next(iter(self._store.compressed.usable(diff_id)), None)
        return Descriptor(form.media_type, form.digest, form.size) if form else None

    def _provenance(self, target: LoweredTarget, edge: Edge, origin: Origin, options: ProvenanceOptions) -> Attestation:
        from ...attest.provenance import provenance

        return provenance(self._facts(target, edge, origin), options)

    def _facts(self, target: LoweredTarget, edge: Edge, origin: Origin) -> BuildFacts:
        from ...attest.capture import Capture, for_platform
        from ...attest.provenance import BuildFacts

        capture = Capture()
        capture.add([edge], self._solver.revision)
        capture.add(origin.scope.edges, self._solver.revision)
        images = origin.scope.images
        if len(self._targets) > 1:
            images = for_platform(images, target.platform, [other.platform for other in self._targets])
        for image in images:
            capture.add_image(image)
        return BuildFacts(
            attrs=origin.scope.attrs,
            capture=capture,
            edge=edge,
            source=origin.source,
            snapshots=self._solver.snapshots,
            invocation=self._request.ref,
            started=self._started,
            frontend=origin.scope.frontend,
            complete=not origin.scope.has_inputs,
            read=_read_op if any(node.sent for node in walk(edge)) else None,
        )

    def _sbom(self, target: LoweredTarget, edge: Edge, snapshot: Snapshot, options: SBOMOptions) -> list[Attestation]:
        """Return an SBOM for the result, and one for each additional file system that the Dockerfile asks to be
        scanned.
        """
        if options.generator:
            return self._generated(target, edge, snapshot, options)
        from ...attest.sbom.attestation import RESULT_SBOM, scanned

        created = time.time_ns() if target.epoch is None else target.epoch * _SECOND
        extras = list(target.scanned.items())
        solved = self._solver.solve([extra for _, extra in extras])
        found: list[Attestation] = []
        trees = {RESULT_SBOM: snapshot} | {
            f"{RESULT_SBOM}-{name}": done.snapshots[0] for (name, _), done in zip(extras, solved, strict=True)
        }
        name = f"[{target.platform}] generating sbom"
        digest = "sha256:" + hashlib.sha256(f"{name} {self._request.ref}".encode()).hexdigest()
        with self._reporter.vertex(digest, name) as report:
            for title, layers in trees.items():
                with report.step(f"scanning {title}"):
                    tree = self._store.tree(layers)
                    core = title == RESULT_SBOM
                    found.append(scanned(title, title, self._store, tree, self._cancel, created=created, core=core))
        return found

    def _generated(
        self, target: LoweredTarget, edge: Edge, snapshot: Snapshot, options: SBOMOptions
    ) -> list[Attestation]:
        from ...attest.sbom.attestation import RESULT_SBOM

        attrs = self._request.frontend_attrs
        again = "no-cache" in attrs and not attrs["no-cache"]
        (done,) = self._solver.solve([scan(self._resolver, options, target, edge, again=again)])
        given = GivenAttestation("", bundle=True, metadata={SBOM_CORE: RESULT_SBOM.encode()}, predicate_type=SPDX)
        tree = self._store.tree(done.snapshots[0])
        return ordered(attestations(given, tree, self._store.tree(snapshot), "The scanner"))


def _read_op(data: bytes) -> Message:
    from .frontends.lines import read_op

    return read_op(data)
