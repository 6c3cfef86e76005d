"""A finished build as its user sees it; it displays itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..attest.options import is_attestation_attr
from ..builders import Builder, SolveResponse, embedded_builder
from ..errors import BuildError, UsageError
from ..portable import user_path
from ..request.options import BuildOptions
from ..request.parts import default_outputs
from ..request.solve_request import SolveRequest
from ..results.contents import Contents
from ..results.metadata import WARNINGS, build_metadata, has_warnings, warning_documents
from ..results.summarise import summarise, summarise_failure, with_analysis
from ..session import LocalDir
from ..status.trace import Trace
from ..store import LayerTree, Store
from ..summary import ManifestSummary, OutputSummary, Summary, VertexSummary, WarningSummary
from .files import FileTree
from .image import Image
from .logs import StepLines, logs_of

if TYPE_CHECKING:
    from ..display.attested import SBOM, Provenance
    from ..display.difference import ShownDifference
    from ..display.markup import Markup
    from ..environments.testing import TestReport
    from ..kernels.spec import InstalledKernel
    from ..run import BackgroundRun, RunResult


class BuildResult:
    """A finished build. It displays itself in a notebook; `summary` has all that is displayed as plain data."""

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
        """The output of each step by the step's name; long logs lose their beginning."""
        self._contents = contents
        self._lines = lines
        self._cell = 0

    @cached_property
    def summary(self) -> Summary:
        """All that is displayed, as plain data; the changes of each layer are looked up on first use."""
        contents = self._contents
        if contents is None:
            return self._summary

        def analyse(manifest: ManifestSummary) -> Any:
            try:
                return contents.analysis(manifest, quick=True)
            except BuildError:
                return None  # a layer has been removed since

        return with_analysis(self._summary, analyse)

    @property
    def image(self) -> Image | None:
        """The image, or None if the build made none."""
        return Image(self.summary.image, self._contents) if self.summary.image else None

    @property
    def provenance(self) -> Provenance | None:
        """The attested origin of the image or the files (`--provenance`); None when nothing is attested."""
        from ..display.attested import provenances

        return next(provenances(self._contents.statements() if self._contents else ()), None)

    @property
    def sbom(self) -> SBOM | None:
        """The attested packages of the image or the files (`--sbom`); None when nothing is attested."""
        from ..display.attested import sboms

        return next(sboms(self._contents.statements() if self._contents else ()), None)

    @property
    def image_id(self) -> str:
        """The content of `--iidfile`: the digest of the config, or of the index if there is one; "" if no image."""
        image = self._summary.image
        own = (
            (image.digest if image.is_index else image.manifests[0].config_digest) if image and image.manifests else ""
        )
        digest = self.metadata.get("containerimage.config.digest") or self.metadata.get("containerimage.digest")
        return str(digest or own)

    @property
    def outputs(self) -> tuple[OutputSummary, ...]:
        """The paths that were written, in the order of `--output`."""
        return self._summary.outputs

    @property
    def paths(self) -> tuple[Path | None, ...]:
        """The absolute path of each output; None for an output that is not a file."""
        return tuple(path for _, path in self._contents.outputs) if self._contents else ()

    @cached_property
    def files(self) -> FileTree | None:
        """The complete tree of the first `local` or `tar` output, however large; None without such an output."""
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
        """Run `command`, or else the image's own, on the image of this build; see `pybuild_magic.run`."""
        from ..run import run

        return run(self, *command, **arguments)

    def test(self, *notebooks: str | Path, **arguments: Any) -> TestReport:
        """Run notebooks on the image's own kernel, and compare their outputs with the stored ones.

        Arguments are the fields of `TestOptions`: `result.test("analysis.ipynb", lax=True)`. The report is true when
        all outputs agree.
        """
        from ..environments.testing import verify_notebooks

        return verify_notebooks(notebooks, self, **arguments)

    def start(self, *command: str, **arguments: Any) -> BackgroundRun:
        """Start a process on the image in the background; see `pybuild_magic.run.start`."""
        from ..run import start

        return start(self, *command, **arguments)

    def kernel(self, name: str = "", display_name: str = "", **arguments: Any) -> InstalledKernel:
        """Install a Jupyter kernel that runs in the image of this build; see `Image.kernel`."""
        from ..kernels.spec import install_image

        return install_image(self.image.names if self.image else (), name, display_name, **arguments)

    def diff(self, other: BuildResult | Image) -> ShownDifference:
        """Compare the image of this build with that of `other`, the earlier one; see `Image.diff`."""
        image = self.image
        if image is None:
            raise UsageError("This build made no image to compare.", hint="Build it with -t NAME.")
        return image.diff(other)

    def explore(self) -> Any:
        """Return the explorer of this result as a widget, for front ends without the labextension, such as VS Code."""
        from ..display.explorer import explore

        return explore(self.summary, self._contents, self._lines)

    def to_dataframe(self) -> Any:
        """Return the steps as a pandas DataFrame, one row per step. Raises UnsupportedError without pandas."""
        from ..results.frames import dataframe

        fields = (
            *("name", "kind", "stage", "line", "cached", "started", "completed", "seconds", "log_lines"),
            *("error", "digest"),
        )
        return dataframe(fields, (tuple(getattr(step, name) for name in fields) for step in self.vertexes))

    def __repr__(self) -> str:
        from ..display import text

        return text.render(self.summary)

    def mime_bundle(self, steps: Markup | None = None) -> dict[str, Any]:
        """Return the result by media type, as Jupyter stores it: data, HTML (with `steps` drawn in it) and text."""
        from ..display import mime_bundle

        return mime_bundle(self.summary, self._contents, self._lines, steps)

    def displayed(self) -> None:
        """Note that the running cell has displayed this result, and need not display it again as its value."""
        from ..display.console import cell_number

        self._cell = cell_number()

    def with_hint(self, hint: str) -> BuildResult:
        """Return the same result with a hint beside its error."""
        summary = msgspec.structs.replace(self._summary, hint=hint)
        return BuildResult(self.request, summary, self.metadata, self.logs, self._contents, self._lines)

    def _ipython_display_(self) -> None:
        from ..display.console import cell_number

        if not self._cell or self._cell != cell_number():
            raise NotImplementedError  # tells IPython to use the media types instead

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        from ..display import text
        from ..display.console import in_color, in_terminal, terminal_width

        if in_terminal():  # which shows text only
            return {"text/plain": text.pretty(text.render(self.summary), terminal_width(), in_color())}
        return self.mime_bundle()

    @classmethod
    def of(
        cls,
        options: BuildOptions,
        request: SolveRequest,
        builder: Builder,
        response: SolveResponse,
        trace: Trace,
        definition: LocalDir | None = None,
    ) -> BuildResult:
        """Return the result of a solve. `definition` is the directory of the Dockerfile."""
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
            attests=_attests(request),
        )
        asks = "requestid" in request.frontend_attrs
        ref = "" if asks else f"{builder.node}/{request.ref}"
        metadata = build_metadata(response.exporter_response, ref, response.record)
        if trace.warnings and not asks and has_warnings():
            filename = request.frontend_attrs.get("filename", "")
            metadata[WARNINGS] = warning_documents(trace.warnings, definition, filename)
        return cls(request, summary, metadata, logs_of(trace), contents, StepLines(builder, request.ref, trace))

    @classmethod
    def failed(
        cls, options: BuildOptions, request: SolveRequest, builder: Builder, trace: Trace, error: BuildError
    ) -> BuildResult:
        """Return the result of a build that ended with `error`: its steps and their logs."""
        request = request.redacted()
        summary = summarise_failure(options, request, builder, trace, error)
        lines = StepLines(builder, request.ref, trace)
        metadata = build_metadata({}, f"{builder.node}/{request.ref}", None)
        return cls(request, summary, metadata, logs_of(trace), Contents(_store(builder)), lines)


def _store(builder: Builder) -> Store:
    store = getattr(builder, "store", None)
    return store if isinstance(store, Store) else embedded_builder().store


def _attests(request: SolveRequest) -> bool:
    """Return whether statements are written beside files: `inline-only` ones, buildx's default, are not."""
    attrs = {name: value for name, value in request.frontend_attrs.items() if is_attestation_attr(name)}
    return any("inline-only=true" not in value.split(",") for value in attrs.values())


def _snapshot(response: SolveResponse, options: BuildOptions) -> tuple[str, ...]:
    """Return the stored layers that `local` and `tar` outputs show.

    Empty for several platforms: the outputs then have a directory for each.
    """
    tree = getattr(response.files, "tree", None)
    return tree.diff_ids if isinstance(tree, LayerTree) and len(options.platforms) < 2 else ()
