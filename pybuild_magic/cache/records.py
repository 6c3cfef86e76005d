"""Cache records: results by the keys of the ops that made them, linked to the records of their inputs.

A record's `digest` is that of an op's output, and each of its `inputs` is a list of alternatives: records of the op
that made the input, or the record of the input's content. Source: BuildKit's cache/remotecache/v1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import msgspec

from ..errors import SourceError
from ..golang.json import check_nesting
from ..oci.digest import is_digest
from ..oci.timestamp import parse_time

MEDIA_TYPE = "application/vnd.buildkit.cacheconfig.v0"
MAX_CONFIG = 1 << 20
"""The most bytes of a config, as in BuildKit."""
_MAX_LAYERS = 500
"""The most layers of a result: as many as a kernel can stack."""


class Link(msgspec.Struct, frozen=True, order=True):
    """One way in which an input may be identified."""

    source: int
    """The number of a record."""
    selector: str = ""
    """The relevant part, if it is not everything."""


class Result(msgspec.Struct, frozen=True):
    """The layers of a record's result, on top of the layers that its op started from."""

    layers: tuple[str, ...]
    """Digests of blobs when read; diffIDs when written. Bottom first."""
    created: int
    """Nanoseconds since 1970."""


class Record(msgspec.Struct, frozen=True):
    """A key, with the results known for it."""

    digest: str
    inputs: tuple[tuple[Link, ...], ...] = ()
    results: tuple[Result, ...] = ()
    """The results, newest first."""


class _Layer(msgspec.Struct):
    blob: str = ""
    parent: int = 0


class _Result(msgspec.Struct, rename="camel"):
    layer: int = 0
    created_at: str = ""


class _Chain(msgspec.Struct, rename="camel"):
    layers: tuple[int, ...] = ()
    created_at: str = ""


class _Input(msgspec.Struct):
    link: int = 0
    selector: str = ""


class _Record(msgspec.Struct):
    digest: str = ""
    inputs: tuple[tuple[_Input, ...], ...] = ()
    layers: tuple[_Result, ...] = ()
    chains: tuple[_Chain, ...] = ()


class _Config(msgspec.Struct):
    layers: tuple[_Layer, ...] = ()
    records: tuple[_Record, ...] = ()


def decode_config(data: bytes) -> list[Record]:
    """Return the records of a cache config, each after those that it links to; numbers are indexes of the list.

    Raises SourceError for an invalid document, and for links or layers that are circular or dangling.
    """
    config = _decode(data, _Config)
    return _ordered(config.records, _stacks(config.layers), [layer.blob for layer in config.layers])


def decode_inline(data: bytes, layers: Sequence[str]) -> list[Record]:
    """Return the records in the config of an image with the given `layers`, bottom first, like `decode_config`."""
    records = _decode(data, tuple[_Record, ...])
    below = [_Layer(blob, number - 1) for number, blob in enumerate(layers)]
    return _ordered(records, _stacks(below), layers)


def _decode(data: bytes, kind: Any) -> Any:
    if len(data) > MAX_CONFIG:
        raise SourceError(f"The cache's config has {len(data)} bytes, but at most {MAX_CONFIG} are accepted.")
    check_nesting(data, "The cache's config")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise SourceError(f"The cache's config cannot be read: {error}.") from error


def _stacks(layers: Sequence[_Layer]) -> Callable[[int], tuple[str, ...]]:
    """Return a function from a layer to its blob and those of the layers below it, bottom first."""

    @cache
    def blob(number: int) -> str:
        if not 0 <= number < len(layers):
            raise SourceError(f"The cache's config has no layer {number}.")
        if not is_digest(layers[number].blob):
            raise SourceError(f"The cache's config names a layer by {layers[number].blob!r}, which is not a digest.")
        return layers[number].blob

    @cache
    def stack(number: int) -> tuple[str, ...]:
        blobs: list[str] = []
        while number != -1:
            if len(blobs) >= min(len(layers), _MAX_LAYERS):
                raise SourceError("The layers of the cache's config form a cycle.")
            blobs.append(blob(number))
            number = layers[number].parent
        return tuple(reversed(blobs))

    return stack


def _ordered(records: Sequence[_Record], stack: Callable[[int], tuple[str, ...]], blobs: Sequence[str]) -> list[Record]:
    order = _order(records)
    places = {number: place for place, number in enumerate(order)}
    read: list[Record] = []
    for number in order:
        record = records[number]
        inputs = tuple(tuple(Link(places[way.link], way.selector) for way in ways) for ways in record.inputs)
        results = [Result(stack(layer.layer), _time(layer.created_at)) for layer in record.layers if layer.layer != -1]
        results += [
            Result(tuple(_blob(blobs, layer) for layer in chain.layers[:_MAX_LAYERS]), _time(chain.created_at))
            for chain in record.chains
        ]
        results.sort(key=lambda result: -result.created)
        read.append(Record(record.digest, inputs, tuple(results)))
    return read


def _blob(blobs: Sequence[str], number: int) -> str:
    if not 0 <= number < len(blobs):
        raise SourceError(f"The cache's config has no layer {number}.")
    return blobs[number]


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        return 0


def _order(records: Sequence[_Record]) -> list[int]:
    """Return the numbers of all records, each after those that it links to."""
    order: list[int] = []
    state = [0] * len(records)
    """1: in progress. 2: in `order`."""
    for first in range(len(records)):
        todo = [(first, False)]
        while todo:
            number, ready = todo.pop()
            if not 0 <= number < len(records):
                raise SourceError(f"The cache's config links to a record {number}, which it does not have.")
            if ready:
                state[number] = 2
                order.append(number)
                continue
            if state[number] == 2:
                continue
            if state[number] == 1:
                raise SourceError("The records of the cache's config form a cycle.")
            state[number] = 1
            todo.append((number, True))
            for ways in records[number].inputs:
                if not ways:
                    raise SourceError("A record of the cache's config has an input without a link.")
                todo += [(way.link, False) for way in ways if not _done(state, way.link)]
    return order


def _done(state: Sequence[int], number: int) -> bool:
    return 0 <= number < len(state) and state[number] == 2


class Records:
    """A collection of records, without duplicates."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, tuple[tuple[Link, ...], ...]], int] = {}
        self._results: list[Result | None] = []

    def add(self, digest: str, inputs: Iterable[Iterable[Link]] = (), result: Result | None = None) -> int:
        """Return the number of the record with the given key, and add the result to it."""
        key = digest, tuple(tuple(sorted(set(ways))) for ways in inputs)
        number = self._numbers.setdefault(key, len(self._results))
        if number == len(self._results):
            self._results.append(result)
        elif result is not None and self._results[number] is None:
            self._results[number] = result
        return number

    def all(self) -> list[Record]:
        """Return the records, by number."""
        return [
            Record(digest, inputs, () if result is None else (result,))
            for (digest, inputs), result in zip(self._numbers, self._results, strict=True)
        ]
