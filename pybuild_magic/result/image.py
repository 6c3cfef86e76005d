"""An image, its config and its layers; each displays itself."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BuildError, UsageError
from ..results.contents import Contents
from ..results.owners import owners_of
from ..results.summarise import with_analysis
from ..summary import ImageSummary, LayerSummary, ManifestSummary, Summary
from .files import FileTree

if TYPE_CHECKING:
    from ..display.attested import SBOM, Provenance
    from ..display.difference import ShownDifference
    from ..environments.testing import TestReport
    from ..kernels.spec import InstalledKernel
    from ..run import BackgroundRun, RunResult
    from .build_result import BuildResult


class Layers(tuple[LayerSummary, ...]):
    """The layers of an image, bottom first: a tuple of `LayerSummary` that displays itself."""

    manifest: ManifestSummary | None = None

    @classmethod
    def of(cls, manifest: ManifestSummary) -> Layers:
        """Return the layers of a manifest."""
        layers = cls(manifest.layers)
        layers.manifest = manifest
        return layers

    def to_dataframe(self) -> Any:
        """Return the layers as a pandas DataFrame, one row per layer; sizes are in bytes.

        Raises UnsupportedError without pandas.
        """
        from ..results.frames import dataframe

        fields = (
            *("created_by", "size", "uncompressed_size", "files_added", "files_changed", "files_removed"),
            *("digest", "diff_id", "media_type"),
        )
        return dataframe(fields, (tuple(getattr(layer, name) for name in fields) for layer in self))

    def __repr__(self) -> str:
        from ..display import text

        return text.render_layers(self)

    def _repr_html_(self) -> str:
        from ..display import html

        return str(html.render_layers(self, self.manifest))


class Config(dict[str, Any]):
    """The JSON of an image's config: a dict that displays itself in the terms of a Dockerfile."""

    def __repr__(self) -> str:
        from ..untrusted.printable import printable_json

        return printable_json(json.dumps(self, indent=2, ensure_ascii=False))

    def _repr_html_(self) -> str:
        from ..display import html

        return str(html.render_config(self))


class Image:
    """An image. If it has several platforms, `config`, `layers` and `files` belong to the first."""

    def __init__(self, summary: ImageSummary, contents: Contents | None = None) -> None:
        self._summary = summary
        self._contents = contents

    @cached_property
    def summary(self) -> ImageSummary:
        """All that is known of the image, as plain data; what layers change and waste is looked up on first use."""
        contents = self._contents
        if contents is None or all(manifest.efficiency >= 0 for manifest in self._summary.manifests):
            return self._summary

        def analyse(manifest: ManifestSummary) -> Any:
            try:
                return contents.analysis(manifest)
            except BuildError:
                return None  # an attestation, or a layer that cannot be fetched

        whole = with_analysis(Summary(ref="", builder="", image=self._summary), analyse).image
        assert whole is not None
        return whole

    @property
    def efficiency(self) -> float:
        """The share of the layers' bytes that a container sees, from 0 to 1, as in dive; -1 when unknown."""
        return self.summary.manifests[0].efficiency if self.summary.manifests else -1.0

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the image was given, in full."""
        return self._summary.names

    @property
    def digest(self) -> str:
        """The digest of the manifest, or of the index."""
        return self._summary.digest

    @property
    def contents(self) -> Contents | None:
        """The contents of the layers; None when these cannot be reached."""
        return self._contents

    def run(self, *command: str, **arguments: Any) -> RunResult:
        """Run `command`, or else the image's own, on the image; see `pybuild_magic.run`."""
        from ..run import run

        return run(self, *command, **arguments)

    def test(self, *notebooks: str | Path, **arguments: Any) -> TestReport:
        """Run notebooks on the image's own kernel, and compare their outputs with the stored ones.

        Arguments are the fields of `TestOptions`: `image.test("analysis.ipynb", lax=True)`. The report is true when
        all outputs agree.
        """
        from ..environments.testing import verify_notebooks

        return verify_notebooks(notebooks, self, **arguments)

    def start(self, *command: str, **arguments: Any) -> BackgroundRun:
        """Start a process on the image in the background; see `pybuild_magic.run.start`."""
        from ..run import start

        return start(self, *command, **arguments)

    def kernel(self, name: str = "", display_name: str = "", **arguments: Any) -> InstalledKernel:
        """Install a Jupyter kernel that runs in the image; `arguments` are those of `run`.

        Choose it in a notebook's kernel menu. When an image of the same name is built again, the kernel uses that image
        from its next start on. Raises UsageError for an image without a name, or without ipykernel.
        """
        from ..kernels.spec import install_image

        return install_image(self._summary.names, name, display_name, **arguments)

    @property
    def id(self) -> str:
        """Docker's image ID: the digest of the config."""
        return self._summary.manifests[0].config_digest if self._summary.manifests else ""

    @property
    def config(self) -> Config:
        """The JSON of the image's config."""
        return Config(self._summary.manifests[0].config if self._summary.manifests else {})

    @property
    def layers(self) -> Layers:
        """The layers, bottom first, with what each adds, changes and removes."""
        return Layers.of(self.summary.manifests[0]) if self.summary.manifests else Layers()

    @cached_property
    def files(self) -> FileTree:
        """The files that a container of the image has. Raises BuildError when the layers cannot be reached."""
        contents = self._contents
        if contents is None:
            raise UsageError("The layers of this image are not here.")
        return FileTree(
            view=lambda: contents.view("image"), owners=lambda: owners_of(contents.tree(contents.manifest()))
        )

    @property
    def size(self) -> int:
        """The size of all blobs in bytes, as stored: compressed blobs count compressed."""
        return self._summary.total_size

    @cached_property
    def provenance(self) -> Provenance | None:
        """The attested origin of the image for its first platform; None when nothing is attested."""
        from ..display.attested import provenances

        return next(provenances(self._contents.statements() if self._contents else ()), None)

    @cached_property
    def sbom(self) -> SBOM | None:
        """The attested packages of the image for its first platform; None when nothing is attested."""
        from ..display.attested import sboms

        return next(sboms(self._contents.statements() if self._contents else ()), None)

    def diff(self, other: Image | BuildResult) -> ShownDifference:
        """Compare with `other`, the earlier image: files added, changed and removed, config, and shared layers."""
        from ..display.difference import shown
        from ..results.difference import compare

        image = other if isinstance(other, Image) else other.image
        if image is None or image._contents is None or self._contents is None:
            raise UsageError("Two images are needed to compare.", hint="Build both with -t NAME.")
        return shown(compare(image._contents, self._contents))

    def explore(self) -> Any:
        """Return the explorer of the image as a widget, for front ends without the labextension."""
        from ..display.explorer import explore

        return explore(Summary(ref="", builder="", image=self._summary), self._contents, None)

    def __repr__(self) -> str:
        from ..display import text

        return text.render_image(self._summary)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        from ..display import html, mime_bundle, text
        from ..display.console import in_color, in_terminal, terminal_width

        if in_terminal():  # which shows text only
            return {"text/plain": text.pretty(repr(self), terminal_width(), in_color())}
        summary = with_analysis(Summary(ref="", builder="", image=self._summary), self._quick_analysis)
        bundle = mime_bundle(summary, self._contents)
        return bundle | {"text/html": str(html.render_image(self._summary)), "text/plain": repr(self)}

    def _quick_analysis(self, manifest: ManifestSummary) -> Any:
        try:
            return self._contents.analysis(manifest, quick=True) if self._contents else None
        except BuildError:
            return None  # an attestation, or a layer that cannot be fetched
