"""The result of a build for its user: BuildResult, with its image, its layers and its files. Each displays itself."""

from __future__ import annotations

import base64
import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .builders import Builder, SolveResponse, embedded_builder
from .errors import BuildError, UsageError
from .portable import user_path
from .request.options import BuildOptions
from .request.parts import default_outputs
from .request.solve_request import SolveRequest
from .results.contents import Contents, View
from .results.owners import Owners, owners_of
from .results.summarise import file_summary, summarise, summarise_failure, with_analysis
from .status.trace import Step, Trace, whole_log
from .store import LayerTree, Store
from .summary import (
    FileSummary,
    ImageSummary,
    LayerSummary,
    ManifestSummary,
    OutputSummary,
    Summary,
    VertexSummary,
    WarningSummary,
)

if TYPE_CHECKING:
    from .display.attested import SBOM, Provenance
    from .display.difference import ShownDifference
    from .display.markup import Markup
    from .environments.testing import TestReport
    from .run import BackgroundRun, RunResult

_WHOLE = 1 << 40
"""Bytes that `read` reads at most."""


class File(FileSummary, frozen=True):
    """One path of a tree, with the names of its owner; it shows itself as `ls -l` would."""

    owner: str = ""
    """`root`, or `USER:GROUP`; a number where the image has no name for it."""

    def __repr__(self) -> str:
        from .display import text

        return text.file_line(self, self.owner)


class FileTree:
    """Files and directories of an image or an output, in the order of its archive. Iterates over `File`.

    `tree["etc/passwd"]` is one entry, `tree.read("etc/passwd")` its content, `tree.to_dataframe()` all as a table.
    """

    def __init__(
        self,
        files: Iterable[FileSummary] = (),
        view: Callable[[], View] | None = None,
        owners: Callable[[], Owners] | None = None,
    ) -> None:
        self._some = files
        self._view = view
        self._owners = owners

    @cached_property
    def files(self) -> tuple[File, ...]:
        """All entries."""
        owners = self._owners() if self._owners else Owners()
        some = self._some if self._view is None else (file_summary(entry) for _, entry in self._view().entries())
        return tuple(File(*msgspec.structs.astuple(file)[:7], owner=owners.of(file)) for file in some)

    @cached_property
    def _by_path(self) -> dict[str, File]:
        return {file.path: file for file in self.files}

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[File]:
        return iter(self.files)

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and path.strip("/") in self._by_path

    def __getitem__(self, path: str) -> File:
        """The entry at `path`. Raises KeyError."""
        return self._by_path[path.strip("/")]

    def read(self, path: str) -> bytes:
        """The content of a file; links are followed within an image. Raises SourceError when there is none."""
        if self._view is None:
            raise UsageError("The content of these files is not at hand.")
        return self._view().read(path.strip("/"), 0, _WHOLE)[1]

    def to_dataframe(self) -> Any:
        """The entries as a pandas DataFrame, a row each. Raises UnsupportedError without pandas."""
        from .results.frames import dataframe

        fields = ("path", "type", "mode", "size", "uid", "gid", "link")
        return dataframe(fields, (tuple(getattr(file, name) for name in fields) for file in self.files))

    def __repr__(self) -> str:
        from .display import text

        return text.render_files([(file, file.owner) for file in self.files])

    def _repr_html_(self) -> str:
        from .display import html

        return str(html.render_files(self.files))


class Layers(tuple[LayerSummary, ...]):
    """The layers of an image, bottom first: a tuple of LayerSummary that displays itself."""

    manifest: ManifestSummary | None = None

    @classmethod
    def of(cls, manifest: ManifestSummary) -> Layers:
        """The layers of a manifest."""
        layers = cls(manifest.layers)
        layers.manifest = manifest
        return layers

    def to_dataframe(self) -> Any:
        """The layers as a pandas DataFrame, a row each; sizes in bytes. Raises UnsupportedError without pandas."""
        from .results.frames import dataframe

        fields = (
            *("created_by", "size", "uncompressed_size", "files_added", "files_changed", "files_removed"),
            *("digest", "diff_id", "media_type"),
        )
        return dataframe(fields, (tuple(getattr(layer, name) for name in fields) for layer in self))

    def __repr__(self) -> str:
        from .display import text

        return text.render_layers(self)

    def _repr_html_(self) -> str:
        from .display import html

        return str(html.render_layers(self, self.manifest))


class Config(dict[str, Any]):
    """An image's config, as its JSON says: a dict that displays itself as the author of a Dockerfile thinks of it."""

    def __repr__(self) -> str:
        from .untrusted.printable import printable_json

        return printable_json(json.dumps(self, indent=2, ensure_ascii=False))

    def _repr_html_(self) -> str:
        from .display import html

        return str(html.render_config(self))


