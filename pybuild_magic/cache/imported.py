"""An imported cache: the records that match an op of this build, and their layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..errors import SourceError
from ..images.places import Place
from ..oci.descriptor import Descriptor
from ..oci.digest import is_digest
from ..oci.mediatype import Compression, compression_of
from ..oci.reference import Reference
from ..oci.timestamp import parse_time
from ..status.report import VertexReport
from .keys import content_record
from .records import Record

UNCOMPRESSED = "containerd.io/uncompressed"
"""The annotation with the diffID of a layer."""
CREATED_AT = "buildkit/createdat"
DESCRIPTION = "buildkit/description"
Matches = frozenset[int]
"""The numbers of records of one cache."""


class CachedLayer(msgspec.Struct, frozen=True):
    """A layer of a cache."""

    diff_id: str
    descriptor: Descriptor
    created: int = 0
    """Nanoseconds since 1970; 0 when unknown."""
    made_by: str = ""


class InputKeys(msgspec.Struct, frozen=True):
    """The keys known for one input of an op."""

    matches: Matches
    """The records that match the op that makes it."""
    selector: str = ""
    content: str = ""
    """The checksum of the content that is read; "" when unknown, or when the op's key does not use it."""


class ImportedCache:
    """The records of one cache, and the place of its layers."""

    def __init__(
        self,
        name: str,
        records: Sequence[Record],
        layers: Mapping[str, CachedLayer],
        place: Place,
        report: VertexReport,
        ref: Reference | None = None,
    ) -> None:
        self.name = name
        """Its name for users: a reference, or a directory."""
        self.place = place
        self.report = report
        """Its vertex, at which later downloads of layers are shown."""
        self.ref = ref
        """Its repository, if it is in a registry."""
        self._records = records
        self._layers = layers
        self._by_digest: dict[str, list[int]] = {}
        for number, record in enumerate(records):
            self._by_digest.setdefault(record.digest, []).append(number)

    def sources(self, digests: Iterable[str]) -> Matches:
        """Return the records of a source, given by its digests."""
        numbers = (number for digest in digests for number in self._by_digest.get(digest, ()))
        return frozenset(number for number in numbers if not self._records[number].inputs)

    def match(self, digest: str, inputs: Sequence[InputKeys]) -> Matches:
        """Return the records of an op's output with the given digest and `inputs`."""
        known = [self.sources([content_record(key.content)] if key.content else ()) for key in inputs]
        return frozenset(
            number for number in self._by_digest.get(digest, ()) if self._reads(self._records[number], inputs, known)
        )

    def _reads(self, record: Record, inputs: Sequence[InputKeys], contents: Sequence[Matches]) -> bool:
        return len(record.inputs) == len(inputs) and all(
            any(
                (link.source in expected.matches and link.selector == expected.selector)
                or (link.source in content and not link.selector)
                for link in ways
            )
            for ways, expected, content in zip(record.inputs, inputs, contents, strict=True)
        )

    def result(self, matches: Matches) -> tuple[CachedLayer, ...] | None:
        """Return the newest layers of any of the records, bottom first; None when there are none."""
        results = [result for number in matches for result in self._records[number].results]
        for result in sorted(results, key=lambda result: -result.created):
            layers = [layer for blob in result.layers if (layer := self._layers.get(blob))]
            if layers and len(layers) == len(result.layers):
                return tuple(layers)
        return None


def described_layer(descriptor: Descriptor) -> CachedLayer | None:
    """Return the layer that a cache's manifest describes; None for another blob, or a layer without a diffID."""
    compression = compression_of(descriptor.media_type)
    plain = compression is Compression.UNCOMPRESSED
    diff_id = descriptor.annotations.get(UNCOMPRESSED, descriptor.digest if plain else "")
    if compression is None or not is_digest(diff_id) or (plain and diff_id != descriptor.digest):
        return None
    created, made_by = (descriptor.annotations.get(name, "") for name in (CREATED_AT, DESCRIPTION))
    return CachedLayer(diff_id, descriptor, moment(created), made_by)


def moment(text: str) -> int:
    """Return an RFC 3339 time in nanoseconds since 1970; 0 for an invalid one."""
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        return 0


class CacheLayersError(SourceError):
    """Layers that a cache should have, but that cannot be read from it."""

    def __init__(self, cache: str, error: SourceError) -> None:
        super().__init__(f"The cache {cache} is incomplete: {error.message}")
        self.cache = cache
        """Its name."""
