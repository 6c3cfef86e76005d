"""What is attested is read as objects of Python, from a result and from any image of the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.display.attestations import with_attested
from pybuild_magic.display.attested import SBOM
from pybuild_magic.errors import UsageError
from pybuild_magic.notebook.commands import COMMANDS
from tests.integration.lab import Home

DOCKERFILE = "FROM busybox\nCOPY . /app\n"
FILES = {
    "node_modules/left/package.json": '{"name": "left", "version": "1.0.0", "license": "MIT"}',
    "node_modules/right/package.json": '{"name": "right", "version": "2.0.0", "license": "<b>ours</b>"}',
}


@pytest.mark.parametrize("version", ["v1", "v0.2"])
def test_a_result_has_its_provenance_and_its_packages(home: Home, version: str) -> None:
    result = home.build(DOCKERFILE, FILES, tags="app", sbom=True, provenance=f"mode=max,version={version}")
    provenance, sbom = result.provenance, result.sbom
    assert provenance is not None
    assert sbom is not None
    (material,) = provenance.materials
    assert material[0].startswith("pkg:docker/busybox@latest")
    assert material[1].startswith("sha256:")
    assert provenance.version == version
    assert provenance.parameters["locals"] == [{"name": "context"}, {"name": "dockerfile"}]
    assert list(provenance.to_dataframe()["uri"]) == [material[0]]
    assert [(one.name, one.version, one.type, one.licence) for one in sbom.packages] == [
        ("left", "1.0.0", "npm", "MIT"),
        ("right", "2.0.0", "npm", "LicenseRef-b-ours-b"),
    ]
    assert sbom.packages[0].proof == "/app/node_modules/left/package.json"
    assert [one.name for one in sbom.find("RIGHT")] == ["right"]
    frame = sbom.to_dataframe()
    assert list(frame.columns) == ["name", "version", "type", "licence", "purl", "proof"]
    assert len(frame) == len(sbom) == 2
    assert "left" in repr(sbom)
    assert "busybox" in repr(provenance)
    assert "<b>" not in sbom._repr_html_().replace("<b>1</b>", "")


def test_a_result_of_which_nothing_is_attested_has_neither(home: Home) -> None:
    result = home.build(DOCKERFILE, FILES, tags="app")
    assert result.provenance is None
    assert result.sbom is None
    assert home.build("FROM busybox\n", "-", outputs="type=cacheonly").sbom is None


def test_any_image_of_the_store_is_scanned(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.build(DOCKERFILE, FILES, tags="plain")
    found: Any = COMMANDS["sbom"](["plain"])
    assert isinstance(found, SBOM)
    assert [one.name for one in found.packages] == ["left", "right"]
    document = json.loads(repr(COMMANDS["sbom"](["--format=spdx", "plain"])))
    assert document["spdxVersion"] == "SPDX-2.3"
    assert document["name"] == "plain"


def test_an_image_that_has_an_sbom_is_not_scanned_again(home: Home, tmp_path: Path) -> None:
    home.build(DOCKERFILE, FILES, tags="app", sbom=True)
    attested: Any = COMMANDS["sbom"](["app"])
    assert attested.document["name"] == "sbom"
    assert attested.document["files"][0]["comment"].startswith("layerID: sha256:")
    scanned: Any = COMMANDS["sbom"](["--scan", "app"])
    assert scanned.document["name"] == "app"
    assert scanned.packages == attested.packages


def test_what_cannot_be_asked(home: Home) -> None:
    for words in ([], ["a", "b"], ["--format=x", "a"]):
        with pytest.raises(UsageError):
            COMMANDS["sbom"](words)


@pytest.mark.parametrize("kind", ["local", "tar"])
@pytest.mark.parametrize("platforms", [(), ("linux/amd64", "linux/arm64")], ids=["one platform", "two platforms"])
def test_files_have_what_is_written_of_them(home: Home, tmp_path: Path, kind: str, platforms: tuple[str, ...]) -> None:
    output = f"type={kind},dest={tmp_path / 'out'},attestation-prefix=my-"
    files = {**FILES, "sbom.spdx.json": "{}", "deep/er/my-provenance.json": "no JSON"}
    dockerfile = "FROM scratch\nCOPY . /\n"
    result = home.build(dockerfile, files, outputs=output, sbom=True, provenance="mode=max", platforms=platforms)
    assert result.image is None
    assert result.provenance is not None and result.sbom is not None
    assert [package.name for package in result.sbom.packages] == ["left", "right"]
    assert result.provenance.platform == (platforms[0] if platforms else "")
    summary = with_attested(result.summary, result._contents)
    assert [attested.platform for attested in summary.attested] == list(platforms or ("",))
    again = home.build(dockerfile, files, outputs=output, platforms=platforms)
    assert again.provenance is None and again.sbom is None, "what lies there is of the build before"
