"""What a user holds after a build: BuildResult, with its image, its layers and its files."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from pathlib import Path
from typing import Any

import msgspec

from .builders import Builder, SolveResponse
from .errors import BuildError
from .inspect import ReadBlob, inspect_image
from .options import BuildOptions, Output
from .request import SolveRequest, default_outputs, equivalent_command
from .status import VertexWarning
from .store import Entry
from .summary import (
    FileSummary,
    ImageSummary,
    LayerSummary,
    OutputSummary,
    Summary,
    VertexSummary,
    WarningSummary,
)
from .trace import Step, Trace

SHOWN_FILES = 500
"""Entries of a tree that are kept in the notebook, which everybody who opens it has to load; more are counted."""
_LOG_TAIL = 20


class FileTree(msgspec.Struct, frozen=True):
    """Files and directories of an output, in the order of its archive."""

    files: tuple[FileSummary, ...]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[FileSummary]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(self.files)

    def __getitem__(self, path: str) -> FileSummary:
        """The entry at `path`. Raises KeyError."""
        for file in self.files:
            if file.path == path.strip("/"):
                return file
        raise KeyError(path)


class Image(msgspec.Struct, frozen=True):
    """The image that was built. Of several platforms, `config` and `layers` are the first one's."""

    summary: ImageSummary

    @property
    def names(self) -> tuple[str, ...]:
        """The names it was given, whole."""
        return self.summary.names

    @property
    def digest(self) -> str:
        """Of the manifest, or of the index."""
        return self.summary.digest

    @property
    def id(self) -> str:
        """Docker's image ID: the digest of the config."""
        return self.summary.manifests[0].config_digest if self.summary.manifests else ""

    @property
    def config(self) -> dict[str, Any]:
        """The image's config, as its JSON says."""
        return self.summary.manifests[0].config if self.summary.manifests else {}

    @property
    def layers(self) -> tuple[LayerSummary, ...]:
        """The layers, bottom first."""
        return self.summary.manifests[0].layers if self.summary.manifests else ()

    @property
    def size(self) -> int:
        """Bytes of all blobs, as they are (compressed, where they are)."""
        return self.summary.total_size

    def __repr__(self) -> str:
        from .display import text

        return text.render_image(self.summary)

    def _repr_html_(self) -> str:
        from .display import html

        return str(html.render_image(self.summary))


class BuildResult:
    """A finished build. In a notebook it displays itself; `summary` is all of that as plain data."""

    def __init__(
        self,
        request: SolveRequest,
        summary: Summary,
        metadata: dict[str, Any],
        logs: dict[str, str],
        paths: Sequence[Path | None] = (),
    ) -> None:
        self.request = request
        self.summary = summary
        self.metadata = metadata
        """What buildx writes to `--metadata-file`."""
        self.logs = logs
        """What each step printed, by the step's name; long logs are cut at the front."""
        self.paths = tuple(paths)
        """Where each output is, absolute; None for one that is no file."""

    @property
    def image(self) -> Image | None:
        """The image, when one was made."""
        return Image(self.summary.image) if self.summary.image else None

    @property
    def image_id(self) -> str:
        """What `--iidfile` gets: the digest of the config, or "" without an image."""
        image = self.image
        return str(self.metadata.get("containerimage.config.digest") or (image.id if image else ""))

    @property
    def outputs(self) -> tuple[OutputSummary, ...]:
        """What was written, in the order of `--output`."""
        return self.summary.outputs

    @property
    def files(self) -> FileTree | None:
        """The tree of the first output that has one."""
        for output in self.summary.outputs:
            if output.files:
                return FileTree(output.files)
        return None

    @property
    def vertexes(self) -> tuple[VertexSummary, ...]:
        """The steps, in the order in which they began."""
        return self.summary.vertexes

    @property
    def warnings(self) -> tuple[WarningSummary, ...]:
        """What the builder warned of."""
        return self.summary.warnings

    def __repr__(self) -> str:
        from .display import text

        return text.render(self.summary)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        from .display import mime_bundle

        return mime_bundle(self.summary, self.paths)

    @classmethod
    def of(
        cls, options: BuildOptions, request: SolveRequest, builder: Builder, response: SolveResponse, trace: Trace
    ) -> BuildResult:
        """The result of a solve."""
        trace.flush()
        answer = response.exporter_response
        steps = list(trace.visible())
        outputs = default_outputs(options, builder.driver)
        paths = [Path(output.dest).expanduser().absolute() if output.dest else None for output in outputs]
        summary = Summary(
            ref=request.ref,
            builder=builder.name,
            target=options.target,
            seconds=trace.seconds,
            vertexes=tuple(_vertex(step) for step in steps),
            warnings=tuple(_warning(warning) for warning in trace.warnings),
            image=_image(response.read_blob, answer),
            outputs=_outputs(outputs, paths, response.files, answer),
            request=request.to_json(),
            command=equivalent_command(options),
        )
        logs = {step.name: step.log for step in steps if step.lines}
        return cls(request, summary, _metadata(request, answer), logs, paths)


