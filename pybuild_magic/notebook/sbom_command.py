"""`%build sbom`: the packages in an image, as it attests them, or else as the scanner that is built in finds them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from ..api.run import watch
from ..builders import embedded_builder
from ..cancel import Cancel
from ..display.attested import SBOM, sboms
from ..display.plain import Plain
from ..display.table import Document
from ..errors import UsageError
from ..golang.json import dumps
from ..request.flags import Flag, Kind, parse_flags
from ..results.contents import Contents
from ..results.opening import stored_image

FLAGS = (
    Flag("format", Kind.ONE, "FORMAT", "table, or spdx for the SPDX document", choices=("table", "spdx")),
    Flag("platform", Kind.ONE, "OS/ARCH", "Platform of an image that has several"),
    Flag("scan", Kind.BOOL, "", "Scan the image even if it has an SBOM"),
)


def sbom(words: Sequence[str]) -> SBOM | Document:
    """List the packages in an image: those of its SBOM, or else those that a scan finds."""
    parsed = parse_flags(words, FLAGS)
    if len(parsed.arguments) != 1:
        raise UsageError("%build sbom takes one image.", hint="%build images lists them.")
    given = {name: values[-1] for name, values in parsed.values.items()}
    contents = stored_image(embedded_builder().store, parsed.arguments[0])
    manifest = contents.manifest(given.get("platform", ""))
    sbom = None
    if given.get("scan", "false") == "false":
        sbom = next(
            (candidate for candidate in sboms(contents.statements()) if candidate.platform == manifest.platform), None
        )
    sbom = sbom or _scan(contents, parsed.arguments[0], manifest.platform)
    return Document((("", dumps(sbom.document, indent=True).decode()),)) if given.get("format") == "spdx" else sbom


def _scan(contents: Contents, name: str, platform: str) -> SBOM:
    from ..attest.sbom.attestation import scanned

    cancel = Cancel()

    def work() -> SBOM:
        with contents.store.lease():
            tree = contents.tree(contents.manifest(platform))
            attestation = scanned("sbom", name, contents.store, tree, cancel, created=time.time_ns(), core=False)
            return SBOM(attestation.predicate(lambda _: None), platform)

    return watch(f"scanning {name}", lambda _: work(), Plain(sys.stderr.write), cancel)
