"""Compression of layers for an image: the choice of a layer's form, and the making of missing forms.

A layer is compressed at most once for each set of parameters: the blob is linked to its diffID in the store.
Compression is parallel within a layer and gives the same bytes on every machine, with any number of threads.
"""

from __future__ import annotations

import os
import queue
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from typing import Any, BinaryIO, cast

import msgspec

from ..cancel import Cancel
from ..errors import UsageError
from ..oci.mediatype import Compression, layer_type
from ..portable import pread
from ..store import Compressed, Store
from ..store.parts import PartsFile
from .attributes import Values

MADE = "pybuild/packed"
"""The annotation of a form that was made here; its value says how. A form without it was pulled."""

_CHUNK = 1 << 20
"""Bytes of a tar that each thread compresses at a time; part of the output's definition, so it never changes."""
_WINDOW = 32 << 10
_AHEAD = 4
"""The most blocks that are compressed before the ones before them are written."""
_TICK = 0.1
_LARGE = 64 << 20
"""The size of a tar from which it is only compressed when somebody needs it."""
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, unknown system, as in Go's compress/gzip."""
_LAST_BLOCK = b"\x03\x00"
"""An empty final deflate block."""
_LOCKS = [threading.Lock() for _ in range(64)]

Progress = Callable[[int], None]
"""Called with the number of tar bytes compressed since the last call."""


class Packing(msgspec.Struct, frozen=True):
    """The `compression`, `compression-level` and `force-compression` attributes."""

    kind: Compression = Compression.GZIP
    level: int | None = None
    force: bool = False
    lazy: bool = False
    """Whether a large layer that was not pulled stays a tar, because the image stays here."""

    @property
    def parameters(self) -> str:
        """The properties that identify a compressed form of a layer."""
        return f"{self.kind}:{'default' if self.level is None else self.level}"


def packing(values: Values, *, stays: bool = False) -> Packing:
    """Return the packing for an exporter's attributes; `stays` means that the image is only for the store.

    Raises UsageError for a level out of range.
    """
    kind = Compression(values["compression"])
    level: int | None = values["compression-level"]
    low, high = (-2, 9) if kind is Compression.GZIP else (0, 22)
    if level is not None and kind is not Compression.UNCOMPRESSED and not low <= level <= high:
        raise UsageError(f'"compression-level={level}" is out of range: {kind} has {max(low, 0)} to {high}.')
    if (kind is Compression.GZIP and level == -1) or (kind is Compression.ZSTD and level == 0):
        level = None
    lazy = stays and not values.explicit & {"compression", "compression-level", "force-compression"}
    return Packing(kind, None if kind is Compression.UNCOMPRESSED else level, values["force-compression"], lazy)


def pack_layers(
    store: Store,
    diff_ids: Sequence[str],
    packing: Packing,
    cancel: Cancel,
    on_progress: Progress | None = None,
) -> list[Compressed]:
    """Return the form of each layer for the image, in the order of `diff_ids`; missing forms are made.

    Without force, a pulled layer keeps its form, as in BuildKit; with force, any form with the right compression is
    used (util/compression, NeedsConversion).
    """
    unique = tuple(dict.fromkeys(diff_ids))

    def form(diff_id: str) -> Compressed:
        return _form(store, diff_id, packing, cancel, on_progress)

    with ThreadPoolExecutor(max(1, min(4, len(unique))), thread_name_prefix="pack") as pool:
        forms = dict(zip(unique, pool.map(form, unique), strict=True))
    return [forms[diff_id] for diff_id in diff_ids]


def _form(store: Store, diff_id: str, packing: Packing, cancel: Cancel, on_progress: Progress | None) -> Compressed:
    with _LOCKS[hash((diff_id, packing.parameters)) % len(_LOCKS)]:
        size = store.layer(diff_id).size
        forms = [*store.compressed.usable(diff_id), *_made_here(store, diff_id)]
        if packing.lazy and size >= _LARGE:
            # It makes no difference whether it was compressed for something else before: one build, one digest.
            packing = msgspec.structs.replace(packing, kind=Compression.UNCOMPRESSED, level=None)
            forms = [form for form in forms if MADE not in form.annotations]
        usable = existing(forms, packing)
        if usable is None and packing.kind is Compression.UNCOMPRESSED:
            usable = Compressed(
                media_type=layer_type(packing.kind), digest=diff_id, size=size, compression=packing.kind.value
            )
        if usable is not None:
            if on_progress:
                on_progress(size)
            return usable
        cancel.check()
        packed = _pack(store, diff_id, packing, cancel, on_progress)
        store.compressed.put(diff_id, packed)
        return packed


def _made_here(store: Store, diff_id: str) -> list[Compressed]:
    """Return the forms of a layer that can be made again, whether or not their bytes are here."""
    return [form for form in store.compressed.get(diff_id, missing_ok=True) if MADE in form.annotations]


def existing(forms: Sequence[Compressed], packing: Packing) -> Compressed | None:
    """Return the known form of a layer that a packing asks for."""
    pulled = [form for form in forms if MADE not in form.annotations]
    same = [form for form in pulled if form.compression == packing.kind.value]
    if same:
        return same[0]
    if pulled and not packing.force:
        return pulled[0]
    return next((form for form in forms if form.annotations.get(MADE) == packing.parameters), None)


