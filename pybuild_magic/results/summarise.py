"""From a build that has ended to its `Summary`, by the status stream, the response and the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest
from itertools import islice, takewhile
from pathlib import Path

import msgspec

from ..builders import Builder, SolveResponse
from ..errors import BuildError, Interrupted, RunError
from ..images.describe import ReadBlob, inspect_image
from ..portable import user_path
from ..request.command import equivalent_command
from ..request.options import BuildOptions
from ..request.outputs import Output
from ..request.solve_request import SolveRequest
from ..status.messages import VertexWarning
from ..status.stepname import INTERNAL
from ..status.trace import Step, Trace
from ..store import Analysis, Entry
from ..summary import (
    FileSummary,
    ImageSummary,
    ManifestSummary,
    OutputSummary,
    Summary,
    VertexSummary,
    WarningSummary,
    WastedPath,
)
from ..untrusted.redaction import redact
from .attribution import Attribution, Place

SHOWN_FILES = 500
"""The most entries of a tree that a notebook keeps, since everyone who opens it loads them; others are counted."""
LOG_TAIL = 200
"""How many of the last lines of a log are kept, besides the first lines that a trace keeps."""
_PATTERNS = 20
_PATH = 500
"""The most characters of a path or a pattern. Longer ones are left out rather than cut: a user may act on them."""
_NOT_RUN = 100
"""The most steps of a failed build that are listed as not run."""
_LONGEST_DOCKERFILE = 1 << 20

Analyse = Callable[[ManifestSummary], Analysis | None]
"""Returns the analysis of a manifest's layers, or None if that would take long."""


def summarise(
    options: BuildOptions,
    request: SolveRequest,
    builder: Builder,
    response: SolveResponse,
    trace: Trace,
    outputs: Sequence[tuple[Output, Path | None]],
) -> Summary:
    """Return what is displayed of the build. Each output has its absolute path, or None if it is not a file."""
    answer = response.exporter_response
    dockerfile = redact(_dockerfile(options))
    attribution = Attribution(dockerfile, options.target)
    steps = [(step, attribution.place(step.name)) for step in trace.visible()]
    image = _image(response.read_blob, answer)
    return msgspec.structs.replace(
        _of_steps(options, request, builder, trace, dockerfile, steps),
        rung=response.rung,
        image=_with_vertexes(image, attribution, steps) if image else None,
        outputs=_outputs(outputs, response.files, answer),
    )


def summarise_failure(
    options: BuildOptions, request: SolveRequest, builder: Builder, trace: Trace, error: BuildError
) -> Summary:
    """Sum up a build that ended with `error`: how far it got, and the steps that were not run."""
    dockerfile = redact(_dockerfile(options) or (error.location.text if error.location else ""))
    attribution = Attribution(dockerfile, options.target)
    unannounced = [step for step in trace.steps.values() if not step.index and not step.name.startswith(INTERNAL)]
    steps = [(step, attribution.place(step.name)) for step in (*trace.visible(), *unannounced[:_NOT_RUN])]
    where = error.location
    return msgspec.structs.replace(
        _of_steps(options, request, builder, trace, dockerfile, steps),
        error=error.message,
        hint=error.hint,
        error_line=where.start if where else 0,
        error_end=max(where.start, where.end) if where else 0,
        canceled=isinstance(error, Interrupted),
        kept=error.state_name if isinstance(error, RunError) else "",
    )


def _of_steps(
    options: BuildOptions,
    request: SolveRequest,
    builder: Builder,
    trace: Trace,
    dockerfile: str,
    steps: Sequence[tuple[Step, Place]],
) -> Summary:
    """Sum up the request and the status stream of a build, however it ended."""
    return Summary(
        ref=request.ref,
        builder=redact(builder.name),
        driver="" if builder.driver == "embedded" else builder.driver,
        target=options.target,
        seconds=trace.seconds,
        vertexes=tuple(_vertex(step, place) for step, place in steps),
        warnings=tuple(_warning(warning) for warning in trace.warnings),
        request=request.to_json(),
        command=equivalent_command(options),
        dockerfile=dockerfile,
        view=options.view,
    )


def with_analysis(summary: Summary, analyse: Analyse) -> Summary:
    """Return the summary with what the layers change and waste, as far as that is known."""
    if summary.image is None:
        return summary
    manifests = tuple(_analysed(manifest, analyse(manifest)) for manifest in summary.image.manifests)
    return msgspec.structs.replace(summary, image=msgspec.structs.replace(summary.image, manifests=manifests))


def _analysed(manifest: ManifestSummary, analysis: Analysis | None) -> ManifestSummary:
    if analysis is None or len(analysis.layers) != len(manifest.layers):
        return manifest
    layers = (
        msgspec.structs.replace(
            layer,
            uncompressed_size=counts.size,
            files_added=counts.added,
            files_changed=counts.changed,
            files_removed=counts.removed,
        )
        for layer, counts in zip(manifest.layers, analysis.layers, strict=True)
    )
    return msgspec.structs.replace(
        manifest,
        layers=tuple(layers),
        efficiency=round(analysis.efficiency, 4),
        wasted_bytes=analysis.wasted_bytes,
        wasted=tuple(WastedPath(readable(path), count, size) for path, count, size in analysis.wasted),
    )


