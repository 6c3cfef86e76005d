"""A cache inside of an image's config: records whose layers the image has anyway.

Source: BuildKit's cache/remotecache/inline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..golang.json import dumps
from ..oci.timestamp import format_time
from .records import Record
from .writing import record_documents

_NO_TIME = "0001-01-01T00:00:00Z"


def inline_cache(records: Sequence[Record], snapshot: Sequence[str]) -> bytes:
    """Return the records for the config of an image with these layers (diffIDs, bottom first); b"" when none has a
    result.

    A result counts when the image has all its layers: as its lowest ones, or each of them anywhere.
    """
    places = {diff_id: place for place, diff_id in enumerate(snapshot)}
    documents: list[list[dict[str, Any]]] = []
    chains: list[list[dict[str, Any]]] = []
    for record in records:
        whole = [
            result for result in record.results[:1] if result.layers and all(map(places.__contains__, result.layers))
        ]
        bottom = [result for result in whole if result.layers == tuple(snapshot[: len(result.layers)])]
        documents.append(
            [{"layer": len(result.layers) - 1, "createdAt": format_time(result.created)} for result in bottom]
        )
        chains.append(
            [
                {"layers": [places[layer] for layer in result.layers], "createdAt": _NO_TIME}
                for result in whole
                if result not in bottom
            ]
        )
    return dumps(record_documents(records, documents, chains)) if any(documents) or any(chains) else b""
