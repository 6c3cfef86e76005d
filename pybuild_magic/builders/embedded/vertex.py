"""The state of each vertex while a build is solved, and the facts about all of them when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ...cache.checksum import TreeChecksum
from ...cancel import Cancel
from ...llb.ops import Edge, ExecOp, FileOp, Node, has_output, output_count
from ...status.report import VertexReport
from ...store import Store
from .context import ContextTree
from .snapshot import Snapshot
from .sources import Source
from .vertex_result import Provenance, VertexResult


class SolvedVertex:
    """The state of a vertex while it is being solved."""

    def __init__(self, node: Node, report: VertexReport) -> None:
        self.node = node
        self.report = report
        self.key: asyncio.Task[str] | None = None
        self.result: asyncio.Task[VertexResult] | None = None
        self.known_result: VertexResult | None = None
        """The remembered result."""
        self.cache_key = ""
        """The key of the record; `key` unless a run without cache changed the result."""
        self.source: Source | None = None
        self.readers: list[SolvedVertex] = []
        """The vertices that have it as an input."""
        self.outputs: set[int] = set()
        """The numbers of the outputs that are read."""
        self.undecided = False
        """Whether something must run before its key is known."""
        self.imported = False
        """Whether `known_result` is from an imported cache; then it has the outputs that are read, and no others."""

    @property
    def may_be_remembered(self) -> bool:
        """Whether its result may still turn out to be remembered."""
        return not self.node.ignore_cache and (self.key is None or not self.key.done())

    def read(self, outputs: set[int]) -> None:
        """Have these outputs read too; an imported result without them is forgotten."""
        if self.imported and not outputs <= self.outputs:
            self.key = self.result = self.known_result = None
            self.imported = False
        self.outputs |= outputs


def layers_created(
    node: Node, snapshots: Sequence[Snapshot], inputs: Sequence[VertexResult], now: int
) -> dict[str, Provenance]:
    """Return the origin of each layer of the results of a node: the node itself, at the time `now`, or its inputs."""
    before = {snapshot for solved in inputs for snapshot in solved.snapshots}
    created = {layer: provenance for solved in inputs for layer, provenance in solved.created.items()}
    for snapshot, name in zip(snapshots, _layer_names(node), strict=True):
        for layer in snapshot:
            created.setdefault(layer, Provenance(now, name))
        if isinstance(node.op, ExecOp | FileOp) and snapshot and snapshot not in before:
            created[snapshot[-1]] = Provenance(now, name)  # an input may have the very same layer
    return {layer: created[layer] for snapshot in snapshots for layer in snapshot}


def _layer_names(node: Node) -> Sequence[str]:
    """Return BuildKit's history entry for the layers of each output, for images whose config has none."""
    if not isinstance(node.op, ExecOp):
        return [node.name] * output_count(node.op)
    command = " ".join(node.op.meta.args)
    return [f"mount {mount.dest} from exec {command}" for mount in node.op.mounts if has_output(mount)]


class SolvedGraph:
    """The vertices of a build by digest, including local directories: results, names and checksums."""

    def __init__(
        self,
        store: Store,
        vertices: Mapping[str, SolvedVertex],
        local: Mapping[str, ContextTree],
        cancel: Cancel,
    ) -> None:
        self._store = store
        self._vertices = vertices
        self._local = local
        self._cancel = cancel
        self._checksums: dict[tuple[str, int], TreeChecksum] = {}
        self._memory: dict[bytes, bytes] = {}
        """The checksums of files that were read."""

    def result(self, node: Node) -> VertexResult | None:
        """Return the result of a node; None if the build did not need it."""
        vertex = self._vertices[node.digest]
        task = vertex.result
        done = task.result() if task is not None and task.done() and not task.exception() else None
        return vertex.known_result or done

    def processes(self, *, imports: bool) -> list[SolvedVertex]:
        """Return the vertices of the processes to be run, in the order of the graph, as far as is known by now.

        With `imports`, a cache may still turn out to have one whose key is not known yet; those are left out then.
        """
        needed: set[str] = set()
        todo = [vertex for vertex in self._vertices.values() if not vertex.readers]
        while todo:
            vertex = todo.pop()
            if vertex.known_result is None and vertex.node.digest not in needed:
                needed.add(vertex.node.digest)
                todo += [self._vertices[edge.node.digest] for edge in vertex.node.inputs]
        return [
            vertex
            for digest, vertex in self._vertices.items()
            if digest in needed and isinstance(vertex.node.op, ExecOp) and not (imports and vertex.may_be_remembered)
        ]

    def names(self, node: Node) -> Sequence[str]:
        """Return the names of a source's content: see `Source.names`. A local directory has none."""
        source = self._vertices[node.digest].source
        return () if source is None else source.names()

    def checksum(self, edge: Edge) -> TreeChecksum | None:
        """Return BuildKit's checksums of an edge's files; None when the files are not here."""
        key = edge.node.digest, edge.output
        if key not in self._checksums:
            tree = self._local.get(edge.node.digest)
            if tree is not None:
                sent = len(tree) > 0
                self._checksums[key] = TreeChecksum(tree.attributed(), self._memory, self._cancel, sent=sent)
                return self._checksums[key]
            done = self.result(edge.node)
            if done is None or not all(map(self._store.has_layer, done.snapshots[edge.output])):
                return None
            files = self._store.tree(done.snapshots[edge.output])
            self._checksums[key] = TreeChecksum(files, self._memory, self._cancel, sent=False)
        return self._checksums[key]

    def created(self) -> dict[str, int]:
        """Return the creation times of the layers of all results, in nanoseconds since 1970, by diffID."""
        results = filter(None, (self.result(vertex.node) for vertex in self._vertices.values()))
        return {layer: provenance.at for result in results for layer, provenance in result.created.items()}
