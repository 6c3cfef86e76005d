"""The external caches that a build reads and writes: `--cache-from` and `--cache-to`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from ...cache import attributes
from ...cache.imported import CacheLayersError, ImportedCache
from ...cache.records import Record
from ...cancel import Cancel
from ...errors import BuildError, Interrupted
from ...exporters import ExportContext, SolveResult
from ...exporters.attributes import Values
from ...golang.parsebool import parse_bool
from ...llb.ops import Edge
from ...oci import reference
from ...oci.digest import sha256
from ...request.solve_request import SolveRequest
from ...session import Session
from ...status.report import Reporter, VertexReport
from ...store import Store
from .exported import collect
from .sources import RemoteLayers
from .vertex import SolvedGraph

if TYPE_CHECKING:
    from ...oci.remote.registry import Registry

_NAMES = {"local": "exporting cache to client directory", "registry": "exporting cache to registry"}
"""The names of the vertices of cache exports, as in BuildKit."""


class BuildCaches:
    """The caches of one request. Raises UsageError and UnsupportedError for invalid attributes."""

    def __init__(self, request: SolveRequest) -> None:
        self._imports = [
            (entry.type, attributes.check_import(entry.type, entry.attrs)) for entry in request.cache.imports
        ]
        self._exports = [
            (entry.type, attributes.check_export(entry.type, entry.attrs)) for entry in request.cache.exports
        ]
        if parse_bool(request.frontend_attrs.get("build-arg:BUILDKIT_INLINE_CACHE", "")):
            self._exports.append(("inline", attributes.check_export("inline", {})))
        self._records: dict[str, list[Record]] = {}
        """The records of the whole build, by mode."""
        self._inline: list[list[Record]] = []
        """The records of each target."""
        self._created: dict[str, int] = {}
        self.given_up = False
        """Whether the build does without caches, because one of them was incomplete."""

    def read(self, reader: CacheReader) -> list[ImportedCache]:
        """Return the caches to import."""
        return [cache for kind, values in self._imports for cache in reader.read(kind, values)]

    def give_up(self, reporter: Reporter, error: CacheLayersError) -> None:
        """Stop using caches, because one that was already in use turned out to be incomplete."""
        self._imports = []
        self.given_up = True
        _vertex(reporter, f"importing cache manifest from {error.cache}").warn(
            f"The build starts again without its caches. {error.message}"
        )

    def collect(self, solved: SolvedGraph, edges: Sequence[Edge | None]) -> None:
        """Collect the records of a solved build."""
        self._created = solved.created() if self._exports else {}
        for kind, values in self._exports:
            mode: str = values["mode"]
            if kind == "inline":
                self._inline = [collect([edge], solved, whole=mode == "max") for edge in edges]
            elif mode not in self._records:
                self._records[mode] = collect(edges, solved, whole=mode == "max")

    def inlined(self, result: SolveResult) -> SolveResult:
        """Return the result, with the records added to the configs of its images."""
        if not self._inline:
            return result
        from ...cache.inline import inline_cache

        targets = [
            msgspec.structs.replace(target, inline_cache=inline_cache(records, target.snapshot))
            for target, records in zip(result.targets, self._inline, strict=True)
        ]
        return msgspec.structs.replace(result, targets=tuple(targets))

    def write(
        self, store: Store, session: Session, reporter: Reporter, cancel: Cancel, remote: RemoteLayers | None
    ) -> dict[str, str]:
        """Write the caches that are not part of an image, and return the members of the response. Raises
        ExportError.
        """
        from ...cache.writing import write_cache

        response: dict[str, str] = {}
        for kind, values in self._exports:
            if kind == "inline":
                continue
            report = _vertex(reporter, _NAMES[kind])
            records = self._records[values["mode"]]
            with report:
                try:
                    context = ExportContext(store, session, report, cancel, remote=remote)
                    response |= write_cache(kind, values, records, self._created, context)
                except Interrupted:
                    raise
                except BuildError as error:
                    if not values["ignore-error"]:
                        raise
                    report.warn(f"The cache could not be exported. {error.message}")
        return response


class CacheReader:
    """Reads the caches that a build imports; one that is unavailable causes a warning.

    `stack` closes the registries' clients.
    """

    def __init__(self, store: Store, session: Session, reporter: Reporter, cancel: Cancel, stack: ExitStack) -> None:
        self._store = store
        self._session = session
        self._reporter = reporter
        self._cancel = cancel
        self._stack = stack

    def read(self, kind: str, values: Values) -> list[ImportedCache]:
        """Return the caches of a `--cache-from`; none for one that is unavailable."""
        from ...cache.reading import cache_name, read_cache

        name = cache_name(kind, values)
        report = _vertex(self._reporter, f"importing cache manifest from {name}")
        with report:
            try:
                registry = _registry(kind, values, self._session, self._stack)
                return read_cache(kind, values, registry, self._store, report, self._cancel)
            except Interrupted:
                raise
            except BuildError as error:
                report.warn(f"The build continues without the cache {name}. {error.message}")
        return []

    def skip(self, name: str, reason: str) -> None:
        """Warn of a cache that is not read."""
        with _vertex(self._reporter, f"importing cache manifest from {name}") as report:
            report.warn(f"The build continues without the cache {name}. {reason}")


def _registry(kind: str, values: Values, session: Session, stack: ExitStack) -> Registry | None:
    """Return the client of a cache's registry; `stack` closes it."""
    if kind != "registry":
        return None
    from ...exporters.push import registry_for

    ref = reference.parse(values["ref"])
    return stack.enter_context(registry_for(session.auth, ref, insecure=values["registry.insecure"]))


def _vertex(reporter: Reporter, name: str) -> VertexReport:
    return reporter.vertex(sha256(name.encode("utf-8", "surrogateescape")), name)
