"""The records of a finished build for an exported cache, under BuildKit's keys."""

from __future__ import annotations

from collections.abc import Sequence

from ...cache.checksum import MissingError
from ...cache.keys import Dependency, content_record, op_key, source_records
from ...cache.records import Link, Record, Records, Result
from ...llb.ops import Edge, SourceOp, outputs_read, walk
from ...store.links import LinkLoopError
from .vertex import SolvedGraph
from .vertex_result import VertexResult


def collect(edges: Sequence[Edge | None], build: SolvedGraph, *, whole: bool) -> list[Record]:
    """Return the records of everything the edges depend on. Only the edges' own records have results, unless the
    `whole` is wanted.
    """
    records = Records()
    numbers: dict[tuple[str, int], list[int]] = {}
    targets = {(edge.node.digest, edge.output) for edge in edges if edge is not None}
    read = outputs_read(edges)
    for node in walk(*edges):
        if isinstance(node.op, SourceOp):
            numbers[node.digest, 0] = [records.add(digest) for digest in source_records(build.names(node))]
            continue
        key = op_key(node)
        inputs = [
            _ways(edge, dependency, numbers.get((edge.node.digest, edge.output), []), records, build)
            for edge, dependency in zip(node.inputs, key.dependencies, strict=True)
        ]
        if not all(inputs) and inputs:
            continue
        done = build.result(node)
        for output in sorted(read[node.digest]):
            wanted = done is not None and (whole or (node.digest, output) in targets)
            result = _result(done, output) if wanted and done is not None else None
            numbers[node.digest, output] = [records.add(key.record(output), inputs, result)]
    return records.all()


def _ways(edge: Edge, dependency: Dependency, known: Sequence[int], records: Records, build: SolvedGraph) -> list[Link]:
    """Return all the ways in which an input is known: by how it was made, and by its content."""
    ways = [Link(number, dependency.selector) for number in known]
    checksum = build.checksum(edge) if dependency.content else None
    if checksum is not None:
        try:
            ways.append(Link(records.add(content_record(checksum.select(dependency.content)))))
        except (MissingError, LinkLoopError):
            return ways
    return ways


def _result(done: VertexResult, output: int) -> Result | None:
    snapshot = done.snapshots[output]
    if not snapshot:
        return None
    provenance = done.created.get(snapshot[-1])
    return Result(snapshot, provenance.at if provenance else 0)
