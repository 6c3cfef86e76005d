"""The vertices of a build that an imported cache has, and their results from there.

As in BuildKit, a vertex is first looked up by how its inputs were made and, if that fails, by the content that it
reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from ...cache.imported import CachedLayer, ImportedCache, InputKeys, Matches
from ...cache.keys import Selector, op_key, source_records
from ...llb.ops import Edge, Node, SourceOp, output_count
from .snapshot import Snapshot
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

    def __init__(self, remote: RemoteLayers, graph: Graph, is_local: Callable[[Node], bool]) -> None:
        self._caches: tuple[ImportedCache, ...] = ()
        self._remote = remote
        self._graph = graph
        self._is_local = is_local
        self._matches: dict[tuple[str, int], tuple[Matches, ...]] = {}
        """For each output of a vertex, the matching records of each cache."""
        self._contents: dict[tuple[str, int], str] = {}
        """For each vertex and number of an input, the checksums of the content that is read."""

    def add(self, caches: Sequence[ImportedCache]) -> None:
        """Also look up vertices in these caches; what earlier ones were found to match is looked up again."""
        self._caches = (*self._caches, *caches)
        self._matches = {}

    async def find(self, node: Node, outputs: Collection[int], *, by_content: bool) -> VertexResult | None:
        """Return a node's result from a cache, without fetching its layers; only the given `outputs` are looked for.

        Unless `by_content` is set, no input other than local directories is read for it.
        """
        await self._match(node, by_content=by_content)
        snapshots: list[Snapshot] = [()] * (1 + max(outputs))
        created: dict[str, Provenance] = {}
        for output in outputs:
            found = self._found(self._matches[node.digest, output])
            if found is None:
                return None
            layers, cache = found
            self._remote.leave_cached(layers, cache)
            created |= {layer.diff_id: Provenance(layer.created, layer.made_by) for layer in layers}
            snapshots[output] = tuple(layer.diff_id for layer in layers)
        return VertexResult(tuple(snapshots), created)

    def _found(self, matches: Sequence[Matches]) -> tuple[tuple[CachedLayer, ...], ImportedCache] | None:
        """Return the layers of a result, and the first cache that has it."""
        results = ((cache.result(known), cache) for cache, known in zip(self._caches, matches, strict=True))
        return next(((layers, cache) for layers, cache in results if layers is not None), None)

    async def _match(self, node: Node, *, by_content: bool) -> None:
        """Find the records that match each output of a node."""
        key = op_key(node)
        inputs: list[tuple[Matches, ...]] = await self._graph.all(map(self._of_input, node.inputs))
        contents = [""] * len(inputs)
        for number, (edge, dependency) in enumerate(zip(node.inputs, key.dependencies, strict=True)):
            place = node.digest, number
            if dependency.content and place not in self._contents and (by_content or self._is_local(edge.node)):
                self._contents[place] = await self._graph.checksum(edge, dependency.content)
            contents[number] = self._contents.get(place, "")
        keys: list[list[InputKeys]] = []
        for number, _ in enumerate(self._caches):
            known = zip(inputs, key.dependencies, contents, strict=True)
            keys.append(
                [InputKeys(matches[number], dependency.selector, content) for matches, dependency, content in known]
            )
        for output in range(output_count(node.op)):
            record = key.record(output)
            matched = (cache.match(record, read) for cache, read in zip(self._caches, keys, strict=True))
            self._matches[node.digest, output] = tuple(matched)

    async def _of_input(self, edge: Edge) -> tuple[Matches, ...]:
        """Return the records that match an input, once its key is known."""
        node = edge.node
        if self._is_local(node) or node.ignore_cache:
            return (frozenset[int](),) * len(self._caches)
        await self._graph.key(node)
        if isinstance(node.op, SourceOp):
            digests = source_records(await self._graph.source_names(node))
            return tuple(cache.sources(digests) for cache in self._caches)
        place = node.digest, edge.output
        if place not in self._matches:
            await self._match(node, by_content=False)
            if self._graph.is_remembered(node) and not any(self._matches[place]):
                await self._match(node, by_content=True)
        return self._matches[place]
