"""The attestations of a build by a front end of another image are those that BuildKit makes of the same build."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.attest.documents import Archive
from tests.conformance.attested import comparable
from tests.integration.lab import Home
from tests.services.buildkit import Engine

from .conftest import Front
from .test_frontends import BASE, context_of

pytestmark = pytest.mark.xdist_group("frontends")

DOCKERFILE = "FROM busybox\nCOPY a.txt /\nRUN echo hi > /hi\n"
"""For the front end that is built in, when the other one asks it."""
CASES = {
    "files": "write /x 0123\nread /x 1 2\n",
    "a process": BASE + "copy / /src/\nread /src/dir/b.txt 0 100\nrun echo hi > /hi\nevaluate\n",
    "lines": "lines\nwrite /x 0123\nwrite /y 0123\n",
    "forwarded": "forward inner\n",
}
ARGS = {"X": "y"}


@pytest.mark.parametrize("name", CASES)
def test_its_provenance_is_that_of_buildkit(
    name: str, front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    context = context_of(tmp_path)
    (tmp_path / "inner").write_text(DOCKERFILE)
    file = tmp_path / "Dockerfile"
    file.write_text(f"# syntax={front.ref} and more\n{CASES[name]}")
    output = "type=oci,compression=uncompressed,oci-artifact=false"
    flags = ("--build-arg=X=y", "--label=a=b", "--no-cache", "--provenance=mode=max,version=v0.2")
    engine.buildx_build(context, *flags, f"--file={file}", f"--output={output},dest={tmp_path / 'theirs'}")
    home.build(
        None,
        context,
        file=str(file),
        build_args=ARGS,
        labels={"a": "b"},
        no_cache=True,
        provenance="mode=max,version=v0.2",
        outputs=[f"{output},dest={tmp_path / 'ours'}"],
    )
    ours, theirs = (_shown(tmp_path / who) for who in ("ours", "theirs"))
    assert ours == theirs


def test_its_file_system_has_an_sbom(front: Front, home: Home, tmp_path: Path) -> None:
    archive = tmp_path / "image"
    home.build(f"# syntax={front.ref}\n{BASE}", sbom=True, provenance=False, outputs=[f"type=oci,dest={archive}"])
    (statement,) = Archive(archive).statements
    assert statement["predicateType"] == "https://spdx.dev/Document"


DIGEST = f"sha256:{'1' * 64}"
STATEMENT = (
    '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://example.com/b","predicate":{"z":1,"a":"<>"},'
    '"subject":[{"name":"s","digest":{"sha256":"' + "2" * 64 + '"}}]}'
)
CREATED = '"creationInfo":{"created":"2020-01-01T00:00:00Z"}'
SPDX = f'{{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"n",{CREATED}}}'
LARGE_SPDX = """{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "<n>", "comment": "c",
 "creationInfo": {"created": "2020-01-01T00:00:00Z", "creators": ["Tool: x", "Person: a"], "licenseListVersion": "3.1"},
 "packages": [{"SPDXID": "SPDXRef-p", "name": "p", "supplier": "NOASSERTION", "filesAnalyzed": false,
  "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:deb/x"}]},
  {"SPDXID": "SPDXRef-q", "name": "q", "downloadLocation": "NOASSERTION", "licenseConcluded": "MIT"}],
 "files": [{"SPDXID": "SPDXRef-f", "fileName": "/x", "copyrightText": "c", "fileTypes": ["TEXT"]},
  {"SPDXID": "SPDXRef-g", "fileName": "/x", "comment": "its own"}, {"SPDXID": "SPDXRef-h", "fileName": "/gone"}],
 "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "comment": "z",
  "relatedSpdxElement": "SPDXRef-p"}], "hasExtractedLicensingInfos": [{"licenseId": "LicenseRef-1",
  "extractedText": "t"}]}""".replace("\n", "")
GIVEN = {
    "a predicate": 'write /p {"z":1.0,"a":[null,"<&>"]}\nattest 0 /p https://example.com/p\n',
    "an empty predicate": "copy /empty /\nattest 0 /empty https://example.com/p\n",
    "subjects": f"write /p {{}}\nattest 0 /p https://example.com/p self self=me raw=file@{DIGEST}\n",
    "a bundle": f"write /one {STATEMENT}\nwrite /two {STATEMENT}\nattest 1 / -\nattest 1 / https://example.com/b\n",
    "several, the SBOM first": f"write /p {{}}\nwrite /sbom.json {SPDX}\nattest 0 /p https://example.com/p\n"
    "attest 0 sbom.json https://spdx.dev/Document meta=sbom-core=sbom\n",
    "an SBOM of everything": f"write /sbom.json {LARGE_SPDX}\n"
    "attest 0 sbom.json https://spdx.dev/Document meta=sbom-core=sbom\n",
    "an SBOM of a version that there is not": 'write /sbom.json {"spdxVersion":"SPDX-9"}\n'
    "attest 0 sbom.json https://spdx.dev/Document meta=sbom-core=sbom\n",
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_a_front_end_attests_is_attached_as_by_buildkit(
    name: str, front: Front, home: Home, engine: Engine, tmp_path: Path
) -> None:
    context = context_of(tmp_path)
    Path(context, "empty").touch()
    file = tmp_path / "Dockerfile"
    file.write_text(f"# syntax={front.ref}\n{GIVEN[name]}fresh\nwrite /x 1\n")
    output = "type=oci,compression=uncompressed,rewrite-timestamp=true,oci-artifact=false,name=example.com/a:1"
    engine.buildx_build(
        context, "--provenance=false", f"--file={file}", f"--output={output},dest={tmp_path / 'theirs'}"
    )
    home.build(None, context, file=str(file), provenance=False, outputs=[f"{output},dest={tmp_path / 'ours'}"])
    ours, theirs = (Archive(tmp_path / who) for who in ("ours", "theirs"))
    assert list(map(_comparable, ours.statements)) == list(map(_comparable, theirs.statements))
    assert [entry["annotations"]["vnd.docker.reference.type"] for entry in ours.entries] == ["attestation-manifest"]


def test_files_are_attested_by_the_front_end_too(front: Front, home: Home, tmp_path: Path) -> None:
    text = f"# syntax={front.ref}\n{GIVEN['a predicate']}fresh\nwrite /x 1\n"
    home.build(text, provenance=False, outputs=[f"type=local,dest={tmp_path}"])
    statement = json.loads((tmp_path / "p").read_text())
    assert statement["predicateType"] == "https://example.com/p"
    assert [subject["name"] for subject in statement["subject"]] == ["x"]


def _comparable(statement: dict[str, Any]) -> dict[str, Any]:
    """A statement without its envelope's version, which is that of a newer BuildKit, the builder's name, and the digest
    of the result.
    """
    statement = {name: value for name, value in statement.items() if name != "_type"}
    if statement["predicateType"] == "https://spdx.dev/Document":
        statement["predicate"] = _spdx(statement["predicate"])
    text = json.dumps(statement, sort_keys=False)
    for subject in statement["subject"]:
        if subject["name"].startswith("pkg:") or subject["name"] == "me":
            text = text.replace(subject["digest"]["sha256"], "itself")
    return json.loads(text)


def _spdx(value: Any) -> Any:
    """A document without what BuildKit's library for SPDX writes of fields that are not there, and without the names of
    the builder and of the layer.
    """
    if isinstance(value, list):
        return [_spdx(item) for item in value]
    if isinstance(value, dict):
        members = {name: _spdx(item) for name, item in value.items()}
        implied = {"filesAnalyzed": True}
        return {name: item for name, item in sorted(members.items()) if item not in ("", None, implied.get(name, ""))}
    if isinstance(value, str):
        return re.sub("^(Tool: )(buildkit|pybuild_magic)-.*|^(layerID: sha256:)[0-9a-f]{64}$", r"\1\3", value)
    return value


def _shown(archive: Path) -> dict[str, Any]:
    (statement,) = Archive(archive).statements
    digests = statement["predicate"]["buildConfig"]["digestMapping"]
    shown = comparable(statement)
    config = shown["predicate"]["buildConfig"]
    bases = [step for step in config["llbDefinition"] if _mode(step)]
    if bases:  # Docker's client asks for images that the engine has, and so gives other digests to what is made of them
        config.pop("digestMapping")
    else:
        shown["digests"] = digests  # what the front end sends is the same, to the bit
    for material in shown["predicate"]["materials"]:
        # The newer BuildKit that is followed here escapes the colon before a registry's port.
        material["uri"] = unquote(material["uri"])
    return shown


def _mode(step: dict[str, Any]) -> bool:
    """Take the way to find a base image, which is the client's, out of a step; whether it is one of a base image."""
    source = step["op"]["Op"].get("source", {})
    if source.get("attrs", {}).pop("image.resolvemode", ""):
        source.pop("attrs")
    return source.get("identifier", "").startswith("docker-image://")
