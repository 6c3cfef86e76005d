"""The front ends of a build: the built-in one for Dockerfiles, and those in images.

A front end from an image may call others in turn, including the built-in one, as in BuildKit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ....attest.options import is_attestation_attr
from ....cancel import Cancel
from ....dockerfile.checks import Checks, Finding
from ....dockerfile.instructions import Run
from ....dockerfile.lower import compile  # noqa: A004 - the front end's verb
from ....dockerfile.lower_options import parse_options
from ....dockerfile.metadata import ResolvedImage
from ....errors import BuildError, Interrupted, UnsupportedError
from ....llb.ops import Edge, ExecOp, NetMode, Node, SourceOp, walk
from ....llb.sourcepolicy import SourcePolicy
from ....oci import platform as platforms
from ....oci import reference
from ....oci.platform import Platform
from ....request.solve_request import SolveRequest
from ....request.values import CacheEntry
from ....session import Session
from ....status.report import Reporter, VertexReport
from ....store import LayerTree, Store
from .. import calls
from ..inputs import BuildInputs
from ..sandbox import RunSpec, Sandbox
from ..sandbox.limits import NO_LIMITS, Limits
from ..snapshot import Snapshot
from ..solver import Solver
from ..sources import Resolver
from .imports import CacheImports
from .layouts import Layouts
from .result import FrontendResult, Origin
from .scope import Scope

if TYPE_CHECKING:
    from ....attest.buildconfig import Steps
    from ...proto import gateway_pb2 as gw
    from .containers import Grounds

BUILT_IN = "dockerfile.v0"
_GATEWAY = "gateway.v0"
_MAX_DEPTH = 8
"""The most front ends that may call one another."""


class Frontends:
    """Asks front ends on behalf of one request. `session_id` and `epoch` are passed to front ends from images."""

    def __init__(
        self,
        request: SolveRequest,
        session: Session,
        store: Store,
        sandbox: Sandbox,
        reporter: Reporter,
        cancel: Cancel,
        resolver: Resolver,
        solver: Solver,
        limits: Limits = NO_LIMITS,
        imports: CacheImports | None = None,
    ) -> None:
        self._request = request
        self._session = session
        self._store = store
        self._sandbox = sandbox
        self._reporter = reporter
        self._cancel = cancel
        self._resolver = resolver
        self._solver = solver
        self._limits = limits
        self._imports = imports
        self._depth = 0
        self._failure: BuildError | None = None
        self.session_id = session.id
        self.epoch: int | None = None
        self.layouts = Layouts()

    def definition(
        self, attrs: Mapping[str, str] | None = None, inputs: Mapping[str, Edge] | None = None
    ) -> BuildInputs:
        """Return the definition of the request, or of a front end's own request with `attrs` and `inputs`."""
        frontend_attrs = self._request.frontend_attrs if attrs is None else attrs
        policy = self._request.source_policy or SourcePolicy()
        return BuildInputs(frontend_attrs, self._session, self._reporter, self._cancel, self.tree, policy, inputs or {})

    def solve(self, definition: BuildInputs, scope: Scope | None = None) -> FrontendResult:
        """Return the targets of a definition from the front end that its text names. Raises BuildError.

        `scope` is that of the request, when another front end makes it.
        """
        scope = scope or Scope(BUILT_IN, definition.attrs, self._resolver)
        text = definition.read()
        options = parse_options(definition.attrs)
        if definition.syntax:
            return self._foreign(definition, scope)
        checks = Checks(definition.check_options(text), partial(_warn, self._reporter.vertex(definition.digest, "")))
        dockerfile = definition.parse(text, checks)
        begun = any(isinstance(instruction, Run) for instruction in dockerfile.instructions)
        if begun:
            self._sandbox.prefetch()
        targets = compile(dockerfile, definition.complete(options), scope, checks)
        for target in targets:
            if target.edge:
                self.check(target.edge)
        if not begun and any(isinstance(node.op, ExecOp) for node in walk(*(target.edge for target in targets))):
            self._sandbox.prefetch()  # for the ONBUILD of a base image
        scope.solved(*definition.loaded)
        origin = Origin(scope, partial(_lines, definition))
        multi = len(targets) > 1 or options.multi_platform
        return FrontendResult(tuple(targets), multi_platform=multi, origins=(origin,) * len(targets))

    def answer(self, method: str, definition: BuildInputs) -> dict[str, str]:
        """Return the answer to a question about the Dockerfile, as an exporter response. Raises BuildError."""
        definition.read()
        if definition.syntax:
            return self._foreign(definition, Scope(BUILT_IN, definition.attrs, self._resolver)).answer
        return calls.answer(method, definition, parse_options(definition.attrs), self._resolver)

    def _foreign(self, definition: BuildInputs, scope: Scope) -> FrontendResult:
        """Return what BuildKit forwards for a Dockerfile: the options, and the front end with the words after it."""
        attrs = {
            **{name: value for name, value in definition.attrs.items() if not is_attestation_attr(name)},
            "cmdline": definition.cmdline,
            "source": definition.syntax,
        }
        if "requestid" in attrs:
            from .capabilities import SUBREQUESTS

            attrs["frontend.caps"] = SUBREQUESTS
        try:
            attrs = self.layouts.to_frontend(attrs, partial(self._digest, attrs))
            if self._imports is not None:
                attrs = self._imports.to_frontend(attrs)
            result = self._gateway(scope, attrs, definition.inputs)
            return msgspec.structs.replace(result, location=definition.syntax_location)
        except BuildError as error:
            if not isinstance(error, Interrupted):
                error.at(definition.syntax_location)
            raise

    def _digest(self, attrs: Mapping[str, str], place: str, name: str) -> str:
        """Return the digest of an OCI layout, which is the context `name`."""
        text = attrs.get("platform", "").partition(",")[0]
        platform = platforms.parse(text) if text else platforms.normalise(platforms.host())
        return self._resolver.resolve(f"oci-layout://{place}", platform, f"[context {name}] load metadata").digest

    # What an image's front end may ask: see `bridge.Gateway`

    @property
    def grounds(self) -> Grounds:
        """See Gateway."""
        from .containers import Grounds

        return Grounds(self._store, self._session, self._sandbox, self._limits, self._cancel)

    def tree(self, edge: Edge) -> LayerTree:
        """See Gateway."""
        return self._store.tree(self.snapshot(edge))

    def snapshot(self, edge: Edge) -> Snapshot:
        """See Gateway."""
        if self._failure is not None:
            raise self._failure  # the solver has stopped
        try:
            return self._solver.solve([edge])[0].snapshots[0]
        except BuildError as error:
            self._failure = error
            raise

    def resolve(self, ref: str, platform: Platform, name: str) -> ResolvedImage:
        """See Gateway."""
        return self._resolver.resolve(ref, platform, name)

    def check(self, edge: Edge) -> None:
        """See Gateway."""
        check_entitlements(self._request, edge)

    def warn(self, node: Node | None, warning: gw.WarnRequest) -> None:
        """See Gateway."""
        from .bridge import warned_lines

        filename, start, end = warned_lines(warning)
        self._reporter.vertex(node.digest if node else "", "").warn(
            warning.short.decode("utf-8", "replace"),
            detail=[line.decode("utf-8", "replace") for line in warning.detail],
            url=warning.url,
            filename=filename,
            start=start,
            end=end,
            level=warning.level,
        )

    def import_caches(self, entries: Iterable[CacheEntry]) -> None:
        """See Gateway."""
        if self._imports is not None:
            self._imports.read(entries)

    def frontend(self, scope: Scope, name: str, attrs: Mapping[str, str], inputs: Mapping[str, Edge]) -> FrontendResult:
        """See Gateway."""
        if name == _GATEWAY:
            return self._gateway(scope, attrs, inputs)
        if name != BUILT_IN:
            raise UnsupportedError(f"frontend {name} not found")
        attrs = self.layouts.from_frontend(attrs)
        if self._imports is not None:
            self._imports.from_frontend(attrs)
        definition = self.definition(attrs, inputs)
        if "requestid" in attrs:
            answer = self.answer(attrs["requestid"], definition)
            return FrontendResult(metadata={key: value.encode() for key, value in answer.items()})
        return self.solve(definition, scope.within(name, attrs, self._resolver, has_inputs=bool(inputs)))

    def _gateway(self, scope: Scope, attrs: Mapping[str, str], inputs: Mapping[str, Edge]) -> FrontendResult:
        """Run the front end in the image `source`."""
        from .bridge import Bridge
        from .definition import definition_of
        from .process import FrontendProcess, check_capabilities
        from .returned import read_epoch

        if self._depth >= _MAX_DEPTH:
            raise UnsupportedError(f"More than {_MAX_DEPTH} front ends call one another.")
        self._sandbox.prefetch()
        self.epoch = read_epoch(attrs.get("build-arg:SOURCE_DATE_EPOCH", "").encode())
        ref = str(reference.parse(attrs.get("source", "")).tagged())
        host = platforms.normalise(platforms.host())
        image = self._resolver.resolve(ref, host, f"resolve image config for docker-image://{ref}")
        check_capabilities(image, attrs, inputs=bool(inputs))
        scope = scope.within(_GATEWAY, attrs, self._resolver, has_inputs=bool(inputs))
        scope.add_image(image, None)
        source = f"docker-image://{image.pinned}"
        node = Node(SourceOp(source), name=source, platform=str(host))
        self._depth += 1
        try:
            scope.solved(Edge(node))
            self._sandbox.check(RunSpec((), limits=self._limits))  # before anything is pulled
            snapshot = self._solver.solve([Edge(node)])[0].snapshots[0]
            definition = definition_of(Edge(node)).SerializeToString()
            process = FrontendProcess(image, snapshot, definition, self._limits)
            passed = {name: definition_of(edge, self.layouts.name) for name, edge in inputs.items()}
            bridge = Bridge(self, scope, passed)
            try:
                return process.run(self._sandbox, bridge, attrs, self.session_id, self._cancel)
            finally:
                bridge.close()
        finally:
            self._depth -= 1