class Image:
    """An image. Of several platforms, `config`, `layers` and `files` are the first one's."""

    def __init__(self, summary: ImageSummary, contents: Contents | None = None) -> None:
        self._summary = summary
        self._contents = contents

    @cached_property
    def summary(self) -> ImageSummary:
        """All that is known of it, as plain data; what layers change and waste is looked at when it is asked for."""
        contents = self._contents
        if contents is None or all(manifest.efficiency >= 0 for manifest in self._summary.manifests):
            return self._summary

        def analyse(manifest: ManifestSummary) -> Any:
            try:
                return contents.analysis(manifest)
            except BuildError:
                return None  # an attestation, or a layer that is not to be had

        whole = with_analysis(Summary(ref="", builder="", image=self._summary), analyse).image
        assert whole is not None
        return whole

    @property
    def efficiency(self) -> float:
        """How much of what the layers hold can be seen, from 0 to 1 as dive has it; -1 when it cannot be known."""
        return self.summary.manifests[0].efficiency if self.summary.manifests else -1.0

    @property
    def names(self) -> tuple[str, ...]:
        """The names it was given, whole."""
        return self._summary.names

    @property
    def digest(self) -> str:
        """Of the manifest, or of the index."""
        return self._summary.digest

    @property
    def contents(self) -> Contents | None:
        """Where its layers are looked into; None when they are not at hand."""
        return self._contents

    def run(self, *command: str, **arguments: Any) -> RunResult:
        """Run a process on the image; see `pybuild_magic.run`."""
        from .run import run

        return run(self, *command, **arguments)

    def test(self, *notebooks: str | Path, **arguments: Any) -> TestReport:
        """Run notebooks on the image's own kernel, and compare what they show with what is stored in them.

        Arguments are the fields of `TestOptions`: `result.test("analysis.ipynb", lax=True)`. The report is true when
        all is the same.
        """
        from .environments.testing import verify_notebooks

        return verify_notebooks(notebooks, self, **arguments)

    def start(self, *command: str, **arguments: Any) -> BackgroundRun:
        """Begin a process on the image that goes on in the background; see `pybuild_magic.run.start`."""
        from .run import start

        return start(self, *command, **arguments)

    @property
    def id(self) -> str:
        """Docker's image ID: the digest of the config."""
        return self._summary.manifests[0].config_digest if self._summary.manifests else ""

    @property
    def config(self) -> Config:
        """The image's config, as its JSON says."""
        return Config(self._summary.manifests[0].config if self._summary.manifests else {})

    @property
    def layers(self) -> Layers:
        """The layers, bottom first, with what each adds, changes and removes."""
        return Layers.of(self.summary.manifests[0]) if self.summary.manifests else Layers()

    @cached_property
    def files(self) -> FileTree:
        """The files that a container of it has. Raises BuildError when its layers are not at hand."""
        contents = self._contents
        if contents is None:
            raise UsageError("The layers of this image are not at hand.")
        return FileTree(
            view=lambda: contents.view("image"), owners=lambda: owners_of(contents.tree(contents.manifest()))
        )

    @property
    def size(self) -> int:
        """Bytes of all blobs, as they are (compressed, where they are)."""
        return self._summary.total_size

    @cached_property
    def provenance(self) -> Provenance | None:
        """What it was made of, as is attested of its first platform; None when nothing is."""
        from .display.attested import provenances

        return next(provenances(self._contents.statements() if self._contents else ()), None)

    @cached_property
    def sbom(self) -> SBOM | None:
        """What is in it, as is attested of its first platform; None when nothing is."""
        from .display.attested import sboms

        return next(sboms(self._contents.statements() if self._contents else ()), None)

    def diff(self, other: Image | BuildResult) -> ShownDifference:
        """Compare with `other`, the image before: files added, changed and removed, config, and shared layers."""
        from .display.difference import shown
        from .results.difference import compare

        image = other.image if isinstance(other, BuildResult) else other
        if image is None or image._contents is None or self._contents is None:
            raise UsageError("Two images are needed to compare.", hint="Build both with -t NAME.")
        return shown(compare(image._contents, self._contents))

    def explore(self) -> Any:
        """The explorer of the image as a widget, for front ends without the labextension."""
        from .display.explorer import explore

        return explore(Summary(ref="", builder="", image=self._summary), self._contents, None)

    def __repr__(self) -> str:
        from .display import text

        return text.render_image(self._summary)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        from .display import html, mime_bundle

        summary = with_analysis(Summary(ref="", builder="", image=self._summary), self._quick_analysis)
        bundle = mime_bundle(summary, self._contents)
        return bundle | {"text/html": str(html.render_image(self._summary)), "text/plain": repr(self)}

    def _quick_analysis(self, manifest: ManifestSummary) -> Any:
        try:
            return self._contents.analysis(manifest, quick=True) if self._contents else None
        except BuildError:
            return None  # an attestation, or a layer that is not to be had


