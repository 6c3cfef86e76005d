"""The attestations of a build of the embedded builder: what its request, its sources and its solver know of it."""

from __future__ import annotations

from collections.abc import Sequence

from ...attest.options import AttestOptions
from ...attest.statement import Attestation
from ...dockerfile.lower import LoweredTarget
from ...request.solve_request import SolveRequest
from .inputs import BuildInputs
from .solver import Solver
from .sources import Resolver


class AttestedBuild:
    """A build whose graphs are solved."""

    def __init__(
        self,
        request: SolveRequest,
        definition: BuildInputs,
        resolver: Resolver,
        solver: Solver,
        targets: Sequence[LoweredTarget],
        started: int,
    ) -> None:
        """`started` is in nanoseconds since 1970."""
        self._request = request
        self._definition = definition
        self._resolver = resolver
        self._solver = solver
        self._targets = targets
        self._started = started

    def attestations(self, asked: AttestOptions) -> list[tuple[Attestation, ...]]:
        """What is attested of each platform's result. Of an empty one it is nothing, as in BuildKit."""
        return [self._of(target, asked) for target in self._targets]

    def _of(self, target: LoweredTarget, asked: AttestOptions) -> tuple[Attestation, ...]:
        if target.edge is None or asked.provenance is None:
            return ()
        from ...attest.buildconfig import DefinitionFile
        from ...attest.capture import Capture, for_platform
        from ...attest.provenance import BuildFacts, provenance

        capture = Capture()
        capture.add([target.edge], self._solver.revision)
        capture.add(self._definition.loaded, self._solver.revision)
        images = self._resolver.images
        if len(self._targets) > 1:
            images = for_platform(images, target.platform, [one.platform for one in self._targets])
        for image in images:
            capture.add_image(image)
        facts = BuildFacts(
            attrs=self._request.frontend_attrs,
            capture=capture,
            edge=target.edge,
            file=DefinitionFile(self._definition.filename, self._definition.text, self._definition.source),
            snapshots=self._solver.snapshots,
            invocation=self._request.ref,
            started=self._started,
        )
        return (provenance(facts, asked.provenance),)
