"""The `local` exporter: the files of the result in a directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ..errors import ExportError, UsageError
from ..removal import remove_tree
from ..session import DirSink, Sink
from ..store.files import LayerFiles
from . import ExportContext, SolveResult
from .attributes import ATTESTATION_PREFIX, DEST, EPOCH, Attribute, Values
from .directory import DirectoryWriter, LayerContent
from .files import SPLIT, attested, items

_DELETE = "delete"


class LocalExporter:
    """Copies the merged files into a directory; with `mode=delete`, its other contents are removed."""

    type = "local"
    name = "exporting to client directory"
    attributes: tuple[Attribute, ...] = (
        DEST,
        Attribute("mode", "choice", "copy", "Keep other files in dest, or delete them.", ("copy", _DELETE)),
        SPLIT,
        EPOCH,
        ATTESTATION_PREFIX,
    )

    def check(self, values: Values, sink: Sink | None) -> None:
        """Raise UsageError without a destination, or when `mode=delete` would delete too much."""
        if not isinstance(sink, DirSink):
            raise UsageError("The local exporter needs a directory to write to: dest=DIR.")
        dest = sink.path.absolute()
        if values["mode"] == _DELETE and Path.cwd().resolve().is_relative_to(dest.resolve()):
            raise UsageError(f"mode=delete would empty {dest}, which contains the working directory.")

    def export(self, result: SolveResult, values: Values, context: ExportContext) -> dict[str, str]:
        """Write the files. A new directory appears once it is complete."""
        sink = context.sink
        assert isinstance(sink, DirSink)
        setting: bool | None = values["platform-split"]
        split = result.multi_platform if setting is None else setting
        with context.progress.step("copying files") as step, LayerFiles(context.store.blobs) as files:
            statements = attested(result, values, context.store, split=split)
            whole = partial(items, result, values, context.store, split=split, statements=statements)
            total = sum(item.span.size for item in whole() if item.span)
            with destination(sink) as directory:
                content = LayerContent(files, context.cancel, lambda done: step.update(done, total))
                delete = values["mode"] == _DELETE
                DirectoryWriter(directory, content, context.cancel, delete=delete).write(whole())
        return {}


@contextmanager
def destination(sink: DirSink) -> Generator[Path]:
    """Return the directory to write into: the sink's own or, if it does not exist, a temporary one that takes its
    name.
    """
    target = sink.path.absolute()
    if os.path.lexists(target):
        yield sink.make()
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name[:200]}.", dir=target.parent))
        fresh.chmod(0o755)  # like a directory that an exporter of BuildKit's client makes
    except OSError as error:
        raise ExportError(f"{target} cannot be made: {error.strerror or error}.") from error
    try:
        yield fresh
        fresh.rename(target)
    except ExportError as error:
        error.message = error.message.replace(str(fresh), str(target))  # the name given by the user
        raise
    except OSError as error:
        raise ExportError(f"{target} cannot be made: {error.strerror or error}.") from error
    finally:
        if fresh.exists():
            with suppress(OSError):
                remove_tree(fresh)


EXPORTER = LocalExporter()