def _pack(store: Store, diff_id: str, packing: Packing, cancel: Cancel, on_progress: Progress | None) -> Compressed:
    size = store.blobs.size(diff_id)
    with ExitStack() as stack:
        file = stack.enter_context(store.blobs.open(diff_id))
        packed = stack.enter_context(store.blobs.ingest())
        write = _gzip if packing.kind is Compression.GZIP else _zstd
        for block, consumed in write(_Blob(file, size), packing.level):
            cancel.check()
            packed.write(block)
            if on_progress:
                on_progress(consumed)
        packed.commit()
    return Compressed(
        media_type=layer_type(packing.kind),
        digest=packed.digest,
        size=packed.size,
        compression=packing.kind.value,
        annotations={MADE: packing.parameters},
    )


def pack_again(store: Store, diff_id: str, form: Compressed, cancel: Cancel) -> bool:
    """Make a form that was made here before again; return whether the blob is identical, which is then in the store."""
    kind, _, level = form.annotations.get(MADE, "").partition(":")
    if not kind:
        return False
    packing = Packing(Compression(kind), None if level == "default" else int(level))
    return _pack(store, diff_id, packing, cancel, None).digest == form.digest


class _Blob:
    """The bytes of an open file, read on access: a mapping would count as this process's memory."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        raw = getattr(file, "raw", None)
        self._parts = raw if isinstance(raw, PartsFile) else None
        self._fd = -1 if self._parts else file.fileno()
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        size = max(0, stop - start)
        return self._parts.read_at(size, start) if self._parts else pread(self._fd, size, start)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="deflate")


def _deflater(level: int | None) -> Callable[[bytes], Any]:
    """Return a maker of raw-deflate compressors with a given history: isa-l, or zlib-ng for a level."""
    if level is None or 1 <= level <= 3:
        from isal import isal_zlib

        fast = cast("Any", isal_zlib).compressobj
        speed = 2 if level is None else level
        return lambda window: fast(speed, wbits=-15, **({"zdict": window} if window else {}))
    from zlib_ng import zlib_ng

    good = cast("Any", zlib_ng).compressobj
    strategy = zlib.Z_HUFFMAN_ONLY if level == -2 else zlib.Z_DEFAULT_STRATEGY
    depth = 1 if level == -2 else level
    return lambda window: good(depth, wbits=-15, strategy=strategy, **({"zdict": window} if window else {}))


def _gzip(data: _Blob, level: int | None) -> Iterator[tuple[bytes, int]]:
    """Yield blocks of a gzip stream, each with its number of tar bytes: chunks are compressed in parallel, as by
    pigz.
    """
    from isal import isal_zlib

    crc32 = cast("Any", isal_zlib).crc32
    new = _deflater(level)

    def deflate(start: int) -> tuple[bytes, bytes]:
        """Return a chunk, compressed and raw."""
        before = max(0, start - _WINDOW)
        both = data[before : start + _CHUNK]
        window, chunk = both[: start - before], both[start - before :]
        compressor = new(window)
        return compressor.compress(chunk) + compressor.flush(zlib.Z_SYNC_FLUSH), chunk

    size, ahead = len(data), _CHUNK * 4 * (os.cpu_count() or 1)
    waiting: deque[Future[tuple[bytes, bytes]]] = deque()
    checksum = submitted = 0
    yield _GZIP_HEADER, 0
    try:
        for start in range(0, size, _CHUNK):
            while submitted < min(size, start + ahead):
                waiting.append(_pool().submit(deflate, submitted))
                submitted += _CHUNK
            block, chunk = waiting.popleft().result()
            checksum = crc32(chunk, checksum)
            yield block, len(chunk)
    finally:
        for future in waiting:
            future.cancel()
    yield _LAST_BLOCK + struct.pack("<II", checksum, size & 0xFFFFFFFF), 0


def _zstd(data: _Blob, level: int | None) -> Iterator[tuple[bytes, int]]:
    """Yield blocks of a zstd frame, each with its number of tar bytes, and empty ones meanwhile."""
    return _beside(_zstd_frame(data, level))


def _zstd_frame(data: _Blob, level: int | None) -> Iterator[tuple[bytes, int]]:
    """Yield the blocks. At high levels, the last call compresses up to 512 MB, and nothing stops it.

    zstd's output depends on whether threads are used, but not on their number: they always are here.
    """
    import zstandard

    size = len(data)
    threads = max(1, os.cpu_count() or 1) if size > 4 * _CHUNK else 1
    packer = zstandard.ZstdCompressor(level=3 if level is None else level, threads=threads, write_checksum=True)
    stream = packer.compressobj(size=size)
    for start in range(0, size, _CHUNK):
        chunk = data[start : start + _CHUNK]
        yield stream.compress(chunk), len(chunk)
    yield stream.flush(), 0


def _beside(blocks: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """Yield what `blocks` yields in a thread of its own, and empty blocks while it takes its time.

    So the caller can give up at any moment; the thread then ends with the call that it is in.
    """
    made: queue.Queue[tuple[bytes, int] | BaseException | None] = queue.Queue(_AHEAD)
    given_up = threading.Event()

    def put(item: tuple[bytes, int] | BaseException | None) -> None:
        while not given_up.is_set():
            with suppress(queue.Full):
                made.put(item, timeout=_TICK)
                return

    def make() -> None:
        try:
            for block in blocks:
                put(block)
                if given_up.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    threading.Thread(target=make, name="pack-zstd", daemon=True).start()
    try:
        while True:
            try:
                item = made.get(timeout=_TICK)
            except queue.Empty:
                yield b"", 0
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        given_up.set()
