"""The solver: runs each vertex of a graph at most once, in parallel where inputs are ready, and skips cached ones.

There are two questions about each vertex. Its *key* identifies it: its op with the keys of its inputs or, where an op
reads files by content, with the digest of just those files. Its *result* is a record under that key; otherwise the op
is run. Each answer asks only for what it needs: a vertex whose key is known and remembered needs no results of its
inputs.

The questions are coroutines on an event loop that belongs to one build, and slow work runs in threads, so that no
thread ever waits for another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ...cache.checksum import MissingError
from ...cache.imported import CacheLayersError, ImportedCache
from ...cache.keys import Selector
from ...cancel import Cancel
from ...errors import BuildError, Interrupted
from ...llb.ops import Edge, FileOp, MergeOp, Node, SourceOp, output_count, outputs_read, walk
from ...llb.sourcepolicy import rewrite
from ...session import Session
from ...status.messages import Vertex
from ...status.report import Reporter, VertexReport
from ...store import CacheRecord, Store, write_layer
from ...store.links import LinkLoopError
from ...summary import RungSummary
from ...untrusted.redaction import redact_url
from . import cachekey
from .context import ContextTree
from .failed import FailedSteps
from .files.contenthash import CONTEXT_REF, WHOLE, content_digest
from .files.fileop import Input
from .importing import CacheMatcher
from .runner import OpRunner
from .sandbox import Sandbox
from .sandbox.limits import NO_LIMITS, Limits
from .sources import ImageSource, RemoteLayers, SourceContext, open_source
from .vertex import SolvedGraph, SolvedVertex, layers_created
from .vertex_result import Provenance, Snapshot, VertexResult, from_record, to_record
from .workers import Workers, gather

T = TypeVar("T")


class Solver:
    """Solves the graphs of one build. `cancel` stops it; running work then ends within a second."""

    def __init__(
        self,
        store: Store,
        sandbox: Sandbox,
        session: Session,
        sources: SourceContext,
        reporter: Reporter,
        cancel: Cancel,
        remote: RemoteLayers | None = None,
        failed: FailedSteps | None = None,
        limits: Limits = NO_LIMITS,
        caches: Sequence[ImportedCache] = (),
    ) -> None:
        """Prepare a solver. With `remote`, layers of images stay in their registries until a vertex reads them.

        `failed` keeps the files of failed steps; `limits` apply to each process; `caches` are asked for results that
        the store lacks.
        """
        self._store = store
        self._leaves_images = remote is not None
        self._remote = remote or RemoteLayers(store, cancel)
        self._matcher: CacheMatcher | None = None
        self.import_from(caches)
        self._sources = sources
        self._reporter = reporter
        self._blamed: list[BaseException] = []
        """The errors whose vertices are known."""
        self._cancel = cancel
        self._stop = Cancel()
        """Set on the user's cancel, and by the first error."""
        self._runner = OpRunner(store, sandbox, session, self._stop, failed, limits)
        self._workers = Workers(self._stop)
        self._vertices: dict[str, SolvedVertex] = {}
        self._local: dict[str, ContextTree] = {}
        """The local directories, by vertex."""
        self.solved = SolvedGraph(store, self._vertices, self._local, self._stop)
        self._ahead: set[asyncio.Task[None]] = set()

    @property
    def rung(self) -> RungSummary | None:
        """How RUN was run, once there was one."""
        return self._runner.rung

    def solve(self, edges: Sequence[Edge | None], *, whole: bool = True) -> list[VertexResult]:
        """Return the result of each edge (None is scratch), with one snapshot. Must not be called on an event loop's
        thread.

        All layers are then in the store, unless `whole` is false.

        Raises the BuildError of the first vertex that failed, with the place of its instruction, or `Interrupted` with
        the names of the steps that were running.
        """
        edges = rewrite(self._sources.resolver.policy, edges)
        try:
            with self._cancel.on_cancel(self._stop.cancel):
                return asyncio.run(self._solve(edges, whole=whole))
        except BaseException as error:
            self._stop.cancel()
            if not isinstance(error, Interrupted):
                raise
            steps = ", ".join(self._workers.steps)
            raise Interrupted(f"The build was interrupted{f' in {steps}' if steps else ''}.") from None

    def import_from(self, caches: Sequence[ImportedCache]) -> None:
        """Look up vertices in more caches from now on. Must not be called while a graph is solved."""
        if caches:
            self._matcher = self._matcher or CacheMatcher(self._remote, self, _is_local)
            self._matcher.add(caches)

    def revision(self, node: Node) -> str:
        """Return the revision of a solved source: the digest of an image or a file, or a commit."""
        vertex = self._vertices.get(node.digest)
        return vertex.source.revision if vertex and vertex.source else ""

    def snapshots(self, node: Node) -> Sequence[Snapshot]:
        """Return the snapshot of each output of a vertex whose result is known; none for other vertices."""
        vertex = self._vertices.get(node.digest)
        if vertex is None:
            return ()
        done = vertex.result.result() if vertex.result else vertex.known_result
        return done.snapshots if done else ()

    def close(self) -> None:
        """Stop the threads, and drop data read for the build, because the exporters need the room."""
        self._workers.close()
        self._local.clear()

    async def _solve(self, edges: Sequence[Edge | None], *, whole: bool) -> list[VertexResult]:
        self._announce(edges)
        jobs = [asyncio.ensure_future(self._target(edge, whole=whole)) for edge in edges]
        tasks: set[asyncio.Future[Any]] = set(jobs)
        while waiting := {task for task in tasks if not task.done()}:
            await asyncio.wait(waiting)
            tasks |= self._ahead
            for vertex in self._vertices.values():
                tasks |= {task for task in (vertex.key, vertex.result) if task}
        errors = [error for task in tasks if (error := task.exception())]
        for error in sorted(errors, key=lambda error: isinstance(error, Interrupted)):
            raise error
        self._keep_imported()
        return [job.result() for job in jobs]

    def _announce(self, edges: Sequence[Edge | None]) -> None:
        """Show the whole graph, and register each of its vertices once."""
        vertexes: list[Vertex] = []
        for node in walk(*edges):
            if node.digest not in self._vertices:
                inputs = tuple(dict.fromkeys(edge.node.digest for edge in node.inputs))
                vertex = SolvedVertex(node, self._reporter.vertex(node.digest, node.name, inputs))
                self._vertices[node.digest] = vertex
                for digest in inputs:
                    self._vertices[digest].readers.append(vertex)
                vertexes.append(Vertex(digest=node.digest, name=node.name, inputs=inputs))
        for digest, outputs in outputs_read(edges).items():
            self._vertices[digest].read(outputs)
        self._reporter.announce(vertexes)

    async def _target(self, edge: Edge | None, *, whole: bool) -> VertexResult:
        if edge is None:
            return VertexResult(((),))
        solved = await self._result(edge.node)
        snapshot = await self._snapshot(edge)
        if whole:
            await self._bring(snapshot)
        return VertexResult((snapshot,), solved.created)

    def _vertex(self, node: Node) -> SolvedVertex:
        return self._vertices[node.digest]

    # Keys

    def _key(self, node: Node) -> asyncio.Task[str]:
        vertex = self._vertex(node)
        if vertex.key is None:
            vertex.key = asyncio.ensure_future(self._guard(vertex, self._find_key(vertex)))
        return vertex.key

    def _result(self, node: Node) -> asyncio.Task[VertexResult]:
        vertex = self._vertex(node)
        if vertex.result is None:
            vertex.result = asyncio.ensure_future(self._guard(vertex, self._find_result(vertex)))
        return vertex.result

    async def _guard(self, vertex: SolvedVertex, job: Awaitable[T]) -> T:
        """Give an error its place, and stop the rest of the build."""
        try:
            return await job
        except BaseException as error:
            # The vertex that first sees the error is the one it is about; those that wait for it never ran.
            if isinstance(error, BuildError) and not isinstance(error, Interrupted) and error not in self._blamed:
                self._blamed.append(error)
                error.at(vertex.node.location)
                if not isinstance(error, CacheLayersError):  # the cache is at fault, and the build starts again
                    vertex.report.failed(error)
            self._stop.cancel()
            raise

    async def _find_key(self, vertex: SolvedVertex) -> str:
        """Return the key by which others know the vertex; its remembered result is then in `vertex.known_result`."""
        node = vertex.node
        if isinstance(node.op, SourceOp):
            return await self._source_key(vertex, node.op)
        if node.ignore_cache:
            self._run_ahead(vertex)
            await self._result(node)
            return vertex.cache_key
        selected = cachekey.content_selectors(node)
        keys = await gather([self._input_key(edge, number in selected) for number, edge in enumerate(node.inputs)])
        definition = ""
        if all(keys):
            definition = cachekey.definition_key(node, keys)
            known = self._remembered(vertex, definition)
            if known:
                return known
            vertex.cache_key = definition
            if await self._import(vertex) or not selected:
                return definition
        elif not all(_is_local(node.inputs[number].node) for number in selected) and await self._import(vertex):
            assert vertex.known_result is not None
            vertex.cache_key = cachekey.result_key(vertex.known_result.snapshots)
            return vertex.cache_key
        vertex.cache_key = await self._content_key(vertex, keys)
        known = self._remembered(vertex, vertex.cache_key)
        if definition:
            self._store.cache.alias(definition, vertex.cache_key)
        if not known:
            await self._import(vertex, by_content=True)
        return known or vertex.cache_key

    async def _input_key(self, edge: Edge, by_content: bool) -> str:
        """Return the key of an input; "" for a local directory read by content: its key would need all of it."""
        return "" if _is_local(edge.node) and by_content else await self._key(edge.node)

    async def _content_key(self, vertex: SolvedVertex, keys: Sequence[str]) -> str:
        node = vertex.node
        selected = cachekey.content_selectors(node)
        read = [node.inputs[number].node for number in selected]
        if any(not _is_local(source) and self._vertex(source).known_result is None for source in read):
            self._run_ahead(vertex)
        await gather([self._result(source) for source in read])

        async def digest(number: int) -> tuple[int, str]:
            edge = node.inputs[number]
            tree = await self._tree(edge)
            ref = CONTEXT_REF if _is_local(edge.node) else edge.node.name
            return number, await self._workers.call(lambda: content_digest(tree, selected[number], ref))

        return cachekey.content_key(node, keys, dict(await gather([digest(number) for number in selected])))

    async def _source_key(self, vertex: SolvedVertex, op: SourceOp) -> str:
        if _is_local(vertex.node):
            await self._result(vertex.node)
            tree = await self._tree(Edge(vertex.node))
            return "local:" + await self._workers.call(lambda: content_digest(tree, [WHOLE], CONTEXT_REF))
        source = vertex.source = open_source(op, vertex.node.platform, self._sources)

        def ask() -> str:
            vertex.report.start()
            return "source:" + source.key(vertex.report)

        vertex.cache_key = await self._workers.call(ask)
        known = self._remembered(vertex, vertex.cache_key)
        if not known:
            vertex.report.complete()
        return known or vertex.cache_key

    def _remembered(self, vertex: SolvedVertex, key: str) -> str:
        """Return the key of the result remembered under `key`, and mark the vertex CACHED; "" when there is none.

        As in BuildKit, a vertex without inputs is marked CACHED only when its result is asked for, not when its key is
        found.
        """
        self._stop.check()
        record = self._store.cache.get(key)  # in place: a look-up takes less time than switching to a thread
        result = from_record(record) if record else None
        if result is None:
            return ""
        known, vertex.known_result = result
        if vertex.node.inputs:
            vertex.report.cached()
        else:
            vertex.report.complete()
        return known

    def _run_ahead(self, vertex: SolvedVertex) -> None:
        """Start on whatever `vertex`, and everything that reads it, will most likely need too.

        Something must run before its key is known, and so before theirs are; waiting for that would run one stage after
        the other. Meanwhile, their other inputs that are not remembered are run.
        """
        todo = [vertex]
        while todo:
            vertex = todo.pop()
            if not vertex.undecided:
                vertex.undecided = True
                needed = [edge.node for edge in vertex.node.inputs if not _is_local(edge.node)]
                self._ahead |= {asyncio.ensure_future(self._demand(node)) for node in needed}
                todo.extend(vertex.readers)

    async def _demand(self, node: Node) -> None:
        await self._key(node)
        if self._vertex(node).known_result is None:
            await self._result(node)

    # Imported caches: the questions of their matcher

    async def key(self, node: Node) -> str:
        """See Graph."""
        return await self._key(node)

    def is_remembered(self, node: Node) -> bool:
        """See Graph."""
        vertex = self._vertex(node)
        return vertex.known_result is not None or (vertex.result is not None and vertex.result.done())

    async def source_names(self, node: Node) -> Sequence[str]:
        """See Graph."""
        return await self._workers.call(lambda: self.solved.names(node))

    async def checksum(self, edge: Edge, selectors: Sequence[Selector]) -> str:
        """See Graph."""
        await self._tree(edge)
        checksum = self.solved.checksum(edge)
        try:
            return "" if checksum is None else await self._workers.call(lambda: checksum.select(selectors))
        except (MissingError, LinkLoopError):
            return ""

    async def all(self, jobs: Iterable[Awaitable[T]]) -> list[T]:
        """See Graph."""
        return await gather(jobs)

    async def _import(self, vertex: SolvedVertex, *, by_content: bool = False) -> bool:
        """Return whether an imported cache has the result, left in `vertex.known_result`: see `CacheMatcher.find`."""
        if self._matcher is None or vertex.node.ignore_cache:
            return False
        result = await self._matcher.find(vertex.node, vertex.outputs, by_content=by_content)
        if result is None:
            return False
        vertex.known_result, vertex.imported = result, True
        vertex.report.cached()
        return True

    def _keep_imported(self) -> None:
        """Remember imported results whose layers were fetched, and complete the steps that nothing needed."""
        for vertex in self._vertices.values() if self._matcher is not None else ():
            if vertex.imported and vertex.known_result is not None:
                if len(vertex.outputs) == output_count(vertex.node.op):  # a record has all outputs
                    self._remember(vertex.cache_key, vertex.node, vertex.known_result)
            elif (
                vertex.key is not None and vertex.result is None and vertex.known_result is None and vertex.node.inputs
            ):
                vertex.report.cached()

    # Results

    async def _find_result(self, vertex: SolvedVertex) -> VertexResult:
        node = vertex.node
        if _is_local(node):
            return await self._workers.step(vertex.report, lambda: self._load_local(vertex))
        if isinstance(node.op, SourceOp):
            return await self._find_source(vertex)
        if node.ignore_cache:
            await self._plain_key(vertex)
        else:
            await self._key(node)
            if vertex.known_result is not None:
                if not node.inputs:
                    vertex.report.cached()
                return vertex.known_result
        inputs = await gather([self._result(edge.node) for edge in node.inputs])
        key = vertex.cache_key
        async with self._workers.locked(self._lock_path(key)):
            record = None if node.ignore_cache else self._store.cache.get(key)
            if record and (pair := from_record(record)):
                vertex.report.cached()
                return pair[1]
            run = await self._prepare(node)
            return await self._workers.step(vertex.report, lambda: self._run(vertex, run, inputs))

    async def _plain_key(self, vertex: SolvedVertex) -> None:
        """Return the key of a vertex that is run whatever is remembered."""
        node = vertex.node
        selected = cachekey.content_selectors(node)
        keys = await gather([self._input_key(edge, number in selected) for number, edge in enumerate(node.inputs)])
        vertex.cache_key = await self._content_key(vertex, keys) if selected else cachekey.definition_key(node, keys)

    async def _find_source(self, vertex: SolvedVertex) -> VertexResult:
        key = await self._key(vertex.node)
        source = vertex.source
        if vertex.known_result is not None:
            vertex.report.cached()
            return vertex.known_result
        processes = self.solved.processes(imports=self._matcher is not None)
        passed = await self._workers.call(lambda: self._runner.passed([other.node for other in processes]))
        for other in processes[passed:]:  # the first of them fails, before anything is pulled for it
            await self._guard(other, self._workers.call(lambda node=other.node: self._runner.check(node)))

        def fetch() -> VertexResult:
            assert source is not None
            unfetched = None
            if self._leaves_images and isinstance(source, ImageSource):
                unfetched = source.leave(self._remote, vertex.report)
            snapshot = source.snapshot(vertex.report) if unfetched is None else unfetched
            where = op.identifier.partition("://")[2] if isinstance(op := vertex.node.op, SourceOp) else ""
            provenance = Provenance(time.time_ns(), f"pulled from {redact_url(where)}")
            return self._remember(key, vertex.node, VertexResult((snapshot,), dict.fromkeys(snapshot, provenance)))

        return await self._workers.step(vertex.report, fetch)

    def _load_local(self, vertex: SolvedVertex) -> VertexResult:
        assert isinstance(vertex.node.op, SourceOp)
        self._local[vertex.node.digest] = self._runner.load_directory(vertex.node.op, vertex.report)
        return VertexResult(())

    async def _prepare(self, node: Node) -> Callable[[VertexReport], Sequence[Snapshot]]:
        """Return a function that runs an op, with its inputs in the form that it reads."""
        op = node.op
        if isinstance(op, FileOp):
            trees = [await self._tree(edge) for edge in node.inputs]
            return lambda report: self._runner.run_file_op(op, trees, report)
        snapshots = [await self._snapshot(edge) for edge in node.inputs]
        if not isinstance(op, MergeOp):
            for snapshot in snapshots:
                await self._bring(snapshot)
        return lambda report: self._runner.run(node, snapshots, report)

    def _run(
        self, vertex: SolvedVertex, run: Callable[[VertexReport], Sequence[Snapshot]], inputs: Sequence[VertexResult]
    ) -> VertexResult:
        snapshots = tuple(run(vertex.report))
        created = layers_created(vertex.node, snapshots, inputs, time.time_ns())
        key = vertex.cache_key
        if vertex.node.ignore_cache and (before := self._store.cache.get(key)) is not None:
            earlier = from_record(before)
            same = earlier is not None and earlier[1].snapshots == snapshots
            vertex.cache_key = earlier[0] if earlier and same else cachekey.rerun_key(key, snapshots)
        return self._remember(key, vertex.node, VertexResult(snapshots, created), vertex.cache_key)

    def _remember(self, key: str, node: Node, solved: VertexResult, known_as: str = "") -> VertexResult:
        if not any(map(self._remote.form, solved.layers)):  # otherwise it cannot be kept yet
            self._store.cache.put(key, to_record(solved, known_as or key, node.name))
        return solved

    # Inputs

    async def _tree(self, edge: Edge) -> Input:
        solved = await self._result(edge.node)
        tree = self._local.get(edge.node.digest)
        if tree is not None:
            return tree
        await self._bring(solved.snapshots[edge.output])
        return self._store.tree(solved.snapshots[edge.output])

    async def _bring(self, snapshot: Snapshot) -> None:
        """Fetch layers that were left elsewhere and are about to be read."""
        if any(map(self._remote.form, snapshot)):
            await self._workers.call(lambda: self._remote.bring(snapshot))

    async def _snapshot(self, edge: Edge) -> Snapshot:
        """Return the layers of an edge; a local directory becomes one layer."""
        solved = await self._result(edge.node)
        tree = self._local.get(edge.node.digest)
        if tree is None:
            return solved.snapshots[edge.output]
        key = await self._key(edge.node)

        def write() -> Snapshot:
            record = self._store.cache.get(key)
            if record is None:
                entries = ((entry, tree.content(entry)) for entry in tree.walk())
                layer = write_layer(self._store, entries, cancel=self._stop)
                record = CacheRecord((layer.diff_id,), kind="source.local", description=edge.node.name)
                self._store.cache.put(key, record)
            return record.diff_ids

        return await self._workers.call(write)

    def _lock_path(self, key: str) -> Path:
        return self._store.root / "locks" / key.rpartition(":")[2]


def _is_local(node: Node) -> bool:
    return isinstance(node.op, SourceOp) and node.op.identifier.startswith("local://")
