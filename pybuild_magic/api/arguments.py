"""The arguments of `pybuild_magic.build` and its like: the flags of `docker buildx build`, as Python has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from ..request.options import (
    BuildOptions,
    Context,
    parse_attests,
    parse_build_args,
    parse_cache,
    parse_outputs,
    parse_secret,
    parse_size,
    parse_ssh,
    parse_ulimit,
)


class BuildArguments(TypedDict, total=False):
    """What `options_of` takes by name."""

    file: str | Path
    outputs: str | Iterable[str]
    tags: str | Iterable[str]
    build_args: Mapping[str, str] | None
    build_contexts: Mapping[str, str] | None
    target: str
    platforms: str | Iterable[str] | None
    labels: Mapping[str, str] | None
    secrets: str | Iterable[str]
    ssh: str | Iterable[str]
    network: str
    add_hosts: Mapping[str, str] | None
    shm_size: str | int
    ulimits: str | Iterable[str]
    cgroup_parent: str
    resources: str | Iterable[str]
    allow: str | Iterable[str]
    cache_from: str | Iterable[str]
    cache_to: str | Iterable[str]
    attests: str | Iterable[str]
    provenance: str | bool | None
    sbom: str | bool | None
    pull: bool
    push: bool
    load: bool
    no_cache: bool
    no_cache_filter: str | Iterable[str]
    annotations: str | Iterable[str]
    builder: str | None
    progress: str
    metadata_file: str | Path
    iidfile: str | Path


def options_of(
    dockerfile: str | None = None,
    context: Context | Path = None,
    *,
    file: str | Path = "",
    outputs: str | Iterable[str] = (),
    tags: str | Iterable[str] = (),
    build_args: Mapping[str, str] | None = None,
    build_contexts: Mapping[str, str] | None = None,
    target: str = "",
    platforms: str | Iterable[str] | None = None,
    labels: Mapping[str, str] | None = None,
    secrets: str | Iterable[str] = (),
    ssh: str | Iterable[str] = (),
    network: str = "default",
    add_hosts: Mapping[str, str] | None = None,
    shm_size: str | int = 0,
    ulimits: str | Iterable[str] = (),
    cgroup_parent: str = "",
    resources: str | Iterable[str] = (),
    allow: str | Iterable[str] = (),
    cache_from: str | Iterable[str] = (),
    cache_to: str | Iterable[str] = (),
    attests: str | Iterable[str] = (),
    provenance: str | bool | None = None,
    sbom: str | bool | None = None,
    pull: bool = False,
    push: bool = False,
    load: bool = False,
    no_cache: bool = False,
    no_cache_filter: str | Iterable[str] = (),
    annotations: str | Iterable[str] = (),
    builder: str | None = None,
    progress: str = "plain",
    metadata_file: str | Path = "",
    iidfile: str | Path = "",
) -> BuildOptions:
    """The options that the arguments stand for. Raises UsageError for one that cannot be read."""
    return BuildOptions(
        dockerfile=dockerfile,
        file=str(file),
        context=str(context) if isinstance(context, Path) else context,
        tags=_words(tags),
        outputs=parse_outputs(_words(outputs), push=push, load=load),
        build_args={**parse_build_args((), os.environ), **(build_args or {})},
        build_contexts=dict(build_contexts or {}),
        labels=dict(labels or {}),
        target=target,
        platforms=tuple(name for word in _words(platforms or ()) for name in word.split(",")),
        pull=pull,
        no_cache=no_cache,
        no_cache_filter=tuple(name for word in _words(no_cache_filter) for name in word.split(",")),
        secrets=tuple(parse_secret(secret) for secret in _words(secrets)),
        ssh=tuple(parse_ssh(agent) for agent in _words(ssh)),
        network=network,
        add_hosts=tuple((add_hosts or {}).items()),
        shm_size=parse_size(str(shm_size), "shm_size"),
        ulimits=tuple(parse_ulimit(limit) for limit in _words(ulimits)),
        cgroup_parent=cgroup_parent,
        resources=_words(resources),
        allow=_words(allow),
        cache_from=tuple(parse_cache(cache, "cache_from") for cache in _words(cache_from)),
        cache_to=tuple(parse_cache(cache, "cache_to") for cache in _words(cache_to)),
        attests=parse_attests(_words(attests), _flag(provenance), _flag(sbom)),
        annotations=_words(annotations),
        builder=builder or "",
        progress=progress,
        metadata_file=str(metadata_file),
        iidfile=str(iidfile),
    )


def _flag(value: str | bool | None) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
