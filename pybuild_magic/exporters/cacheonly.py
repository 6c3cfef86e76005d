"""The `cacheonly` exporter: the build fills the cache, and writes nothing."""

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
        """Do nothing: all attributes are compatible."""
        _ = values, sink

    def export(self, result: SolveResult, values: Values, context: ExportContext) -> dict[str, str]:
        """Do nothing: the layers are already in the store."""
        _ = result, values, context
        return {}


EXPORTER = CacheOnly()
