"""The `cacheonly` exporter: the build fills the cache, and nothing is written."""

from __future__ import annotations

from ..session import Sink
from . import ExportContext, SolveResult
from .attributes import Attribute, Values


class CacheOnly:
    """Checks nothing and writes nothing."""

    type = "cacheonly"
    name = "exporting to cache"
    attributes: tuple[Attribute, ...] = ()

    def check(self, values: Values, sink: Sink | None) -> None:
        """Everything goes together."""
        _ = values, sink

    def export(self, result: SolveResult, values: Values, context: ExportContext) -> dict[str, str]:
        """Nothing to do: the layers are in the store already."""
        _ = result, values, context
        return {}


CACHEONLY = CacheOnly()
