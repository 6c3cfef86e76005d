"""Results to export: layers written into a store of their own, or imported from what BuildKit made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pybuild_magic import exporters
from pybuild_magic.cancel import Cancel
from pybuild_magic.exporters import ExportContext, SolveResult, TargetResult
from pybuild_magic.images.archive import open_images
from pybuild_magic.oci import config as configs
from pybuild_magic.oci.blobs import read_config, read_manifest
from pybuild_magic.oci.config import History, ImageConfig
from pybuild_magic.oci.mediatype import compression_of
from pybuild_magic.oci.platform import Platform, normalise, parse
from pybuild_magic.oci.timestamp import parse_time
from pybuild_magic.session import Session, Sink
from pybuild_magic.status.messages import SolveStatus
from pybuild_magic.status.report import Reporter
from pybuild_magic.store import DIR, FILE, HARDLINK, SYMLINK, Compressed, Entry, Layer, Store, import_tar, write_layer

LINUX = parse("linux/amd64")
SECOND = 1_000_000_000
TIME = 1_600_000_000


def directory(path: str, mode: int = 0o755, **fields: Any) -> tuple[Entry, None]:
    """A directory."""
    return Entry(path, DIR, mode, mtime=TIME * SECOND, **fields), None


def file(path: str, data: bytes = b"", mode: int = 0o644, **fields: Any) -> tuple[Entry, bytes]:
    """A regular file."""
    return Entry(path, FILE, mode, **{"mtime": TIME * SECOND, **fields}, size=len(data)), data


def symlink(path: str, to: str) -> tuple[Entry, None]:
    """A symbolic link."""
    return Entry(path, SYMLINK, 0o777, mtime=TIME * SECOND, link=to), None


def hardlink(path: str, to: str) -> tuple[Entry, None]:
    """Another name of a file of the same layer."""
    return Entry(path, HARDLINK, 0o644, mtime=TIME * SECOND, link=to), None


class Lab:
    """A store, and exports out of it with what they said while they ran."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.messages: list[SolveStatus] = []
        self.cancel = Cancel()
        self.session = Session()

    def layer(self, *contents: tuple[Entry, bytes | None]) -> Layer:
        """A layer of these entries."""
        return write_layer(self.store, list(contents))

    def result(
        self,
        *contents: tuple[Entry, bytes | None],
        config: ImageConfig | None = None,
        platform: Platform = LINUX,
        epoch: int | None = None,
    ) -> SolveResult:
        """A result of one layer and one instruction."""
        diff_id = self.layer(*contents).diff_id
        history = (History(created_by="COPY . .", comment="buildkit.dockerfile.v0"),)
        made = config or msgspec.structs.replace(configs.empty(platform), history=history)
        return SolveResult((TargetResult(platform, (diff_id,), made, created=(TIME * SECOND,)),), epoch)

    def export(
        self, kind: str, result: SolveResult, attrs: Mapping[str, str] | None = None, sink: Sink | None = None
    ) -> dict[str, str]:
        """Run one exporter; `steps` has what it did then."""
        self.messages.clear()
        values = exporters.check(kind, attrs or {}, sink)
        exporter = exporters.get(kind)
        with Reporter(self.messages.append).vertex("sha256:export", exporter.name) as progress, self.store.lease():
            context = ExportContext(self.store, self.session, progress, self.cancel, sink)
            return exporter.export(result, values, context)

    @property
    def steps(self) -> list[str]:
        """The steps that were completed, in order."""
        return [status.id for message in self.messages for status in message.statuses if status.completed]

    def imported(self, archive: Path, base: ImageConfig | None = None, *, pulled: bool = False) -> SolveResult:
        """What BuildKit made, as the embedded solver would hand it on: times of new history entries unknown."""
        images = open_images(archive)
        manifest = read_manifest(images, images.index().manifests[0])
        config = read_config(images, manifest)
        for diff_id, layer in zip(config.rootfs.diff_ids, manifest.layers, strict=True):
            with images.open(layer.digest) as stream:
                import_tar(self.store, stream, diff_id=diff_id)
            if pulled:
                with images.open(layer.digest) as stream:
                    assert self.store.blobs.put(stream.read()) == layer.digest
                kind = compression_of(layer.media_type)
                assert kind is not None
                self.store.compressed.put(
                    diff_id, Compressed(layer.media_type, layer.digest, layer.size, kind.value, layer.annotations)
                )
        old = len(base.history) if base else 0
        created = tuple(parse_time(entry.created) for entry in config.history if not entry.empty_layer)
        history = (
            *config.history[:old],
            *(msgspec.structs.replace(entry, created="") for entry in config.history[old:]),
        )
        front = msgspec.structs.replace(config, created="", history=history)
        platform = normalise(config.platform)
        return SolveResult((TargetResult(platform, config.rootfs.diff_ids, front, base, created),))
