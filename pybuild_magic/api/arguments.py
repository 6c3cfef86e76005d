"""The arguments of `pybuild_magic.build` and its like: the flags of `docker buildx build`, as Python has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypedDict

from ..request.flags import flags_of
from ..request.options import BuildOptions, Context, options_from


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
    given = dict(locals())
    for name in ("dockerfile", "context", *(["file"] if dockerfile is not None else [])):
        del given[name]
    where = str(context) if isinstance(context, Path) else context
    return options_from(flags_of(given), dockerfile=dockerfile, context=where)
