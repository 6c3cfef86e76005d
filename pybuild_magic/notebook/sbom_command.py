"""`%build sbom`: the packages in an image, from its attestation or else from the built-in scanner."""

from __future__ import annotations

import sys
import time

from ..api.run import watch
from ..builders import embedded_builder
from ..cancel import Cancel
from ..display.attested import SBOM, sboms
from ..display.plain import Plain
from ..display.table import Document
from ..golang.json import dumps
from ..request.flags import Flag, Kind, ParsedFlags
from ..results.contents import Contents
from ..results.opening import stored_image
from .command import command

_FLAGS = (
    Flag("format", Kind.ONE, "FORMAT", "table, or spdx for the SPDX document", choices=("table", "spdx")),
    Flag("platform", Kind.ONE, "OS/ARCH", "The platform, if the image has several"),
    Flag("scan", Kind.BOOL, "", "Scan the image even if it has an SBOM"),
)


@command("sbom", "REF", takes="one image", hint="%build images lists them.", names=("image",), flags=_FLAGS)
def sbom(flags: ParsedFlags) -> SBOM | Document:
    """List the packages in an image: those of its SBOM, or else those that a scan finds."""
    (name,) = flags.arguments
    contents = stored_image(embedded_builder().store, name)
    manifest = contents.manifest(flags.last("platform"))
    sbom = None
    if not flags.on("scan"):
        sbom = next(
            (candidate for candidate in sboms(contents.statements()) if candidate.platform == manifest.platform), None
        )
    sbom = sbom or _scan(contents, name, manifest.platform)
    spdx = flags.last("format") == "spdx"
    return Document((("", dumps(sbom.document, indent=True).decode()),)) if spdx else sbom


def _scan(contents: Contents, name: str, platform: str) -> SBOM:
    from ..attest.sbom.attestation import scanned

    cancel = Cancel()

    def work() -> SBOM:
        with contents.store.lease():
            tree = contents.tree(contents.manifest(platform))
            attestation = scanned("sbom", name, contents.store, tree, cancel, created=time.time_ns(), core=False)
            return SBOM(attestation.predicate(lambda _: None), platform)

    return watch(f"scanning {name}", lambda _: work(), Plain(sys.stderr.write), cancel)
