"""Provenance: how a result was made and from which sources, as SLSA's predicate with BuildKit's extensions.

The rules are those of BuildKit's `solver/llbsolver/provenance`. In addition, credentials are removed from all URLs,
including those in build arguments, commands and the Dockerfile, and no directory of this machine is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ..dockerfile.git_ref import parse_git_ref
from ..llb.ops import Edge
from ..oci import platform as platforms
from ..oci.timestamp import format_time
from ..untrusted.redaction import redact_data, redact_url
from .buildconfig import ReadOp, Snapshots, Steps
from .capture import Capture
from .options import ProvenanceOptions
from .purl import image_purl
from .statement import SLSA, Attestation, LayerForm, digest_set

_BUILD_TYPES = {
    "v0.2": "https://mobyproject.org/buildkit@v1",
    "v1": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
}
_METADATA = "https://mobyproject.org/buildkit@v1#metadata"
_HERMETIC = "https://mobyproject.org/buildkit@v1#hermetic"
_HOST_ARGS = frozenset({"cgroup-parent", "image-resolve-mode", "platform", "cache-imports"})
"""Front-end attributes that say nothing about the result."""
_AS_ARGS = {"hostname": "build-arg:BUILDKIT_SANDBOX_HOSTNAME", "multi-platform": "build-arg:BUILDKIT_MULTI_PLATFORM"}
"""The attributes that build arguments stand for."""
_BUILD_VALUES = ("build-arg:", "label:")


class BuildFacts(msgspec.Struct, frozen=True, eq=False):
    """The facts about a build for one platform, known from its request and its solver."""

    attrs: Mapping[str, str]
    """The front-end attributes of the request."""
    capture: Capture
    edge: Edge
    source: Callable[[Steps], dict[str, Any] | None]
    """Returns BuildKit's `Source` of the graph's steps; None when nothing is known of their lines."""
    snapshots: Snapshots
    invocation: str
    """The id of the build."""
    started: int
    """Nanoseconds since 1970."""
    frontend: str = "dockerfile.v0"
    complete: bool = True
    """Whether all that went in is known, as far as it has a digest."""
    read: ReadOp | None = None
    """Reads the ops that a front end of an image sent."""


def provenance(facts: BuildFacts, options: ProvenanceOptions) -> Attestation:
    """Return the attestation; its predicate is made once an exporter knows the layers."""

    def predicate(form: LayerForm) -> dict[str, Any]:
        parts = _parts(facts, options, form)
        return _slsa_02(parts) if options.version == "v0.2" else _slsa_1(parts)

    return Attestation(options.filename, SLSA[options.version], predicate, inline_only=options.inline_only)


def recorded(facts: BuildFacts, builder_id: str, form: LayerForm, *, steps: bool) -> dict[str, Any]:
    """Return what BuildKit's history keeps of a build, as buildx writes it to `--metadata-file`."""
    options = ProvenanceOptions(version="v0.2", builder_id=builder_id)
    document = _slsa_02(_parts(facts, options, form, steps=steps))
    if not steps:
        del document["metadata"]
    return document


