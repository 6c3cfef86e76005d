"""The cache of a case, carried to a builder that has never built it: every step is CACHED there, both ways.

Steps are those that read something: of what reads nothing, both builders say CACHED only when they need its result.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pybuild_magic.llb.ops import walk
from pybuild_magic.status.messages import SolveStatus
from tests.services.buildkit import Engine

from . import cachekeys
from .builders import Embedded, RecordingBuilder, Reference, build_case, made
from .case import Case
from .server import Site


def from_buildkit(reference: Reference, embedded: Embedded, case: Case, site: Site) -> list[str]:
    """The steps that the embedded builder runs although a cache that BuildKit has exported has them.

    It has the base images, and forgets all that it has built before.
    """
    manifest = cachekeys.exported(reference, case, site)
    if not manifest:
        return []
    cache = f"--cache-from=type=local,src={cachekeys.layout(reference)},digest={manifest}"
    cached: set[str] = set()

    def see(status: SolveStatus) -> None:
        cached.update(vertex.digest for vertex in status.vertexes if vertex.cached)

    builder = embedded.builder_for(case)
    builder.prune(all=True)
    assert builder.store.db.read("SELECT count(*) FROM cache") == [(0,)]
    with made(case, site) as (arguments, _):
        build_case(builder, [cache, *_importing(arguments)], case, see)
        nodes = walk(*(target.edge for target in builder.targets))
        return [node.name for node in nodes if node.inputs and node.digest not in cached]


def to_buildkit(engine: Engine, reference: Reference, builder: RecordingBuilder, case: Case, site: Site) -> list[str]:
    """The steps that an engine runs, which has never built them, although our cache has them."""
    if cachekeys.exported(reference, case, site) is None:
        return []  # refused, as the comparison of answers holds
    with made(case, site) as (arguments, archive):
        dest = archive.parent / "cache"
        build_case(builder, cachekeys.exporting(arguments, dest), case)
        if not cachekeys.manifest_of(dest):
            return []
        command = ["buildx", "build", "--progress=rawjson", "--provenance=false", f"--cache-from=type=local,src={dest}"]
        done = engine.docker(*command, *_importing(arguments), env={"SOURCE_DATE_EPOCH": str(case.epoch)})
    vertices: dict[str, dict[str, Any]] = {}
    for line in done.stderr.splitlines():
        for vertex in json.loads(line).get("vertexes", ()) if line.startswith("{") else ():
            vertices[vertex["digest"]] = vertices.get(vertex["digest"], {}) | vertex
    return [each["name"] for each in vertices.values() if each.get("inputs") and not each.get("cached")]


def _importing(arguments: Sequence[str]) -> list[str]:
    """The arguments of a case's build that keeps nothing and takes what it can from caches."""
    rest = [argument for argument in arguments if argument != "--no-cache" and not argument.startswith("--output")]
    return ["--output=type=cacheonly", *rest]
