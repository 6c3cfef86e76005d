"""The instructions of the Dockerfile that an image was built from, where the store remembers the build."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ...builders import Builder
from ...dockerfile.parser import parse
from ...errors import BuildError
from ...results.attribution import Attribution, Maker
from ...status.trace import Trace
from ...store import HistoryRecord
from ...store.history import KEEP_BUILDS
from ...summary import ManifestSummary
from .steps import Source


class Origins(msgspec.Struct, frozen=True):
    """For each layer of an image, bottom first, its instruction, or that it is the base's; neither if unknown."""

    sources: tuple[Source | None, ...]
    of_base: tuple[bool, ...]


def origins(builder: Builder, digest: str, manifest: ManifestSummary) -> Origins:
    """Return where the layers of the builder's image `digest` come from, for one of its manifests."""
    count = len(manifest.layers)
    unknown = Origins((None,) * count, (False,) * count)
    record = next((record for record in builder.history(KEEP_BUILDS) if digest and record.image == digest), None)
    if record is None or not record.dockerfile or not record.log:
        return unknown
    try:
        makers = _makers(builder, record, manifest)
        instructions = dict(_instructions(record.dockerfile))
    except BuildError:  # for a Dockerfile in the language of another front end
        return unknown
    return Origins(
        tuple(instructions.get(maker.line) if maker.digest else None for maker in makers),
        tuple(maker.is_base for maker in makers),
    )


def _makers(builder: Builder, record: HistoryRecord, manifest: ManifestSummary) -> list[Maker]:
    trace = Trace()
    for status in builder.replay(record):
        trace.update(status)
    attribution = Attribution(record.dockerfile, record.target)
    places = [(step.digest, attribution.place(step.name)) for step in trace.visible()]
    return attribution.layers(places, manifest.platform, [layer.created_by for layer in manifest.layers])


def _instructions(text: str) -> Iterator[tuple[int, Source]]:
    """Yield the instructions by their first lines, with the stages above that they can copy from."""
    names: list[str] = []
    for number, stage in enumerate(parse(text).stages):
        for instruction in stage.instructions:
            yield instruction.location.start, Source(instruction, tuple(names))
        names += [str(number), *filter(None, [stage.name.lower()])]