class BuildResult:
    """A finished build. In a notebook it displays itself; `summary` is all of that as plain data."""

    def __init__(
        self,
        request: SolveRequest,
        summary: Summary,
        metadata: dict[str, Any],
        logs: dict[str, str],
        contents: Contents | None = None,
        lines: Callable[[str], tuple[list[str], list[float]]] | None = None,
    ) -> None:
        self.request = request
        self._summary = summary
        self.metadata = metadata
        """The document that buildx writes to `--metadata-file`."""
        self.logs = logs
        """The output of each step, by the step's name; long logs are cut at the front."""
        self._contents = contents
        self._lines = lines
        self._cell = 0

    @cached_property
    def summary(self) -> Summary:
        """All that is shown, as plain data; what the layers change is looked up when it is first asked for."""
        contents = self._contents
        if contents is None:
            return self._summary

        def analyse(manifest: ManifestSummary) -> Any:
            try:
                return contents.analysis(manifest, quick=True)
            except BuildError:
                return None  # a layer that was removed since

        return with_analysis(self._summary, analyse)

    @property
    def image(self) -> Image | None:
        """The image, when one was made."""
        return Image(self.summary.image, self._contents) if self.summary.image else None

    @property
    def provenance(self) -> Provenance | None:
        """What the image was made of, where that is attested: `--provenance`."""
        return self.image.provenance if self.image else None

    @property
    def sbom(self) -> SBOM | None:
        """What is in the image, where that is attested: `--sbom`."""
        return self.image.sbom if self.image else None

    @property
    def image_id(self) -> str:
        """The content of `--iidfile`: the digest of the config, or "" without an image."""
        manifests = self._summary.image.manifests if self._summary.image else ()
        own = manifests[0].config_digest if manifests else ""
        return str(self.metadata.get("containerimage.config.digest") or own)

    @property
    def outputs(self) -> tuple[OutputSummary, ...]:
        """The paths that were written, in the order of `--output`."""
        return self._summary.outputs

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """Where each output is, absolute; None for one that is no file."""
        return tuple(path for _, path in self._contents.outputs) if self._contents else ()

    @cached_property
    def files(self) -> FileTree | None:
        """The tree of the first output that has one, `local` or `tar`; all of it, however large."""
        trees = [output.type in ("local", "tar") and output.dest != "" for output in self._summary.outputs]
        if True not in trees:
            return None
        contents, number = self._contents, trees.index(True)
        if contents is None:
            return FileTree(self._summary.outputs[number].files)
        return FileTree(view=lambda: contents.view(f"output:{number}"))

    @property
    def vertexes(self) -> tuple[VertexSummary, ...]:
        """The steps, in the order in which they began."""
        return self._summary.vertexes

    @property
    def warnings(self) -> tuple[WarningSummary, ...]:
        """The builder's warnings."""
        return self._summary.warnings

    def run(self, *command: str, **arguments: Any) -> RunResult:
        """Run a process on the image of this build: its own command, when none is given; see `pybuild_magic.run`."""
        from .run import run

        return run(self, *command, **arguments)

    def test(self, *notebooks: str | Path, **arguments: Any) -> TestReport:
        """Run notebooks on the image's own kernel, and compare what they show with what is stored in them.

        Arguments are the fields of `TestOptions`: `result.test("analysis.ipynb", lax=True)`. The report is true when
        all is the same.
        """
        from .environments.testing import verify_notebooks

        return verify_notebooks(notebooks, self, **arguments)

    def start(self, *command: str, **arguments: Any) -> BackgroundRun:
        """Begin a process on the image that goes on in the background; see `pybuild_magic.run.start`."""
        from .run import start

        return start(self, *command, **arguments)

    def diff(self, other: BuildResult | Image) -> ShownDifference:
        """Compare the image of this build with that of `other`; see `Image.diff`."""
        image = self.image
        if image is None:
            raise UsageError("This build made no image to compare.", hint="Build it with -t NAME.")
        return image.diff(other)

    def explore(self) -> Any:
        """The explorer of this result as a widget, for front ends without the labextension, such as VS Code."""
        from .display.explorer import explore

        return explore(self.summary, self._contents, self._lines)

    def to_dataframe(self) -> Any:
        """The steps as a pandas DataFrame, a row each. Raises UnsupportedError without pandas."""
        from .results.frames import dataframe

        fields = (
            *("name", "kind", "stage", "line", "cached", "started", "completed", "seconds", "log_lines"),
            *("error", "digest"),
        )
        return dataframe(fields, (tuple(getattr(step, name) for name in fields) for step in self.vertexes))

    def __repr__(self) -> str:
        from .display import text

        return text.render(self.summary)

    def mime_bundle(self, steps: Markup | None = None) -> dict[str, Any]:
        """The result as Jupyter keeps it, by media type: as data, as HTML, in which `steps` are drawn, and as text."""
        from .display import mime_bundle

        return mime_bundle(self.summary, self._contents, self._lines, steps)

    def displayed(self) -> None:
        """Take note that the cell that runs shows the result, and need not show it again as its value."""
        from .display import cell_number

        self._cell = cell_number()

    def with_hint(self, hint: str) -> BuildResult:
        """The same with the next step after its error."""
        summary = msgspec.structs.replace(self._summary, hint=hint)
        return BuildResult(self.request, summary, self.metadata, self.logs, self._contents, self._lines)

    def _ipython_display_(self) -> None:
        from .display import cell_number

        if not self._cell or self._cell != cell_number():
            raise NotImplementedError  # by which IPython goes on to the media types

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        from .display import in_terminal, text

        if in_terminal():  # which shows the text alone
            color = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
            return {"text/plain": text.pretty(self.summary, color)}
        return self.mime_bundle()

    @classmethod
    def of(
        cls, options: BuildOptions, request: SolveRequest, builder: Builder, response: SolveResponse, trace: Trace
    ) -> BuildResult:
        """The result of a solve."""
        trace.flush()
        request = request.redacted()
        outputs = [
            (output, user_path(output.dest).absolute() if output.dest else None)
            for output in default_outputs(options, builder.driver)
        ]
        summary = summarise(options, request, builder, response, trace, outputs)
        contents = Contents(
            _store(builder),
            summary.image,
            outputs,
            response.read_blob,
            _snapshot(response, options),
            response.blobs,
        )
        metadata = _metadata(request, response.exporter_response)
        return cls(request, summary, metadata, _logs(trace), contents, _Lines(builder, request.ref, trace))

    @classmethod
    def failed(
        cls, options: BuildOptions, request: SolveRequest, builder: Builder, trace: Trace, error: BuildError
    ) -> BuildResult:
        """The result of a build that ended in `error`: its steps and their logs."""
        request = request.redacted()
        summary = summarise_failure(options, request, builder, trace, error)
        lines = _Lines(builder, request.ref, trace)
        return cls(request, summary, _metadata(request, {}), _logs(trace), Contents(_store(builder)), lines)


