"""What is attested reaches pages: summed up in the document, as static HTML within its bound, and whole on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pybuild_magic.display import mime_bundle
from pybuild_magic.display.attestations import Attestations, with_attested
from pybuild_magic.display.service import Service
from pybuild_magic.errors import BuildError
from pybuild_magic.results.attested import Statement
from pybuild_magic.results.bounds import bound
from pybuild_magic.summary import MIME_TYPE, Summary
from tests.integration.lab import Home

COUNT = 400
FILES = {
    f"node_modules/one{number:03}/package.json": json.dumps({"name": f"one{number:03}", "version": "1.0.0"})
    for number in range(COUNT)
}
DOCKERFILE = "FROM busybox\nARG GREETING\nCOPY . /app\n"


@pytest.mark.parametrize("version", ["v1", "v0.2"])
def test_a_notebook_keeps_counts_and_the_first_packages_and_the_kernel_tells_the_rest(home: Home, version: str) -> None:
    result = home.build(
        DOCKERFILE,
        FILES,
        tags="app",
        sbom=True,
        provenance=f"mode=max,version={version}",
        build_args={"GREETING": "hello"},
    )
    contents = result._contents
    assert contents is not None
    bundle = mime_bundle(result.summary, contents)
    (attested,) = bundle[MIME_TYPE]["attested"]
    assert attested["provenance"] == version
    assert attested["package_count"] == COUNT
    assert 0 < len(attested["packages"]) < COUNT
    assert attested["packages"][0] == ["one000", "1.0.0", "npm", "", "/app/node_modules/one000/package.json"]
    assert attested["materials"][0][0].startswith("pkg:docker/busybox@latest")
    assert attested["parameters"]["build-arg:GREETING"] == "hello"
    assert attested["parameters"]["locals"] == "context, dockerfile"
    assert attested["llb_steps"] > 1
    assert {"Build", "Started", "Finished", "Complete"} <= attested["facts"].keys()
    assert "parameters" in attested["facts"]["Complete"]
    page = bundle["text/html"]
    for told in ("1 material, 400 packages", "pkg:docker/busybox@latest", "one029", "370 more packages not shown here"):
        assert told in page
    assert len(json.dumps(bundle)) <= 200_000

    service = Service()
    token = service.offer(contents)
    where = {"platform": attested["platform"]}
    rows: list[Any] = []
    while len(rows) < COUNT:
        answer, _ = service.answer(token, "packages", {**where, "offset": len(rows), "limit": 150})
        assert answer["total"] == COUNT
        rows += json.loads(json.dumps(answer))["packages"]
    assert [name for name, *_ in rows] == sorted(f"one{number:03}" for number in range(COUNT))
    assert result.provenance is not None and result.sbom is not None
    for part, name, document in (
        ("provenance", "provenance.json", result.provenance.document),
        ("llb", "llb.json", result.provenance.llb),
        ("sbom", "sbom.spdx.json", result.sbom.document),
    ):
        told, (data,) = service.answer(token, "statement", {**where, "part": part, "offset": 0})
        assert told["name"] == name
        assert told["size"] == len(data)
        assert json.loads(data) == document
    for method, params in (
        ("packages", {"platform": "linux/none"}),
        ("statement", {**where, "part": "key"}),
        ("statement", {"platform": "", "part": "sbom"}),
        ("packages", {"platform": 3}),
    ):
        with pytest.raises(BuildError):
            service.answer(token, method, params)


def test_an_image_of_the_store_shows_what_is_attested_of_it(home: Home) -> None:
    result = home.build(DOCKERFILE, {"a": "b"}, tags="app", provenance="mode=min")
    assert result._contents is not None
    document = Service().document(Summary(ref="", builder="", image=result.summary.image), result._contents)
    (attested,) = document["attested"]
    assert attested["material_count"] == 1
    assert not attested.get("sboms")
    assert not attested.get("llb_steps")
    plain = home.build(DOCKERFILE, {"a": "c"}, tags="plain")
    assert with_attested(plain.summary, plain._contents).attested == ()


def test_hostile_statements_are_bounded_and_stay_text() -> None:
    word = "<img src=x onerror=alert(1)>" * 40
    purl = {"externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:npm/" + word}]}
    hostile: list[Any] = [None, 3, word, [word] * 3, {word: [word]}]
    predicates: list[dict[str, Any]] = [
        {
            "buildDefinition": {
                "externalParameters": {"request": {"args": {f"{word}{n}": word for n in range(500)}, "locals": odd}},
                "internalParameters": {"buildConfig": {"llbDefinition": odd}},
                "resolvedDependencies": [{"uri": word, "digest": {word: word}}] * 5_000,
            },
            "runDetails": {"builder": odd, "metadata": {"startedOn": word, "buildkit_completeness": odd}},
        }
        for odd in hostile
    ]
    for predicate in predicates:
        statements = [
            Statement("https://slsa.dev/provenance/v1", predicate, "linux/amd64"),
            Statement("https://spdx.dev/Document", {"packages": [{"name": word, **purl}] * 20_000}, "linux/amd64"),
        ]
        attested = Attestations(statements).summaries()
        summary = Summary(ref="", builder="", attested=attested)
        small = bound(summary)
        assert len(msgspec.json.encode(small)) <= 120_000
        assert small.attested[0].package_count == 20_000
        bundle = mime_bundle(summary)
        assert "<img" not in bundle["text/html"]
        assert len(json.dumps(bundle)) <= 200_000


def test_a_statement_that_cannot_be_read_hides_nothing_else(home: Home, tmp_path: Path) -> None:
    result = home.build(DOCKERFILE, {"a": "b"}, tags="app", provenance="mode=min")
    contents = result._contents
    assert contents is not None and contents.image is not None
    read = contents._read_blob
    assert read is not None
    manifests = contents.image.manifests
    statement = next(one.layers[0].digest for one in manifests if one.platform == "unknown/unknown")
    contents._read_blob = lambda digest: b"[1]" if digest == statement else read(digest)
    document = mime_bundle(result.summary, contents)[MIME_TYPE]
    assert "attested" not in document
    assert document["image"]["digest"] == result.summary.image.digest if result.summary.image else False