def as_slsa_02(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a predicate of SLSA 1 in the older format, as BuildKit converts it."""
    definition: dict[str, Any] = document.get("buildDefinition") or {}
    details: dict[str, Any] = document.get("runDetails") or {}
    external: dict[str, Any] = definition.get("externalParameters") or {}
    internal: dict[str, Any] = definition.get("internalParameters") or {}
    source: dict[str, Any] = external.get("configSource") or {}
    known: dict[str, Any] = details.get("metadata") or {}
    completeness: dict[str, Any] = known.get("buildkit_completeness") or {}
    builder: dict[str, Any] = details.get("builder") or {}
    environment = {"platform" if name == "builderPlatform" else name: value for name, value in internal.items()}
    config = environment.pop("buildConfig", None)
    return {
        "builder": {"id": builder.get("id", "")},
        "buildType": _BUILD_TYPES["v0.2"],
        **_present([("materials", definition.get("resolvedDependencies"))]),
        "invocation": {
            "configSource": {"entryPoint" if name == "path" else name: value for name, value in source.items()},
            "parameters": external.get("request") or {},
            "environment": environment,
        },
        **_present([("buildConfig", config)]),
        "metadata": {
            "buildInvocationID": known.get("invocationId", ""),
            "buildStartedOn": known.get("startedOn"),
            "buildFinishedOn": known.get("finishedOn"),
            "completeness": {
                "parameters": bool(completeness.get("request")),
                "environment": True,
                "materials": bool(completeness.get("resolvedDependencies")),
            },
            "reproducible": bool(known.get("buildkit_reproducible")),
            _METADATA: known.get("buildkit_metadata") or {},
            **_present([(_HERMETIC, known.get("buildkit_hermetic"))]),
        },
    }


class _Parts(msgspec.Struct, frozen=True):
    """The parts that both versions share, with members in the order of BuildKit's types."""

    builder: str
    materials: list[dict[str, Any]]
    config_source: dict[str, Any]
    """`uri`, `digest` and `path`."""
    parameters: dict[str, Any]
    complete_parameters: bool
    complete_materials: bool
    hermetic: bool
    reproducible: bool
    invocation: str
    started: str
    finished: str
    metadata: dict[str, Any]
    """BuildKit's own metadata."""
    build_config: dict[str, Any] | None


def _parts(facts: BuildFacts, options: ProvenanceOptions, form: LayerForm, *, steps: bool = True) -> _Parts:
    capture = facts.capture
    args = _args(facts.attrs)
    config_source = _config_source(args, capture)
    vcs = _take_vcs(args)
    maximal = options.mode == "max"
    parameters = (
        args if maximal else {name: value for name, value in args.items() if not name.startswith(_BUILD_VALUES)}
    )
    metadata: dict[str, Any] = {"vcs": vcs} if vcs else {}
    build_config = None
    complete = facts.complete and not capture.incomplete
    if maximal and steps:
        graph = Steps(facts.edge, facts.read)
        build_config = graph.definition
        if source := facts.source(graph):
            metadata["source"] = source
        if layers := graph.layers(facts.snapshots, form):
            metadata["layers"] = layers
    return _Parts(
        builder=options.builder_id,
        materials=_materials(capture),
        config_source=config_source,
        parameters=_parameters(facts.frontend, parameters, capture, secrets=maximal),
        complete_parameters=len(parameters) == len(args),
        complete_materials=complete,
        hermetic=complete and not capture.network,
        reproducible=options.reproducible,
        invocation=facts.invocation,
        started=format_time(facts.started),
        finished=format_time(time.time_ns()),
        metadata=metadata,
        build_config=build_config,
    )


def _args(attrs: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes that are parameters, with credentials removed from URLs, sorted as Go sorts a map."""
    known = {**attrs, **{name: attrs[arg] for name, arg in _AS_ARGS.items() if attrs.get(arg)}}
    public = {name: value for name, value in known.items() if name not in _HOST_ARGS and not name.startswith("attest:")}
    return {name: _public(value) for name, value in sorted(redact_data(public).items())}


def _public(value: str) -> str:
    """Return a value without the directories that lead to a layout on this machine."""
    scheme, separator, path = value.partition("oci-layout://")
    return scheme + separator + path.rpartition("/")[2] if separator and not scheme else value


def _config_source(args: dict[str, str], capture: Capture) -> dict[str, Any]:
    """Return the source of the Dockerfile, removed from `args`."""
    source: dict[str, Any] = {}
    if where := args.pop(args.get("contextkey") or "context", ""):
        source |= _material_at(where, capture) or {"uri": redact_url(where)}
    if name := args.pop("filename", ""):
        source["path"] = name
    return source


def _material_at(url: str, capture: Capture) -> dict[str, Any] | None:
    ref = parse_git_ref(url)
    if ref is not None:
        url = redact_url(ref.remote + (f"#{ref.ref}" if ref.ref else ""))
    for known in (capture.git, capture.http):
        if url in known:
            return {"uri": url, "digest": _digest(known[url])}
    return None


def _digest(pin: str) -> dict[str, str]:
    if ":" in pin:
        return digest_set(pin)
    return {"sha256" if len(pin) == 64 else "sha1": pin}


def _take_vcs(args: dict[str, str]) -> dict[str, str]:
    names = [name for name in args if name.startswith("vcs:")]
    sources = {name.removeprefix("vcs:"): args.pop(name) for name in names}
    if "source" in sources:
        sources["source"] = redact_url(sources["source"])
    return {name: value for name, value in sources.items() if value}


def _materials(capture: Capture) -> list[dict[str, Any]]:
    materials: list[dict[str, Any]] = []
    for image in capture.images:
        kind = "oci" if image.local else "docker"
        material: dict[str, Any] = {"uri": image_purl(image.ref, image.platform, kind=kind)}
        materials.append(material | ({"digest": digest_set(image.digest)} if image.digest else {}))
    for sources in (capture.git, capture.http):
        materials += [{"uri": url, "digest": _digest(pin)} for url, pin in sorted(sources.items())]
    return materials


def _parameters(frontend: str, args: dict[str, str], capture: Capture, *, secrets: bool) -> dict[str, Any]:
    members: dict[str, Any] = {"frontend": frontend}
    if args:
        members["args"] = args
    for name, uses in (("secrets", capture.secrets), ("ssh", capture.ssh)):
        if uses and secrets:
            members[name] = [{"id": key} | ({"optional": True} if uses[key] else {}) for key in sorted(uses)]
    if capture.locals:
        members["locals"] = [{"name": name} for name in sorted(capture.locals)]
    return members


def _host() -> str:
    return str(platforms.normalise(platforms.host()))


def _present(members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members that Go's `omitempty` keeps."""
    return {name: value for name, value in members if value}


def _slsa_02(parts: _Parts) -> dict[str, Any]:
    source = {"entryPoint" if name == "path" else name: value for name, value in parts.config_source.items()}
    return {
        "builder": {"id": parts.builder},
        "buildType": _BUILD_TYPES["v0.2"],
        **_present([("materials", parts.materials)]),
        "invocation": {
            "configSource": source,
            "parameters": parts.parameters,
            "environment": {"platform": _host()},
        },
        **_present([("buildConfig", parts.build_config)]),
        "metadata": {
            "buildInvocationID": parts.invocation,
            "buildStartedOn": parts.started,
            "buildFinishedOn": parts.finished,
            "completeness": {
                "parameters": parts.complete_parameters,
                "environment": True,
                "materials": parts.complete_materials,
            },
            "reproducible": parts.reproducible,
            _METADATA: parts.metadata,
            **_present([(_HERMETIC, parts.hermetic)]),
        },
    }


def _slsa_1(parts: _Parts) -> dict[str, Any]:
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPES["v1"],
            **_present([("resolvedDependencies", parts.materials)]),
            "externalParameters": {"configSource": parts.config_source, "request": parts.parameters},
            "internalParameters": {**_present([("buildConfig", parts.build_config)]), "builderPlatform": _host()},
        },
        "runDetails": {
            "builder": {"id": parts.builder},
            "metadata": {
                "invocationId": parts.invocation,
                "startedOn": parts.started,
                "finishedOn": parts.finished,
                "buildkit_metadata": parts.metadata,
                **_present([("buildkit_hermetic", parts.hermetic)]),
                "buildkit_completeness": {
                    "request": parts.complete_parameters,
                    "resolvedDependencies": parts.complete_materials,
                },
                **_present([("buildkit_reproducible", parts.reproducible)]),
            },
        },
    }