def _vertex(step: Step) -> VertexSummary:
    return VertexSummary(
        digest=step.digest,
        name=step.name,
        inputs=step.inputs,
        cached=step.cached,
        started=step.started,
        completed=step.completed,
        seconds=step.seconds(),
        error=step.error,
        log_tail="\n".join(line.text for line in list(step.lines)[-_LOG_TAIL:]),
    )


def _warning(warning: VertexWarning) -> WarningSummary:
    return WarningSummary(
        short=warning.short.decode("utf-8", "replace"),
        detail=b"\n".join(warning.detail).decode("utf-8", "replace"),
        url=warning.url,
        line=warning.start,
    )


def _metadata(request: SolveRequest, answer: dict[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"buildx.build.ref": request.ref}
    for key, value in sorted(answer.items()):
        if key == "containerimage.descriptor":
            metadata[key] = msgspec.json.decode(base64.b64decode(value))
        else:
            metadata[key] = value
    return metadata


def _image(read: ReadBlob | None, answer: dict[str, str]) -> ImageSummary | None:
    digest = answer.get("containerimage.digest")
    if read is None or not digest:
        return None
    names = tuple(name for name in answer.get("image.name", "").split(",") if name)
    try:
        return inspect_image(read, digest, names)
    except BuildError:
        # The image was made and is where it was sent; that it cannot be shown here does not make the build fail.
        return None


def _outputs(
    outputs: Sequence[Output], paths: Sequence[Path | None], files: Iterable[Entry] | None, answer: dict[str, str]
) -> tuple[OutputSummary, ...]:
    """What each output is. All trees of a build are the same one, so only the first that has one shows it."""
    names = tuple(name for name in answer.get("image.name", "").split(",") if name)
    shown: list[OutputSummary] = []
    for output, path in zip(outputs, paths, strict=True):
        if path is None:
            shown.append(OutputSummary(type=output.type, names=names if output.type != "cacheonly" else ()))
            continue
        summary = OutputSummary(type=output.type, dest=output.dest, size=_size(path))
        if output.type not in ("local", "tar"):
            summary = msgspec.structs.replace(summary, names=names)
        elif files is not None:
            summary, files = _with_files(summary, files), None
        shown.append(summary)
    return tuple(shown)


def _with_files(output: OutputSummary, files: Iterable[Entry]) -> OutputSummary:
    entries, count, total = 0, 0, 0
    for entry in files:
        entries += 1
        if entry.type == "0":
            count, total = count + 1, total + entry.size
    shown = files if entries <= SHOWN_FILES else nsmallest(SHOWN_FILES, files, lambda entry: entry.path.count("/"))
    return msgspec.structs.replace(
        output,
        files=tuple(_file(entry) for entry in shown),
        file_count=count,
        file_bytes=total,
        more_files=max(0, entries - SHOWN_FILES),
    )


def _file(entry: Entry) -> FileSummary:
    path = entry.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    link = entry.link.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return FileSummary(path, entry.type, entry.mode, entry.size, entry.uid, entry.gid, link)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    return path.stat().st_size if path.exists() else 0