def readable(path: str) -> str:
    """Return a path of an archive or a disk as valid text, whatever its bytes are."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def file_summary(entry: Entry) -> FileSummary:
    """Return an entry of a tree as it is displayed."""
    path, link = readable(entry.path), readable(entry.link)
    return FileSummary(path, entry.type, entry.mode, entry.size, entry.uid, entry.gid, link)


def _dockerfile(options: BuildOptions) -> str:
    """Return the text of the Dockerfile if it is a cell or a file of this machine, else ""."""
    if options.dockerfile is not None:
        return options.dockerfile
    context = options.context if isinstance(options.context, str) else "." if options.context is None else ""
    path = user_path(options.file or (Path(context) / "Dockerfile"))
    try:
        if path.is_file() and path.stat().st_size <= _LONGEST_DOCKERFILE:
            return path.read_text("utf-8", "replace")
    except OSError:
        pass
    return ""


def _vertex(step: Step, place: Place) -> VertexSummary:
    tail = list(islice(step.lines, max(0, len(step.lines) - LOG_TAIL), None))
    head = step.first_lines[: max(0, step.line_count - len(tail))]
    return VertexSummary(
        digest=step.digest,
        name=step.name,
        inputs=step.inputs,
        cached=step.cached,
        started=step.started,
        completed=step.completed,
        seconds=step.seconds(),
        error=step.error,
        log_head="\n".join(line.text for line in head),
        log_tail="\n".join(line.text for line in tail),
        log_seconds=tuple(round(line.seconds, 1) for line in (*head, *tail)),
        log_lines=step.line_count,
        kind=place.kind,
        stage=place.stage,
        line=place.line,
    )


def _with_vertexes(image: ImageSummary, attribution: Attribution, steps: Sequence[tuple[Step, Place]]) -> ImageSummary:
    places = [(step.digest, place) for step, place in steps]

    def attributed(manifest: ManifestSummary) -> ManifestSummary:
        made_by = [layer.created_by for layer in manifest.layers]
        makers = attribution.layers(places, manifest.platform, made_by)
        layers = zip(manifest.layers, makers, strict=True)
        base = attribution.base(place for _, place in places)
        return msgspec.structs.replace(
            manifest,
            layers=tuple(msgspec.structs.replace(layer, vertex=by.digest, line=by.line) for layer, by in layers),
            base=base,
            base_layers=sum(1 for _ in takewhile(lambda maker: not maker.digest, makers)) if base else 0,
        )

    return msgspec.structs.replace(image, manifests=tuple(map(attributed, image.manifests)))


def _warning(warning: VertexWarning) -> WarningSummary:
    return WarningSummary(
        short=warning.short.decode("utf-8", "replace"),
        detail=b"\n".join(warning.detail).decode("utf-8", "replace"),
        url=warning.url,
        line=warning.start,
        context=readable(warning.context) if len(warning.context) <= _PATH else "",
        ignorable=tuple(readable(pattern) for pattern in warning.ignorable if len(pattern) <= _PATH)[:_PATTERNS],
    )


def _image(read: ReadBlob | None, answer: dict[str, str]) -> ImageSummary | None:
    digest = answer.get("containerimage.digest")
    if read is None or not digest:
        return None
    try:
        return inspect_image(read, digest, _names(answer))
    except BuildError:
        # The image was built and is where it was sent; the build does not fail because it cannot be displayed here.
        return None


def _names(answer: dict[str, str]) -> tuple[str, ...]:
    return tuple(name for name in answer.get("image.name", "").split(",") if name)


def _outputs(
    outputs: Sequence[tuple[Output, Path | None]], files: Iterable[Entry] | None, answer: dict[str, str]
) -> tuple[OutputSummary, ...]:
    """Describe each output. All outputs of a build have the same tree, so only the first output with one shows it."""
    names = _names(answer)
    summaries: list[OutputSummary] = []
    for output, path in outputs:
        if path is None:
            summaries.append(OutputSummary(type=output.type, names=names if output.exporter.image else ()))
            continue
        is_directory = path.is_dir()
        summary = OutputSummary(type=output.type, dest=output.dest, size=_size(path), is_directory=is_directory)
        if not output.exporter.files:
            summary = msgspec.structs.replace(summary, names=names)
        elif files is not None:
            summary, files = _with_files(summary, files), None
        summaries.append(summary)
    return tuple(summaries)


def _with_files(output: OutputSummary, files: Iterable[Entry]) -> OutputSummary:
    entries, count, total = 0, 0, 0
    for entry in files:
        entries += 1
        if entry.type == "0":
            count, total = count + 1, total + entry.size
    listed = files if entries <= SHOWN_FILES else nsmallest(SHOWN_FILES, files, lambda entry: entry.path.count("/"))
    return msgspec.structs.replace(
        output,
        files=tuple(file_summary(entry) for entry in listed),
        file_count=count,
        file_bytes=total,
        more_files=max(0, entries - SHOWN_FILES),
    )


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a directory."""
    if not path.is_dir():
        return path.stat().st_size if path.exists() else 0
    total, below = 0, [os.fspath(path)]
    while below:
        with os.scandir(below.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
    return total