def _store(builder: Builder) -> Store:
    store = getattr(builder, "store", None)
    return store if isinstance(store, Store) else embedded_builder().store


def _logs(trace: Trace) -> dict[str, str]:
    return {step.name: _told(step) for step in trace.visible() if step.lines}


def _snapshot(response: SolveResponse, options: BuildOptions) -> tuple[str, ...]:
    """The layers in the store of `local` and `tar` outputs; of several platforms, each has its own directory."""
    tree = getattr(response.files, "tree", None)
    return tree.diff_ids if isinstance(tree, LayerTree) and len(options.platforms) < 2 else ()


def _told(step: Step) -> str:
    return (f"… {step.lost:,} earlier lines are in the build's log (%build history)\n" if step.lost else "") + step.log


class _Lines:
    """All that a step printed: what is in memory, or when that is not all of it, what the builder's history has."""

    def __init__(self, builder: Builder, ref: str, trace: Trace) -> None:
        self._builder = builder
        self._ref = ref
        self._kept = {step.digest: _kept(step) for step in trace.visible() if step.line_count}

    def __call__(self, vertex: str) -> tuple[list[str], list[float]]:
        """The lines, and of each the seconds from the start of the step."""
        log, seconds, count = self._kept.get(vertex, ("", (), 0))
        lines = log.split("\n") if count else []
        if len(lines) >= count:
            return lines, list(seconds)
        try:
            record = next(each for each in self._builder.history(500) if each.ref == self._ref)
            return whole_log(self._builder.replay(record), vertex)
        except (BuildError, StopIteration):
            return lines, list(seconds)


def _kept(step: Step) -> tuple[str, Sequence[float], int]:
    return step.log, array("f", (round(line.seconds, 1) for line in step.lines)), step.line_count


def _metadata(request: SolveRequest, answer: dict[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"buildx.build.ref": request.ref}
    for key, value in sorted(answer.items()):
        if key == "containerimage.descriptor":
            metadata[key] = msgspec.json.decode(base64.b64decode(value))
        else:
            metadata[key] = value
    return metadata
