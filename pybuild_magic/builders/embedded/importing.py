"""The vertices of a build that an imported cache has, and their results from there.

As in BuildKit, a vertex is first looked up by how its inputs were made and, if that fails, by the content that it
reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from ...cache.imported import ImportedCache, InputKeys, Matches
from ...cache.keys import Selector, op_key, source_records
from ...llb.ops import Edge, Node, SourceOp
from .sources import RemoteLayers
from .vertex_result import Provenance, VertexResult


class Graph(Protocol):
    """A build that is being solved."""

    async def key(self, node: Node) -> str:
        """Wait until it is known whether a node's result is remembered or imported, and return its key."""
        ...

    def is_remembered(self, node: Node) -> bool:
        """Wait until it is known whether the result is remembered, and return that."""
        ...

    async def source_names(self, node: Node) -> Sequence[str]:
        """Return the names of a source's content: see `Source.names`."""
        ...

    async def checksum(self, edge: Edge, selectors: Sequence[Selector]) -> str:
        """Return BuildKit's checksum of the selected files of an edge; "" when they do not exist."""
        ...

    async def all(self, jobs: Iterable[Awaitable[Any]]) -> list[Any]:
        """Return several results that are waited for at the same time."""
        ...


class CacheMatcher:
    """Looks up the vertices of one build in caches. `is_local` recognises local directories, which have no key."""

    def __init__(
        self, caches: Sequence[ImportedCache], remote: RemoteLayers, graph: Graph, is_local: Callable[[Node], bool]
    ) -> None:
        self._caches = caches
        self._remote = remote
        self._graph = graph
        self._is_local = is_local
        self._none: tuple[Matches, ...] = (frozenset[int](),) * len(caches)
        self._matches: dict[str, tuple[Matches, ...]] = {}
        """For each vertex, the matching records of each cache."""
        self._contents: dict[tuple[str, int], str] = {}
        """For each vertex and number of an input, the checksums of the content that is read."""

    async def find(self, node: Node, *, by_content: bool) -> VertexResult | None:
        """Return a node's result from a cache, without fetching its layers.

        Unless `by_content` is set, no input other than local directories is read for it.
        """
        for cache, matches in zip(self._caches, await self._match(node, by_content=by_content), strict=True):
            layers = cache.result(matches)
            if layers is not None:
                self._remote.leave_cached(layers, cache)
                created = {layer.diff_id: Provenance(layer.created, layer.made_by) for layer in layers}
                return VertexResult((tuple(layer.diff_id for layer in layers),), created)
        return None

    async def _match(self, node: Node, *, by_content: bool) -> tuple[Matches, ...]:
        key = op_key(node)
        inputs: list[tuple[Matches, ...]] = await self._graph.all(map(self._of_input, node.inputs))
        contents = [""] * len(inputs)
        for number, (edge, dependency) in enumerate(zip(node.inputs, key.dependencies, strict=True)):
            place = node.digest, number
            if dependency.content and place not in self._contents and (by_content or self._is_local(edge.node)):
                self._contents[place] = await self._graph.checksum(edge, dependency.content)
            contents[number] = self._contents.get(place, "")
        records: list[Matches] = []
        for number, cache in enumerate(self._caches):
            known = zip(inputs, key.dependencies, contents, strict=True)
            keys = [InputKeys(matches[number], dependency.selector, content) for matches, dependency, content in known]
            records.append(cache.match(key.record(0), keys))
        self._matches[node.digest] = tuple(records)
        return self._matches[node.digest]

    async def _of_input(self, edge: Edge) -> tuple[Matches, ...]:
        """Return the records that match an input, once its key is known."""
        node = edge.node
        if self._is_local(node) or node.ignore_cache or edge.output:
            return self._none
        await self._graph.key(node)
        if isinstance(node.op, SourceOp):
            digests = source_records(await self._graph.source_names(node))
            return tuple(cache.sources(digests) for cache in self._caches)
        if node.digest not in self._matches:
            matches = await self._match(node, by_content=False)
            if self._graph.is_remembered(node) and not any(matches):
                await self._match(node, by_content=True)
        return self._matches[node.digest]
