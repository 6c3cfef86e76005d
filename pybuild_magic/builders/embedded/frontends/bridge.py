"""BuildKit's LLBBridge, the service that a front end calls to resolve images, solve LLB and read files of results.

The caller is an untrusted program: every number, path and graph that it sends is checked before it is used.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec
from google.protobuf.message import Message

from ....attest.given import GivenAttestation
from ....dockerfile.metadata import ResolvedImage
from ....errors import BuildError, Interrupted
from ....llb.ops import Edge, Node
from ....net.grpc.rpc import CANCELLED, EXHAUSTED, INVALID, UNKNOWN, GrpcError, Handler
from ....net.grpc.stream import Call, prefixed
from ....oci import platform as platforms
from ....oci.platform import Platform
from ....request.values import CacheEntry
from ....store import LayerTree
from ...failures import solve_error
from ...proto import gateway_pb2 as gw
from ...proto import ops_pb2 as pb
from ..snapshot import Snapshot
from . import capabilities, files
from .containers import Containers, Grounds
from .definition import Definition, definition_of, parse, source_range
from .files import MAX_MESSAGE
from .layouts import Layouts
from .lines import source_of
from .result import DefinitionError, FrontendResult, Origin
from .returned import given_attestation, message_of, result_of
from .scope import Scope

MAX_REFS = 10_000
_MAX_ATTESTATIONS = 100
_LAYOUT = "oci-layout://"
_SERVICE = "/moby.buildkit.v1.frontend.LLBBridge/"
_HEALTH = "/grpc.health.v1.Health/Check"

M = TypeVar("M", bound=Message)


class Gateway(Protocol):
    """The build behind the service."""

    session_id: str
    epoch: int | None
    layouts: Layouts

    @property
    def grounds(self) -> Grounds:
        """What the containers of a front end run on."""
        ...

    def tree(self, edge: Edge) -> LayerTree:
        """Solve an edge at once. Raises BuildError."""
        ...

    def snapshot(self, edge: Edge) -> Snapshot:
        """Solve an edge at once, and return its layers. Raises BuildError."""
        ...

    def resolve(self, ref: str, platform: Platform, name: str) -> ResolvedImage:
        """Find an image. Raises BuildError."""
        ...

    def check(self, edge: Edge) -> None:
        """Raise BuildError for a graph that claims an entitlement the user has not granted."""
        ...

    def warn(self, node: Node | None, warning: gw.WarnRequest) -> None:
        """Show a warning of the front end, about a vertex of its LLB if that is known."""
        ...

    def import_caches(self, entries: Iterable[CacheEntry]) -> None:
        """Import the caches of a request; one that is unavailable causes a warning. Raises DefinitionError."""
        ...

    def frontend(self, scope: Scope, name: str, attrs: Mapping[str, str], inputs: Mapping[str, Edge]) -> FrontendResult:
        """Ask another front end on behalf of one. Raises BuildError."""
        ...


class Bridge:
    """The service for one front end. `result` is what the front end returned; `failure` is its error."""

    def __init__(self, gateway: Gateway, scope: Scope, inputs: Mapping[str, pb.Definition]) -> None:
        self._gateway = gateway
        self._scope = scope
        self._inputs = dict(inputs)
        self._lock = threading.Lock()
        self._solving = threading.Lock()
        """A lock, because the solver takes one graph at a time."""
        self._refs: dict[str, tuple[Edge, Origin | None]] = {}
        self._nodes: dict[str, Node] = {}
        self._errors: list[BuildError] = []
        self._containers = Containers(gateway.grounds, self._solved, gateway.check)
        self.finished = threading.Event()
        """Set when the front end has returned, or can no longer return anything."""
        self.result: FrontendResult | None = None
        self.failure: BuildError | None = None

    @property
    def handlers(self) -> dict[str, Handler]:
        """Return the methods by path."""
        methods: dict[str, tuple[type[Message], Callable[[Any], Message]]] = {
            "Ping": (gw.PingRequest, self._ping),
            "ResolveImageConfig": (gw.ResolveImageConfigRequest, self._resolve_image),
            "ResolveSourceMeta": (gw.ResolveSourceMetaRequest, self._resolve_source),
            "Solve": (gw.SolveRequest, self._solve),
            "ReadFile": (gw.ReadFileRequest, self._read_file),
            "ReadDir": (gw.ReadDirRequest, self._read_dir),
            "StatFile": (gw.StatFileRequest, self._stat_file),
            "Evaluate": (gw.EvaluateRequest, self._evaluate),
            "Return": (gw.ReturnRequest, self._return),
            "Inputs": (gw.InputsRequest, self._inputs_of),
            "Warn": (gw.WarnRequest, self._warn),
            "NewContainer": (gw.NewContainerRequest, self._containers.new),
            "ReleaseContainer": (gw.ReleaseContainerRequest, self._containers.release),
            "ReadFileContainer": (gw.ReadFileRequest, self._containers.read_file),
            "ReadDirContainer": (gw.ReadDirRequest, self._containers.read_dir),
            "StatFileContainer": (gw.StatFileRequest, self._containers.stat_file),
        }
        handlers = {_SERVICE + name: self._unary(kind, method) for name, (kind, method) in methods.items()}
        return {**handlers, f"{_SERVICE}ExecProcess": self._containers.exec_process, _HEALTH: self._health}

    def close(self) -> None:
        """End what the front end has started."""
        self._containers.close()

    def _unary(self, kind: type[Message], method: Callable[[Any], Message]) -> Handler:
        def handle(call: Call) -> None:
            data = call.receive()
            if data is None:
                raise GrpcError(INVALID, "a call without a message")
            try:
                answer = method(parse(kind, data)).SerializeToString()
            except Interrupted as error:
                raise GrpcError(CANCELLED, error.message) from error
            except BuildError as error:
                with self._lock:
                    self._errors = [*self._errors[-15:], error]
                raise GrpcError(UNKNOWN, error.message) from error
            if len(answer) > MAX_MESSAGE:
                raise GrpcError(EXHAUSTED, f"an answer of {len(answer)} bytes is more than a message holds")
            call.send(prefixed(answer))

        return handle

    def _health(self, call: Call) -> None:
        call.receive()
        call.send(prefixed(b"\x08\x01"))  # SERVING

    def _ping(self, _: gw.PingRequest) -> gw.PongResponse:
        host = platforms.normalise(platforms.host())
        return gw.PongResponse(
            FrontendAPICaps=[gw.Capability(ID=name, Enabled=True) for name in capabilities.FRONTEND],
            LLBCaps=[gw.Capability(ID=name, Enabled=True) for name in capabilities.LLB],
            Workers=[gw.WorkerRecord(ID="embedded", platforms=[_platform_message(host)])],
        )

    def _resolve_image(self, request: gw.ResolveImageConfigRequest) -> gw.ResolveImageConfigResponse:
        ref = f"{_LAYOUT}{self._gateway.layouts.place(request.StoreID)}" if request.ResolverType else request.Ref
        image = self._image(ref, request.Platform, request.LogName or f"resolve image config for {request.Ref}")
        if request.ResolverType:
            return gw.ResolveImageConfigResponse(Digest=image.digest, Config=image.config, Ref=request.Ref)
        return gw.ResolveImageConfigResponse(Digest=image.digest, Config=image.config, Ref=image.ref)

    def _resolve_source(self, request: gw.ResolveSourceMetaRequest) -> gw.ResolveSourceMetaResponse:
        source = request.Source
        scheme, _, ref = source.identifier.partition("://")
        if scheme not in ("docker-image", "oci-layout"):
            return gw.ResolveSourceMetaResponse(Source=source)
        if scheme == "oci-layout":
            place = self._gateway.layouts.place(source.attrs.get("oci.store", ""))
            name = request.LogName or f"resolve image config for {source.identifier}"
            image = self._image(f"{_LAYOUT}{place}", request.Platform, name)
            pinned = pb.SourceOp(identifier=f"{_LAYOUT}{ref.partition('@')[0]}@{image.digest}", attrs=source.attrs)
        else:
            image = self._image(ref, request.Platform, request.LogName)
            pinned = pb.SourceOp(identifier=f"docker-image://{image.ref}", attrs=source.attrs)
        answer = gw.ResolveSourceImageResponse(Digest=image.digest, Config=image.config)
        return gw.ResolveSourceMetaResponse(Source=pinned, Image=answer)

    def _image(self, ref: str, platform: pb.Platform, name: str) -> ResolvedImage:
        target = platforms.host()
        if platform.OS:
            target = Platform(
                platform.Architecture,
                platform.OS,
                platform.OSVersion,
                tuple(platform.OSFeatures),
                platform.Variant,
            )
        step_name = name or f"resolve image config for {ref}"
        image = self._gateway.resolve(ref, platforms.normalise(target), step_name)
        self._scope.add_image(image, target if platform.OS else None)
        return image

    def _solve(self, request: gw.SolveRequest) -> gw.SolveResponse:
        if getattr(request.Definition, "def"):
            edge = self._load(request.Definition)
            origin = Origin(self._scope, partial(source_of, request.Definition.Source, self._gateway.layouts.place))
            if edge is not None:
                self._scope.solved(edge)
            if request.CacheImports:
                with self._solving:
                    self._gateway.import_caches(
                        CacheEntry(entry.Type, dict(entry.Attrs)) for entry in request.CacheImports
                    )
            ref = self._add(edge, origin, request.Definition)
            result = gw.Result(ref=ref)
            if request.Evaluate:
                self._evaluated(ref.id)
        elif request.Frontend:
            inputs = {name: self._load(definition) for name, definition in request.FrontendInputs.items()}
            with self._solving:
                solved = self._gateway.frontend(
                    self._scope,
                    request.Frontend,
                    dict(request.FrontendOpt),
                    {name: edge for name, edge in inputs.items() if edge is not None},
                )
            result = message_of(solved, self._add)
        else:
            result = gw.Result(ref=gw.Ref())
        alone = result.ref.id if result.WhichOneof("result") == "ref" else ""
        if request.Final:
            self._final(request, alone)
        if not request.allowResultReturn:
            if result.WhichOneof("result") == "refs":
                raise DefinitionError("solve did not return default result")
            return gw.SolveResponse(ref=alone, result=result)
        if not request.allowResultArrayRef:
            _deprecate(result)
        return gw.SolveResponse(result=result)

    def _load(self, message: pb.Definition) -> Edge | None:
        definition = Definition(message, self._gateway.layouts.place)
        if definition.edge is not None:
            self._gateway.check(definition.edge)
        with self._lock:
            self._nodes |= definition.nodes
        return definition.edge

    def _add(self, edge: Edge | None, origin: Origin | None, definition: pb.Definition | None = None) -> gw.Ref:
        if edge is None:
            return gw.Ref()
        name = secrets.token_hex(12)
        definition = definition or definition_of(edge, self._gateway.layouts.name)
        with self._lock:
            if len(self._refs) >= MAX_REFS:
                raise DefinitionError(f"a front end has more than {MAX_REFS} results")
            self._refs[name] = edge, origin
        return gw.Ref(id=name, **{"def": definition})

    def _ref(self, name: str) -> tuple[Edge, Origin | None]:
        with self._lock:
            ref = self._refs.get(name)
        if ref is None:
            raise DefinitionError(f"no such ref: {name}")
        return ref

    def _evaluated(self, name: str) -> LayerTree:
        edge, _ = self._ref(name)
        with self._solving:
            return self._gateway.tree(edge)

    def _solved(self, name: str) -> tuple[Edge, Snapshot]:
        edge, _ = self._ref(name)
        with self._solving:
            return edge, self._gateway.snapshot(edge)

    def _evaluate(self, request: gw.EvaluateRequest) -> gw.EvaluateResponse:
        self._evaluated(request.Ref)
        return gw.EvaluateResponse()

    def _read_file(self, request: gw.ReadFileRequest) -> gw.ReadFileResponse:
        tree = self._evaluated(request.Ref)
        return files.read_file(tree, files.find(tree, request.FilePath, "open"), request)

    def _read_dir(self, request: gw.ReadDirRequest) -> gw.ReadDirResponse:
        tree = self._evaluated(request.Ref)
        entries = files.list_directory(tree, files.find(tree, request.DirPath, "lstat"), request)
        return gw.ReadDirResponse(entries=map(files.stat, entries))

    def _stat_file(self, request: gw.StatFileRequest) -> gw.StatFileResponse:
        tree = self._evaluated(request.Ref)
        return gw.StatFileResponse(stat=files.stat(files.find(tree, request.Path, "lstat")))

    def _inputs_of(self, _: gw.InputsRequest) -> gw.InputsResponse:
        return gw.InputsResponse(Definitions=self._inputs)

    def _warn(self, request: gw.WarnRequest) -> gw.WarnResponse:
        with self._lock:
            node = self._nodes.get(request.digest)
        self._gateway.warn(node, request)
        return gw.WarnResponse()

    def _final(self, request: gw.SolveRequest, alone: str) -> None:
        """Take a result in the form in which early front ends returned it, before Return existed."""
        try:
            metadata = msgspec.json.decode(request.ExporterAttr or b"{}", type=dict[str, bytes] | None)
        except msgspec.MsgspecError as error:
            raise DefinitionError(f"the front end's metadata cannot be read: {error}") from None
        self._end(gw.Result(ref=gw.Ref(id=alone), metadata=metadata or {}))

    def _return(self, request: gw.ReturnRequest) -> gw.ReturnResponse:
        if request.HasField("result") == request.HasField("error"):
            raise DefinitionError("gateway return must be either result or err")
        if self.result is not None or self.failure is not None:
            raise DefinitionError("gateway result is already set")
        if request.HasField("error"):
            self.failure = self._failed(request.error)
            self.finished.set()
        else:
            self._end(request.result)
        return gw.ReturnResponse()

    def _end(self, result: gw.Result) -> None:
        kind = result.WhichOneof("result")
        several = kind in ("refs", "refsDeprecated")
        match kind:
            case "refs":
                names = {name: ref.id for name, ref in result.refs.refs.items()}
            case "refsDeprecated":
                names = dict(result.refsDeprecated.refs)
            case "ref":
                names = {"": result.ref.id}
            case _:
                names = {"": result.refDeprecated}
        refs = {name: self._ref(ref) if ref else (None, None) for name, ref in names.items()}
        metadata = dict(result.metadata)
        attested = {name: self._attestations(given.attestation) for name, given in result.attestations.items()}
        self.result = result_of(refs, metadata, self._gateway.epoch, multi_platform=several, attestations=attested)
        self.finished.set()

    def _attestations(self, sent: Sequence[gw.Attestation]) -> list[tuple[GivenAttestation, Edge]]:
        if len(sent) > _MAX_ATTESTATIONS:
            raise DefinitionError(f"the front end returned more than {_MAX_ATTESTATIONS} attestations of a platform")
        attestations: list[tuple[GivenAttestation, Edge]] = []
        for each in sent:
            given = given_attestation(each)
            edge, _ = self._ref(each.ref.id)
            attestations.append((given, edge))
        return attestations

    def _failed(self, status: gw.Status) -> BuildError:
        """Return the error of a front end; an error that it received from here and passes on is returned unchanged."""
        build_error = solve_error(GrpcError(status.code, status.message, status.SerializeToString()), {})
        with self._lock:
            known = list(self._errors)
        for error in reversed(known):
            if error.message and error.message in build_error.message:
                error.message = build_error.message
                return error.at(build_error.location)
        return build_error


def _deprecate(result: gw.Result) -> None:
    """Also fill the deprecated fields, the only ones that old front ends read."""
    if result.WhichOneof("result") == "refs":
        names = {name: ref.id for name, ref in result.refs.refs.items()}
        result.refsDeprecated.CopyFrom(gw.RefMapDeprecated(refs=names))
    else:
        result.refDeprecated = result.ref.id


def _platform_message(platform: Platform) -> pb.Platform:
    return pb.Platform(Architecture=platform.architecture, OS=platform.os, Variant=platform.variant)


def warned_lines(warning: gw.WarnRequest) -> tuple[str, int, int]:
    """Return the file and the lines that a warning is about; 0 for no lines."""
    if not warning.ranges:
        return "", 0, 0
    place = source_range(warning.info.filename, "", warning.ranges)
    return place.filename, place.start, place.end