def check_entitlements(request: SolveRequest, *edges: Edge | None) -> None:
    """Raise for an entitlement that a graph claims and the user has not granted."""
    for node in walk(*edges):
        if not isinstance(node.op, ExecOp):
            continue
        for name, is_requested in (
            ("network.host", node.op.network == NetMode.HOST),
            ("security.insecure", node.op.insecure),
        ):
            if is_requested and name not in request.entitlements:
                raise BuildError(
                    f"failed to load LLB: {name} is not allowed",
                    location=node.location,
                    hint=f"Allow it with --allow {name}.",
                )
        if node.op.devices and "device" not in request.entitlements:
            _check_devices(request, node.op, node)


def _check_devices(request: SolveRequest, op: ExecOp, node: Node) -> None:
    """Raise for a device that the user has not granted, and whose specification does not allow it to every build."""
    from ..sandbox.cdi import Machine

    machine = Machine()
    granted = [item.removeprefix("device=") for item in request.entitlements if item.startswith("device=")]
    if aliased := [item for item in granted if "," in item]:
        raise UnsupportedError(
            f"--allow device={aliased[0]}: a device cannot be given another name here.",
            hint="Name the device itself in RUN --device, and allow it without an alias.",
        )
    allowed = {name for item in granted for name in machine.find(item)}
    try:
        wanted = dict.fromkeys(
            name for device in op.devices for name in machine.find(device.name, optional=device.optional)
        )
    except BuildError as error:
        raise error.at(node.location) from None
    refused = [name for name in wanted if name not in allowed and not machine.allows(name)]
    if refused:
        subject = f"device {refused[0]} is" if len(refused) == 1 else f"devices {', '.join(refused)} are"
        raise BuildError(
            f"failed to load LLB: {subject} requested by the build but not allowed",
            location=node.location,
            hint=f"Allow all devices with --allow device, or this one with --allow device={refused[0]}.",
        )


def _lines(definition: BuildInputs, steps: Steps) -> dict[str, Any] | None:
    from ....attest.buildconfig import DefinitionFile, source_of

    return source_of(steps, DefinitionFile(definition.filename, definition.text, definition.source))


def _warn(report: VertexReport, finding: Finding) -> None:
    where = finding.location
    report.warn(
        finding.short,
        detail=[finding.rule.description],
        url=finding.rule.url,
        filename=where.filename,
        start=where.start,
        end=where.end,
    )
