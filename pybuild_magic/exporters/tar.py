"""The `tar` exporter: the files of the result as one tar."""

from __future__ import annotations

from functools import partial

import msgspec

from ..errors import UsageError
from ..session import FileSink, Sink
from ..store import TRAILER, padding, tar_header
from ..store.entry import HARDLINK
from ..store.files import LayerFiles
from ..store.header import BLOCK_SIZE
from . import ExportContext, SolveResult
from .attributes import ATTESTATION_PREFIX, DEST, EPOCH, Attribute, Values
from .files import attested, items
from .output import OutputWriter

_SPLIT = "platform-split"
"""BuildKit's attribute of `local`; in `tar` it only affects the names of attestations."""


class TarExporter:
    """Writes the same as fsutil's WriteTar: directories with a trailing slash, owners, xattrs, hard links."""

    type = "tar"
    name = "exporting to client tarball"
    attributes: tuple[Attribute, ...] = (
        DEST,
        Attribute(
            _SPLIT, "bool", None, "With false, names of attestation files include the platform, like directories."
        ),
        EPOCH,
        ATTESTATION_PREFIX,
    )

    def check(self, values: Values, sink: Sink | None) -> None:
        """Raise UsageError without a destination."""
        _ = values
        if not isinstance(sink, FileSink):
            raise UsageError("The tar exporter needs a file to write to: dest=FILE.")

    def export(self, result: SolveResult, values: Values, context: ExportContext) -> dict[str, str]:
        """Write the merged files; with several platforms, each in a separate directory."""
        sink = context.sink
        assert isinstance(sink, FileSink)
        with (
            context.progress.step("sending tarball") as step,
            LayerFiles(context.store.blobs) as files,
            sink.open() as target,
        ):
            split = result.multi_platform
            statements = attested(result, values, context.store, split=split, telling=values[_SPLIT] is False)
            whole = partial(items, result, values, context.store, split=split, statements=statements)
            spans = (item.span for item in whole())
            # Except for headers longer than a block, which are rare.
            total = len(TRAILER) + sum(BLOCK_SIZE + (span.size + padding(span.size) if span else 0) for span in spans)
            output = OutputWriter(target, context.cancel, lambda done: step.update(min(done, total), total))
            for item in whole():
                entry = item.entry
                if item.hardlink:
                    entry = msgspec.structs.replace(entry, type=HARDLINK, link=item.hardlink, size=0)
                output.write(tar_header(entry))
                if item.span is not None and item.span.size:
                    output.copy(*files.at(item.span), item.span.size)
                    output.write(bytes(padding(item.span.size)))
            output.write(TRAILER)
            output.close()
        return {}


EXPORTER = TarExporter()
