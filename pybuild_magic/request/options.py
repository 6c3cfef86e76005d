"""BuildOptions: all options of a build, whoever starts it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..session import SecretSource, SSHSource
from .outputs import Output
from .values import CacheEntry, Call, Ulimit

Context = str | Mapping[str, str | bytes] | None
"""A directory, `-` for none, a Git or HTTP URL, or files by path; None is the working directory."""


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All options of a build. Fields have the names of the flags."""

    dockerfile: str | None = None
    """The Dockerfile's text; None when `file` or the context has it."""
    file: str = ""
    context: Context = None
    tags: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    build_args: dict[str, str] = {}
    build_contexts: dict[str, str] = {}
    labels: dict[str, str] = {}
    target: str = ""
    platforms: tuple[str, ...] = ()
    pull: bool = False
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    ssh: tuple[SSHSource, ...] = ()
    network: str = "default"
    add_hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    """Bytes; 0 is the default of 64 MiB."""
    ulimits: tuple[Ulimit, ...] = ()
    annotations: tuple[str, ...] = ()
    attests: tuple[str, ...] = ()
    cache_from: tuple[CacheEntry, ...] = ()
    cache_to: tuple[CacheEntry, ...] = ()
    allow: tuple[str, ...] = ()
    cgroup_parent: str = ""
    call: Call = Call()
    policies: tuple[str, ...] = ()
    locked: bool = False
    resources: tuple[str, ...] = ()
    metadata_file: str = ""
    iidfile: str = ""
    progress: str = "auto"
    quiet: bool = False
    builder: str = ""
    background: bool = False
    debug: bool = False
    dry_run: bool = False
    into: str = ""
    view: str = ""
    """The tab of the result that opens first, one of `summary.TABS`; "" for the page's choice."""
