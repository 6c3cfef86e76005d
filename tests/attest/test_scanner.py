"""A scanner's image is run by BuildKit's protocol, and writes the same attestations as with BuildKit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.errors import RunError, SourceError
from tests.attest.documents import Archive
from tests.integration.lab import Home
from tests.services.buildkit import Engine

SCANNER = """FROM busybox
COPY --chmod=755 <<'E' /scan
#!/bin/sh
set -e
if touch $BUILDKIT_SCAN_SOURCE/new 2> /dev/null; then exit 9; fi
touch /tmp/x
for source in $BUILDKIT_SCAN_SOURCE $(ls -d $BUILDKIT_SCAN_SOURCE_EXTRAS/* 2>/dev/null); do
cat > $BUILDKIT_SCAN_DESTINATION/$(basename $source).spdx.json <<J
{"predicateType": "https://spdx.dev/Document", "predicate": {"spdxVersion": "SPDX-2.3", "name": "$BUILDKIT_SCAN_TITLE",
 "creationInfo": {"created": "2001-01-01T00:00:00Z", "creators": ["Tool: scan"]}, "comment": "$(cat $source/what)",
 "files": [{"SPDXID": "SPDXRef-1", "fileName": "/what", "copyrightText": ""}], "SPDXID": "SPDXRef-DOCUMENT"}}
J
done
E
CMD ["/scan"]
"""
DOCKERFILE = """FROM scratch AS below
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY <<E /what
below
E
FROM scratch
COPY --from=below /what /
COPY <<E /what
the result
E
"""


def told(archive: Archive) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for statement in archive.statements:
        predicate = statement["predicate"]
        assert statement["predicateType"] == "https://spdx.dev/Document"
        layers = [layer["digest"] for layer in archive.document(archive.images[0]["digest"])["layers"]]
        comment = predicate["files"][0].get("comment", "").removeprefix("layerID: ")
        found.append((predicate["name"], predicate["comment"], f"layer {layers.index(comment)}" if comment else ""))
    return found


def test_a_scanner_tells_the_same_here_and_on_buildkit(home: Home, tmp_path: Path, engine: Engine) -> None:
    name = "pybuild-test/attest-scanner"
    home.build(SCANNER, "-", tags=name)
    path = tmp_path / "ours.tar"
    sbom = f"generator={name},TITLE=a b"
    home.build(DOCKERFILE, "-", sbom=sbom, outputs=f"type=oci,dest={path}")
    ours = told(Archive(path))
    assert ours == [("a b", "the result", "layer 1"), ("a b", "below", "")]
    engine.buildx_build(None, "-t", name, dockerfile=SCANNER)
    out = tmp_path / "theirs.tar"
    words = (f"--sbom={sbom}", "--provenance=false", f"--output=type=oci,dest={out}")
    try:
        engine.buildx_build(None, *words, dockerfile=DOCKERFILE)
    finally:
        engine.remove(name)
    assert told(Archive(out)) == ours


@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ("echo '{' > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json", SourceError, "is not an in-toto statement"),
        ("echo '{}' > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json", SourceError, "has the type '' instead of"),
        ("mkdir $BUILDKIT_SCAN_DESTINATION/x", SourceError, "which is not a statement"),
        ("ln -s /etc/passwd $BUILDKIT_SCAN_DESTINATION/x", SourceError, "which is not a statement"),
        ("echo no; exit 3", RunError, "exit code: 3"),
    ],
)
def test_what_a_scanner_may_do_wrong_is_said(home: Home, script: str, kind: type, says: str) -> None:
    home.build(f'FROM busybox\nCMD ["sh", "-c", "{script.replace(chr(34), chr(92) + chr(34))}"]\n', "-", tags="scanner")
    options: dict[str, Any] = {"sbom": "generator=scanner", "tags": "x"}
    error = home.fails("FROM scratch\nCOPY <<E /what\nx\nE\n", "-", **options)
    assert isinstance(error, kind)
    assert says in error.message


def test_a_scanner_without_a_command_is_refused(home: Home) -> None:
    home.build("FROM scratch\nCOPY <<E /x\nE\n", "-", tags="scanner")
    error = home.fails("FROM scratch\nCOPY <<E /what\nx\nE\n", "-", sbom="generator=scanner", tags="x")
    assert "does not have cmd" in error.message
