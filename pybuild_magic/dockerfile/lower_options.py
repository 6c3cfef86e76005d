"""The front end's options, from the attributes of a SolveRequest."""

from __future__ import annotations

import csv
import ipaddress
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ..errors import UsageError
from ..golang.parsebool import parse_bool
from ..llb.ops import Edge, NetMode
from ..oci import platform as platforms
from ..oci.platform import Platform
from ..untrusted.foreign import number

IgnoreReader = Callable[[str, str], Sequence[str]]
"""From (name of a local directory, name of the vertex that shows it) to the patterns of its .dockerignore."""

Ulimit = tuple[str, int, int]
"""Name, soft and hard limit; -1 is unlimited."""

_RESOLVE_MODES = ("default", "pull", "local")
_NETWORKS = {"": NetMode.SANDBOX, "sandbox": NetMode.SANDBOX, "host": NetMode.HOST, "none": NetMode.NONE}
_ULIMITS = frozenset(
    {"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"}
    | {"rtprio", "rttime", "sigpending", "stack"}
)


def no_patterns(directory: str, vertex: str) -> Sequence[str]:  # noqa: ARG001 - an IgnoreReader
    """Return no patterns, for builds whose local directories have no .dockerignore."""
    return ()


class LowerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The input of `compile` besides the Dockerfile."""

    target: str = ""
    """The name of the stage to build; "" for the last one."""
    platforms: tuple[Platform, ...] = ()
    """In normal form; empty stands for the build platform, with the details of the base image."""
    build_platform: Platform = msgspec.field(default_factory=lambda: platforms.normalise(platforms.host()))
    multi_platform: bool = False
    """Whether vertex names include their platform."""
    build_args: dict[str, str] = {}
    labels: dict[str, str] = {}
    named_contexts: dict[str, str] = {}
    """`NAME` or `NAME::PLATFORM` to `docker-image://…`, `oci-layout://…`, `local:NAME` or a URL."""
    no_cache: bool | frozenset[str] = False
    """True for every stage, or the names of the stages that are always built anew."""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    ulimits: tuple[Ulimit, ...] = ()
    network: NetMode = NetMode.SANDBOX
    hostname: str = ""
    cgroup_parent: str = ""
    cache_namespace: str = ""
    """Goes before the id of every cache mount."""
    image_resolve_mode: str = "default"
    context_name: str = "context"
    """The session's directory from which COPY and ADD read."""
    context: Edge | None = None
    """The context when it is not a local directory: see `contexts.git_context` and its neighbours."""
    read_ignore: IgnoreReader = no_patterns

    def ignores_cache(self, stage: str) -> bool:
        """Return whether the stage's COPY, ADD and RUN always run again."""
        if isinstance(self.no_cache, bool):
            return self.no_cache
        return stage.lower() in self.no_cache


def parse_options(attrs: Mapping[str, str]) -> LowerOptions:
    """Return the options in a request's `frontend_attrs`. Raises UsageError with BuildKit's messages.

    The `context` of the result is None and `read_ignore` reads nothing: code that opens files sets them.
    """
    if parse_bool(attrs.get("build-arg:BUILDKIT_DISABLE_FILEOP", "")):
        raise UsageError('support for "BUILDKIT_DISABLE_FILEOP" build-arg was removed in BuildKit 0.11')
    targets = tuple(platforms.normalise(platforms.parse(text)) for text in attrs.get("platform", "").split(",") if text)
    multi = attrs.get("build-arg:BUILDKIT_MULTI_PLATFORM") or attrs.get("multi-platform") or ""
    setting = parse_bool(multi)
    if multi and setting is None:
        raise UsageError(f"invalid boolean value for multi-platform: {multi}")
    several = len(targets) > 1 if setting is None else setting
    if len(targets) > 1 and not several:
        raise UsageError("conflicting config: returning multiple target platforms is not allowed")
    mode = attrs.get("image-resolve-mode") or "default"
    if mode not in _RESOLVE_MODES:
        raise UsageError(f"invalid image-resolve-mode: {mode}")
    network = attrs.get("force-network-mode", "")
    if network not in _NETWORKS:
        raise UsageError(f"invalid netmode {network}")
    shm_size = attrs.get("shm-size", "")
    shm_bytes = number(shm_size or "0")
    if shm_bytes is None:
        raise UsageError(f"failed to parse shm size: {shm_size} is not a number of bytes")
    return LowerOptions(
        target=attrs.get("target", ""),
        platforms=targets,
        multi_platform=several,
        build_args=_with_prefix(attrs, "build-arg:"),
        labels=_with_prefix(attrs, "label:"),
        named_contexts=_with_prefix(attrs, "context:"),
        no_cache=_no_cache(attrs.get("no-cache")),
        extra_hosts=tuple(_host(field) for field in _fields(attrs.get("add-hosts", ""))),
        shm_size=shm_bytes,
        ulimits=tuple(_ulimit(field) for field in _fields(attrs.get("ulimit", ""))),
        network=_NETWORKS[network],
        hostname=attrs.get("build-arg:BUILDKIT_SANDBOX_HOSTNAME") or attrs.get("hostname", ""),
        cgroup_parent=attrs.get("cgroup-parent", ""),
        cache_namespace=attrs.get("build-arg:BUILDKIT_CACHE_MOUNT_NS", ""),
        image_resolve_mode=mode,
        context_name=attrs.get("contextkey", "context"),
    )


def _with_prefix(attrs: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in attrs.items() if key.startswith(prefix)}


def _no_cache(value: str | None) -> bool | frozenset[str]:
    if not value:
        return value is not None
    return frozenset(name.lower() for name in value.split(","))


def _fields(text: str) -> list[str]:
    return next(csv.reader([text], strict=True)) if text else []


def _host(field: str) -> tuple[str, str]:
    name, equals, address = field.lower().partition("=")
    if not equals:
        raise UsageError(f"failed to parse additional hosts: invalid key-value pair {field}")
    try:
        return name, str(ipaddress.ip_address(address))
    except ValueError:
        raise UsageError(f"failed to parse additional hosts: failed to parse IP {address}") from None


def _ulimit(field: str) -> Ulimit:
    name, equals, limits = field.partition("=")
    if not equals:
        raise UsageError(f"failed to parse ulimit: invalid ulimit argument: {field}")
    if name not in _ULIMITS:
        raise UsageError(f"failed to parse ulimit: invalid ulimit type: {name}")
    soft_text, _, hard_text = limits.partition(":")
    try:
        soft, hard = int(soft_text), int(hard_text or soft_text)
    except ValueError:
        raise UsageError(f"failed to parse ulimit: {limits} is not soft[:hard], two numbers") from None
    if hard != -1 and (soft == -1 or soft > hard):
        raise UsageError(
            f"failed to parse ulimit: ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )
    return name, soft, hard
